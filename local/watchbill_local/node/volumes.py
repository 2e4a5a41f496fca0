"""The volumes of a pod as directories on the host.

Owns emptyDir (below the pod's own directory), hostPath, and persistentVolumeClaims (a directory named by --volume, else
one below the node's data); ConfigMaps and Secrets are `sources`' part. Invariant: a pod's volumes are whole before its
first container starts; a claim's directory is never removed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from watchbill_local.node.api import ApiError, Json
from watchbill_local.node.environment import ConfigurationMissing
from watchbill_local.node.launch import Mount
from watchbill_local.node.rootfs import open_beneath
from watchbill_local.node.settings import Shared
from watchbill_local.node.sources import CURRENT, KINDS, Source, prepare_source

Volume = Path | Source


async def prepare_volumes(pod: Json, home: Path, shared: Shared) -> dict[str, Volume]:
    """Make each volume of `pod`, by name. Raises ConfigurationMissing, OSError or as the API does."""
    volumes = pod["spec"].get("volumes") or ()
    return {v["name"]: await _prepare(v, pod, home / "volumes" / v["name"], shared) for v in volumes}


async def _prepare(volume: Json, pod: Json, own: Path, shared: Shared) -> Volume:
    if any("serviceAccountToken" in part for part in (volume.get("projected") or {}).get("sources") or ()):
        volume = {"emptyDir": {}}  # a real API server adds it to every pod; there are no tokens here
    if "persistentVolumeClaim" in volume:
        return await _bind_claim(shared, pod["metadata"]["namespace"], volume["persistentVolumeClaim"]["claimName"])
    if "hostPath" in volume:
        return _host_path(volume["hostPath"])
    if "emptyDir" in volume:
        os.makedirs(own, exist_ok=True)
        os.chmod(own, 0o777)  # noqa: S103 - as the kubelet does
        return own
    for kind in KINDS.keys() & volume.keys():
        source = Source(own, pod["metadata"]["namespace"], KINDS[kind], volume[kind])
        await prepare_source(source, shared.api)
        return source
    raise ConfigurationMissing(f"volume {own.name}: this node has no volumes of that kind")


def _host_path(source: Json) -> Path:
    path = Path(source["path"])
    if source.get("type") == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        raise ConfigurationMissing(f"hostPath {path} does not exist on this node")
    return path


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


def plan_mounts(container: Json, volumes: Mapping[str, Volume]) -> tuple[Mount, ...]:
    """The container's volumeMounts. ConfigurationMissing where one names no volume of the pod.

    What shows a ConfigMap or Secret is always read-only, as the kubelet has it; a part of one stays at its version.
    """
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
        volume, read_only = volumes[mount["name"]], bool(mount.get("readOnly"))
        if isinstance(volume, Source):
            volume, read_only = volume.directory / (CURRENT if subpath else ""), True
        mounts.append(Mount(str(volume), target, read_only, subpath))
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
