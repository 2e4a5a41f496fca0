"""Which fields of Agents and Tasks this operator knows, and whether the CRDs of a cluster have them.

Owns the reading of a schema as paths of its fields (`spec.children[].name`), and `crd_paths.json`, which holds those
of the CRDs that ship with the project (made by `scripts/crd_paths.py`). Invariant: CRDs that know more than this
operator are no trouble; a schema that cannot be found proves nothing. Asks nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

PARTS = ("spec", "status")  #: what is ours in an object
PLURALS: Mapping[str, str] = {"Agent": "agents", "Task": "tasks"}
FIX = "kubectl apply -k crds"


@cache
def load_known_paths() -> Mapping[str, tuple[str, ...]]:
    """Paths by kind of the CRDs that this operator was made with."""
    text = resources.files("watchbill_operator").joinpath("crd_paths.json").read_text(encoding="utf-8")
    return {kind: tuple(paths) for kind, paths in json.loads(text).items()}


def build_paths(schema: Mapping[str, Any]) -> list[str]:
    """The paths of all fields below spec and status, a field before those in it."""
    members = _map(schema.get("properties"))
    return [path for part in PARTS if part in members for path in _walk(part, _map(members[part]))]


def find_older(document: Mapping[str, Any]) -> str:
    """The sentence about the first CRD that lacks fields, by the OpenAPI document of its group; empty: none does."""
    schemas = _map(_map(document.get("components")).get("schemas"))
    for kind, plural in PLURALS.items():
        schema = next((each for each in schemas.values() if _is_of(each, kind)), None)
        if schema is not None and (lacking := find_lacking_paths(kind, schema)):
            return tell_older(f"{plural}.watchbill.dev", lacking)
    return ""


def find_lacking_paths(kind: str, schema: Mapping[str, Any]) -> list[str]:
    """The fields that this operator knows and the schema has not; of a field that lacks, those in it are not listed."""
    served = set(build_paths(schema))
    absent = [path for path in load_known_paths()[kind] if path not in served]
    return [path for path in absent if not any(path.startswith((f"{above}.", f"{above}[]")) for above in absent)]


def tell_older(name: str, lacking: Sequence[str]) -> str:
    """The sentence about one CRD, with the fix."""
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    return f"the CRD {name} is of an older version (it lacks {lacking[0]}{more}): {FIX}"


def _walk(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield path
    items = schema.get("items")
    if isinstance(items, Mapping):
        yield from list(_walk(f"{path}[]", items))[1:]
    for name, below in _map(schema.get("properties")).items():
        yield from _walk(f"{path}.{name}", _map(below))


def _is_of(schema: Any, kind: str) -> bool:
    known = _map(schema).get("x-kubernetes-group-version-kind") or ()
    return any(_map(each).get("group") == "watchbill.dev" and _map(each).get("kind") == kind for each in known)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
