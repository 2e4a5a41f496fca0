"""The volumes of a pod as directories on the host.

Owns emptyDir, configMap and secret (below the pod's own directory), hostPath, and persistentVolumeClaims (a directory
named by --volume, else one below the node's data). Invariant: a pod's volumes are
whole before its first container starts; a claim's directory is never removed. ConfigMaps and Secrets are read once, at
the pod's start: later changes reach new pods only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from watchbill_local.node.api import ApiError, Json
from watchbill_local.node.environment import ConfigurationMissing, load_data
from watchbill_local.node.launch import Mount
from watchbill_local.node.rootfs import open_beneath
from watchbill_local.node.settings import Shared

KINDS = ("persistentVolumeClaim", "hostPath", "emptyDir", "configMap", "secret")


async def prepare_volumes(pod: Json, home: Path, shared: Shared) -> dict[str, Path]:
    """Make each volume of `pod`; name to directory. Raises ConfigurationMissing, OSError or as the API does."""
    volumes = pod["spec"].get("volumes") or ()
    return {v["name"]: await _prepare(v, pod, home / "volumes" / v["name"], shared) for v in volumes}


async def _prepare(volume: Json, pod: Json, own: Path, shared: Shared) -> Path:
    if any("serviceAccountToken" in part for part in (volume.get("projected") or {}).get("sources") or ()):
        volume = {"emptyDir": {}}  # a real API server adds it to every pod; there are no tokens here
    kind = next((kind for kind in KINDS if kind in volume), None)
    if kind is None:
        raise ConfigurationMissing(f"volume {own.name}: this node has no volumes of that kind")
    source = volume[kind]
    if kind == "persistentVolumeClaim":
        return await _bind_claim(shared, pod["metadata"]["namespace"], source["claimName"])
    if kind == "hostPath":
        return _host_path(source)
    os.makedirs(own, exist_ok=True)
    if kind == "emptyDir":
        os.chmod(own, 0o777)  # noqa: S103 - as the kubelet does
        return own
    data = await load_data(shared.api, pod, kind.lower(), source)
    for item in source.get("items") or [{"key": key, "path": key} for key in data]:
        if item["key"] in data:
            _write_file(own / item["path"], data[item["key"]], source.get("defaultMode", 0o644))
        elif not source.get("optional"):
            raise ConfigurationMissing(f"volume {own.name}: there is no key {item['key']}")
    return own


def _host_path(source: Json) -> Path:
    path = Path(source["path"])
    if source.get("type") == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        raise ConfigurationMissing(f"hostPath {path} does not exist on this node")
    return path


def _write_file(target: Path, data: bytes, mode: int) -> None:
    if ".." in target.parts:
        raise ConfigurationMissing(f"a volume's item must not contain '..': {target.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_bytes(data)
    target.chmod(mode)


async def _bind_claim(shared: Shared, namespace: str, name: str) -> Path:
    """The directory of a claim, which becomes Bound."""
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"
    claim = await shared.api.find(path)
    if claim is None:
        raise ConfigurationMissing(f'persistentvolumeclaim "{name}" not found')
    directory = shared.settings.volumes.get(name) or shared.settings.data / "volumes" / f"{namespace}-{name}"
    directory.mkdir(parents=True, exist_ok=True)
    if (claim.get("status") or {}).get("phase") != "Bound":
        spec = claim.get("spec") or {}
        capacity = (spec.get("resources") or {}).get("requests")
        status = {"phase": "Bound", "accessModes": spec.get("accessModes"), "capacity": capacity}
        with contextlib.suppress(ApiError):
            await shared.api.call("PATCH", f"{path}/status", {"status": status})
    return directory


def plan_mounts(container: Json, volumes: Mapping[str, Path]) -> tuple[Mount, ...]:
    """The container's volumeMounts. ConfigurationMissing where one names no volume of the pod."""
    mounts = []
    for mount in container.get("volumeMounts") or ():
        if mount["name"] not in volumes:
            raise ConfigurationMissing(f"volumeMount {mount['mountPath']} names no volume of this pod: {mount['name']}")
        if mount.get("subPathExpr"):
            raise ConfigurationMissing(
                f"volumeMount {mount['mountPath']}: this node knows no subPathExpr, only subPath"
            )
        target = "/" + mount["mountPath"].strip("/")
        subpath = (mount.get("subPath") or "").strip("/")
        mounts.append(Mount(str(volumes[mount["name"]]), target, bool(mount.get("readOnly")), subpath))
    return tuple(mounts)


def make_subpaths(mounts: tuple[Mount, ...]) -> None:
    """Make the directories that subPaths name and that are absent. Raises OSError if one leads through a link."""
    for mount in mounts:
        if mount.subpath:
            os.close(open_beneath(mount.source, mount.subpath, create=True))


def find_foreign_file(mounts: tuple[Mount, ...], user: int) -> str:
    """A file of root's at the top of a volume that `user` shall write to; empty if there is none."""
    places = [f"{mount.source}/{mount.subpath}" for mount in mounts if user and not mount.read_only]
    entries = (entry for place in places if os.path.isdir(place) for entry in os.scandir(place))
    return next((e.path for e in entries if e.is_file(follow_symlinks=False) and e.stat().st_uid == 0), "")
