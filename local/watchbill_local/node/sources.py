"""ConfigMaps and Secrets as files, for as long as their pods run.

Owns the directories of such volumes. Invariants, as the kubelet keeps them: a volume shows one version of its object,
whole, and goes over to the next one by a single rename, so a reader that opens two files through `..data` never sees a
mixture; an object that is gone or lost a key that is needed leaves what was there. A directory looks like this:

    key -> ..data/key        ..data -> ..2        ..2/key

Objects are read anew every `FOLLOW_SECONDS`; changes reach running pods after that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from watchbill_local.node.api import UNREACHABLE, ApiClient, ApiError, Json
from watchbill_local.node.environment import ConfigurationMissing, decode_data

FOLLOW_SECONDS = 1.0
CURRENT = "..data"  #: leads to the version that is shown
KINDS = {"configMap": "configmap", "secret": "secret"}  #: of volumes, and what the API calls their objects

log = logging.getLogger(__name__)

Files = Mapping[str, tuple[bytes, int]]  #: path below the volume → contents and mode


@dataclass(frozen=True, slots=True)
class Source:
    """A volume that shows an object."""

    directory: Path
    namespace: str
    kind: str  #: configmap | secret
    spec: Json  #: the volume's own words about it

    @property
    def path(self) -> str:
        """Of the object in the API."""
        return f"/api/v1/namespaces/{self.namespace}/{self.kind}s/{self.spec.get('secretName') or self.spec['name']}"


async def prepare_source(source: Source, api: ApiClient) -> None:
    """Show the object for the first time. Raises ConfigurationMissing, OSError, or as the API does."""
    files = choose_files(source, await api.find(source.path))
    source.directory.mkdir(parents=True, exist_ok=True)
    show(source.directory, files)


async def follow_sources(sources: Iterable[Source], api: ApiClient) -> None:
    """Show what each object holds now; what cannot be read or shown stays as it was. One request an object."""
    known: dict[str, Json | None] = {}
    for source in sources:
        try:
            if source.path not in known:
                known[source.path] = await api.find(source.path)
            show(source.directory, choose_files(source, known[source.path]))
        except FileNotFoundError:
            log.debug("volume %s ended with its pod", source.directory)
        except ConfigurationMissing as missing:
            log.info("volume %s stays as it is: %s", source.directory.name, missing)
        except (ApiError, OSError, *UNREACHABLE) as error:
            log.warning("volume %s stays as it is: %s", source.directory.name, error)


def choose_files(source: Source, item: Json | None) -> Files:
    """The files that a volume shows of its object, None where that is absent. Raises ConfigurationMissing."""
    spec, optional = source.spec, bool(source.spec.get("optional"))
    if item is None and not optional:
        raise ConfigurationMissing(f'{source.kind} "{source.path.rpartition("/")[2]}" not found')
    data, mode = decode_data(item or {}, source.kind), spec.get("defaultMode", 0o644)
    files = {}
    for each in spec.get("items") or [{"key": key, "path": key} for key in data]:
        path = PurePosixPath(each["path"])
        if ".." in path.parts or path.is_absolute():
            raise ConfigurationMissing(f"a volume's item must not lead out of it: {path}")
        if each["key"] in data:
            files[str(path)] = (data[each["key"]], each.get("mode", mode))
        elif not optional:
            raise ConfigurationMissing(f"volume {source.directory.name}: there is no key {each['key']}")
    return files


def show(directory: Path, files: Files) -> None:
    """Make the directory show exactly these files. Raises OSError; then it shows what it showed before."""
    current = _find_current(directory)
    if current is not None and _load(directory / current) == files:
        return
    fresh = f"..{int(current.strip('.')) + 1 if current else 1}"
    shutil.rmtree(directory / fresh, ignore_errors=True)
    (directory / fresh).mkdir(mode=0o755)
    for path, (data, mode) in files.items():
        target = directory / fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(mode)
    _link(directory, CURRENT, fresh)
    tops = {path.partition("/")[0] for path in files}
    for name in tops:
        _link(directory, name, f"{CURRENT}/{name}")
    for entry in os.scandir(directory):
        if entry.is_symlink() and entry.name not in (CURRENT, *tops):
            os.unlink(entry.path)
    if current is not None:
        shutil.rmtree(directory / current, ignore_errors=True)


def _find_current(directory: Path) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        return os.readlink(directory / CURRENT)
    return None


def _load(version: Path) -> Files:
    files = (path for path in version.rglob("*") if path.is_file())
    return {str(path.relative_to(version)): (path.read_bytes(), path.stat().st_mode & 0o777) for path in files}


def _link(directory: Path, name: str, target: str) -> None:
    """Let `name` lead to `target`, in one step."""
    with contextlib.suppress(OSError):
        if os.readlink(directory / name) == target:
            return
    fresh = directory / "..fresh"
    fresh.unlink(missing_ok=True)
    os.symlink(target, fresh)
    os.rename(fresh, directory / name)
