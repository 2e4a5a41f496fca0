"""Which files `watchbill lint` looks at, and as what.

Owns folders, which are searched, and what a `kustomization.yaml` says of the files beside it: a patch is a part of an
object, a setting of kustomize none at all. Checks that a kustomization is whole: its members have a meaning and the
files that it names are there. Follows no link to a folder and asks nothing of the network.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from watchbill_cli.manifests import Finding, Manifest, load_manifests

SUFFIXES = (".yaml", ".yml", ".json")
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
GROUP = "kustomize.config.k8s.io/"
PATCH, SETTING, OBJECTS = "patch", "setting", "objects"
MEMBERS = frozenset(
    """
    apiVersion kind metadata bases buildMetadata commonAnnotations commonLabels components configMapGenerator
    configurations crds generatorOptions generators helmCharts helmGlobals images labels namePrefix nameSuffix namespace
    openapi patches patchesJson6902 patchesStrategicMerge replacements replicas resources secretGenerator sortOptions
    transformers validators vars
    """.split()  # noqa: SIM905  # a table of words
)
LISTS = ("bases", "components", "resources", "configurations", "crds")  #: of names of files or folders
SETTINGS = ("configurations", "replacements", "crds")  #: of these the files are no objects
PATCHES = ("patches", "patchesJson6902", "replacements")  #: of mappings with a `path`


def list_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that were named and, in their order, those of the folders that were."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (
                Path(folder, name) for name in sorted(names) if name.endswith(SUFFIXES) or name in KUSTOMIZATIONS
            )


def is_kustomization(path: Path) -> bool:
    """Whether kustomize would begin here."""
    return path.name in KUSTOMIZATIONS


def find_role(path: Path) -> str:
    """What the kustomization beside a file takes it for."""
    return _load_roles(path.resolve().parent).get(path.resolve(), OBJECTS)


def lint_kustomization(manifest: Manifest) -> Iterator[Finding]:
    """Yield what is wrong with a kustomization."""
    value, folder = manifest.value, Path(manifest.file).parent
    if not isinstance(value, dict):
        yield manifest.finding("", "is no kustomization: a mapping is wanted")
        return
    if not str(value.get("apiVersion", GROUP)).startswith(GROUP):
        yield manifest.finding("apiVersion", f"a kustomization's is {GROUP}v1beta1")
    for member in value.keys() - MEMBERS:
        yield manifest.finding(member, "kustomize knows no such member")
    for field, name in list_references(value):
        target = folder / name
        if target.is_dir() and not any((target / each).is_file() for each in KUSTOMIZATIONS):
            yield manifest.finding(field, f"{target} has no kustomization.yaml")
        elif not target.exists() and not _is_remote(name):
            yield manifest.finding(field, f"{target} is not there")


def list_references(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the members of a kustomization that name files or folders, with the name."""
    for key in LISTS:
        for index, name in enumerate(_list(value.get(key))):
            if isinstance(name, str):
                yield f"{key}[{index}]", name
    for key in PATCHES:
        for index, item in enumerate(_list(value.get(key))):
            if isinstance(item, dict) and isinstance(item.get("path"), str):
                yield f"{key}[{index}].path", item["path"]
    for index, name in enumerate(_list(value.get("patchesStrategicMerge"))):
        if isinstance(name, str) and "\n" not in name:  # else it is the patch itself
            yield f"patchesStrategicMerge[{index}]", name


@cache
def _load_roles(folder: Path) -> dict[Path, str]:
    """Of the files that this folder's kustomization names, those that are no objects. Empty where it cannot be read."""
    items = [item for name in KUSTOMIZATIONS if (folder / name).is_file() for item in load_manifests(folder / name)]
    values = [item.value for item in items if isinstance(item, Manifest)]
    named = [each for value in values if isinstance(value, dict) for each in list_references(value)]
    patches = {(folder / name).resolve(): PATCH for field, name in named if field.startswith("patches")}
    return patches | {(folder / name).resolve(): SETTING for field, name in named if field.startswith(SETTINGS)}


def _is_remote(name: str) -> bool:
    """Whether kustomize would fetch it: an address, or a host's path such as `github.com/org/repo?ref=1`."""
    return "://" in name or "?ref=" in name or name.startswith(("github.com/", "git@"))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
