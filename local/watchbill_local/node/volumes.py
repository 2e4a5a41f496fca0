"""The volumes of a pod as directories on the host.

Owns emptyDir, configMap, secret, projected and downwardAPI (below the pod's own directory), hostPath, and
persistentVolumeClaims (a directory named by --volume, else one below the node's data). Invariant: a pod's volumes are
whole before its first container starts; a claim's directory is never removed. ConfigMaps and Secrets are read once, at
the pod's start: later changes reach new pods only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from watchbill_local.node.api import ApiClient, ApiError, Json
from watchbill_local.node.environment import ConfigurationMissing, Lookup, expand_references, field_value, load_data
from watchbill_local.node.launch import Mount
from watchbill_local.node.settings import Settings
from watchbill_local.node.subpath import open_beneath

ClaimDirectory = Callable[[str], Awaitable[Path | None]]  #: a claim's name to its directory; None if there is no claim


async def prepare_volumes(pod: Json, home: Path, lookup: Lookup, claim: ClaimDirectory) -> dict[str, Path]:
    """Make each volume of `pod`; name to directory. Raises ConfigurationMissing, OSError or what `lookup` does."""
    result = {}
    for volume in pod["spec"].get("volumes") or ():
        result[volume["name"]] = await _prepare(volume, pod, home / "volumes" / volume["name"], lookup, claim)
    return result


async def _prepare(volume: Json, pod: Json, own: Path, lookup: Lookup, claim: ClaimDirectory) -> Path:
    if "persistentVolumeClaim" in volume:
        name = volume["persistentVolumeClaim"]["claimName"]
        directory = await claim(name)
        if directory is None:
            raise ConfigurationMissing(f'persistentvolumeclaim "{name}" not found')
        return directory
    if "hostPath" in volume:
        return _host_path(volume["hostPath"])
    os.makedirs(own, exist_ok=True)
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    if "emptyDir" in volume:
        _open_to_group(own, group, 0o777 if group is None else 0o2777)
        return own
    source = next(
        (volume[kind] for kind in ("projected", "configMap", "secret", "downwardAPI") if kind in volume), None
    )
    if source is None:
        raise ConfigurationMissing(f"volume {volume['name']}: this node has no volumes of that kind")
    for part in source.get("sources") or () if "projected" in volume else [volume]:
        for name, data in (await _files(part, pod, lookup)).items():
            _write_file(own, name, data, mode=source.get("defaultMode", 0o644), group=group)
    return own


def _host_path(source: Json) -> Path:
    path = Path(source["path"])
    if source.get("type") == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        raise ConfigurationMissing(f"hostPath {path} does not exist on this node")
    return path


def _open_to_group(path: Path, group: int | None, mode: int) -> None:
    if group is not None and os.getuid() == 0:
        os.chown(path, -1, group)
    path.chmod(mode)


def _write_file(folder: Path, name: str, data: bytes, *, mode: int, group: int | None) -> None:
    target = folder / name
    if ".." in target.parts:
        raise ConfigurationMissing(f"a volume's item must not contain '..': {name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_bytes(data)
    _open_to_group(target, group, mode if group is None else mode | 0o040)


async def _files(source: Json, pod: Json, lookup: Lookup) -> dict[str, bytes]:
    """Relative path to content, of one source of a volume. A service account token is left out: there is none here."""
    if "downwardAPI" in source:
        items = source["downwardAPI"].get("items") or ()
        return {i["path"]: field_value(pod, i["fieldRef"]["fieldPath"]).encode() for i in items if "fieldRef" in i}
    kind = "configmaps" if "configMap" in source else "secrets"
    reference = source.get("configMap") or source.get("secret")
    if not reference:
        return {}
    name = reference.get("name") or reference["secretName"]
    optional = bool(reference.get("optional"))
    data = await load_data(lookup, kind, name, optional=optional)
    if not reference.get("items"):
        return data
    missing = [item["key"] for item in reference["items"] if item["key"] not in data]
    if missing and not optional:
        raise ConfigurationMissing(f'{kind.removesuffix("s")} "{name}" has no key {missing[0]}')
    return {item["path"]: data[item["key"]] for item in reference["items"] if item["key"] in data}


async def bind_claim(api: ApiClient, settings: Settings, namespace: str, name: str) -> Path | None:
    """The directory of a claim, which becomes Bound; None if the API has no such claim. Raises as `api` does."""
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"
    claim = await api.find(path)
    if claim is None:
        return None
    directory = settings.volumes.get(name) or settings.data / "volumes" / f"{namespace}-{name}"
    directory.mkdir(parents=True, exist_ok=True)
    if (claim.get("status") or {}).get("phase") != "Bound":
        spec = claim.get("spec") or {}
        status = {
            "phase": "Bound",
            "accessModes": spec.get("accessModes"),
            "capacity": (spec.get("resources") or {}).get("requests"),
        }
        with contextlib.suppress(ApiError):
            await api.patch(f"{path}/status", {"status": status})
    return directory


def plan_mounts(container: Json, volumes: Mapping[str, Path], environment: Mapping[str, str]) -> tuple[Mount, ...]:
    """The container's volumeMounts. ConfigurationMissing where one names no volume of the pod."""
    mounts = []
    for mount in container.get("volumeMounts") or ():
        if mount["name"] not in volumes:
            raise ConfigurationMissing(f"volumeMount {mount['mountPath']} names no volume of this pod: {mount['name']}")
        target = "/" + mount["mountPath"].strip("/")
        source = str(volumes[mount["name"]])
        subpath = mount.get("subPath") or expand_references(mount.get("subPathExpr") or "", environment)
        mounts.append(Mount(source, target, bool(mount.get("readOnly")), subpath.strip("/")))
    return tuple(mounts)


def make_subpaths(mounts: tuple[Mount, ...]) -> None:
    """Make the directories that subPaths name and that are absent. Raises OSError if one leads through a link."""
    for mount in mounts:
        if mount.subpath:
            os.close(open_beneath(mount.source, mount.subpath, create=True))
