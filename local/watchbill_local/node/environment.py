"""The environment of a container: env, envFrom, $(VAR), fieldRef, resourceFieldRef, configMap and secret keys.

Owns how a container's spec becomes NAME=value pairs. Invariant: as in Kubernetes, later entries win and may refer to
earlier ones; a reference that cannot be resolved and is not optional refuses the container. Nothing of the node's own
environment is handed on but PATH, LANG and, for the node's own Python, PYTHONPATH.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping

from watchbill_local.node.api import Json

Lookup = Callable[[str, str], Awaitable[Json | None]]  #: (configmaps | secrets, name) to the object, None if absent

_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_.-][\w.-]*)\))")
_QUANTITY = re.compile(r"^([0-9.]+)([A-Za-z]*)$")
_UNITS = {
    "": 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}


class ConfigurationMissing(Exception):
    """The pod refers to something that is not there (yet): try again later, and say so in the pod's status."""


def expand_references(text: str, environment: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value, $$ by $; an unknown name stays as it is written."""
    return _REFERENCE.sub(lambda m: "$" if m[1] == "$" else environment.get(m[2], m[0]), text)


def parse_quantity(text: str) -> float:
    """A Kubernetes quantity as a number of bytes, cores or pieces; ValueError if it is none."""
    match = _QUANTITY.match(str(text))
    if not match or match[2] not in _UNITS:
        raise ValueError(f"not a quantity: {text}")
    return float(match[1]) * _UNITS[match[2]]


def field_value(pod: Json, path: str) -> str:
    """What a fieldRef's path names in `pod`; empty if the pod has no such field."""
    match = re.match(r"metadata\.(labels|annotations)(?:\['([^']+)'\])?$", path)
    if match:
        entries: dict[str, str] = pod["metadata"].get(match[1]) or {}
        if match[2]:
            return entries.get(match[2], "")
        return "\n".join(f'{key}="{value}"' for key, value in sorted(entries.items()))
    here: object = pod
    for part in path.split("."):
        here = here.get(part, "") if isinstance(here, dict) else ""
    return str(here)


def decode_data(kind: str, item: Json) -> dict[str, bytes]:
    """All entries of a ConfigMap or Secret as bytes."""
    data = item.get("data") or {}
    entries = {k: base64.b64decode(v) if kind == "secrets" else v.encode() for k, v in data.items()}
    return entries | {k: base64.b64decode(v) for k, v in (item.get("binaryData") or {}).items()}


async def load_data(lookup: Lookup, kind: str, name: str, *, optional: bool) -> dict[str, bytes]:
    """The entries of a named ConfigMap or Secret; empty if absent and `optional`, else ConfigurationMissing."""
    item = await lookup(kind, name)
    if item is None and not optional:
        raise ConfigurationMissing(f'{kind.removesuffix("s")} "{name}" not found')
    return decode_data(kind, item) if item else {}


def base_environment(pod: Json, *, home: str) -> dict[str, str]:
    """What every container gets: the node's own Python first in PATH, and its own name."""
    own_python = os.path.dirname(sys.executable)
    path = os.environ.get("PATH", os.defpath)
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "PYTHONPATH") if name in os.environ}
    hostname = pod["spec"].get("hostname") or pod["metadata"]["name"]
    return kept | {"PATH": f"{own_python}:{path}", "HOME": home, "HOSTNAME": hostname}


async def build_environment(container: Json, pod: Json, base: Mapping[str, str], lookup: Lookup) -> dict[str, str]:
    """The container's whole environment. Raises ConfigurationMissing, or ApiError and the like from `lookup`."""
    result = dict(base)
    for source in container.get("envFrom") or ():
        kind = "configmaps" if "configMapRef" in source else "secrets"
        reference = source.get("configMapRef") or source["secretRef"]
        data = await load_data(lookup, kind, reference["name"], optional=bool(reference.get("optional")))
        result |= {source.get("prefix", "") + key: value.decode(errors="replace") for key, value in data.items()}
    for entry in container.get("env") or ():
        value = await _entry_value(entry, container, pod, result, lookup)
        if value is not None:
            result[entry["name"]] = value
    return result


async def _entry_value(entry: Json, container: Json, pod: Json, so_far: dict[str, str], lookup: Lookup) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand_references(entry.get("value") or "", so_far)
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        kind, _, name = source["resourceFieldRef"]["resource"].partition(".")
        amount = parse_quantity(((container.get("resources") or {}).get(kind) or {}).get(name, "0"))
        return str(int(-(-amount // parse_quantity(source["resourceFieldRef"].get("divisor") or "1"))))
    kind = "configmaps" if "configMapKeyRef" in source else "secrets"
    reference = source.get("configMapKeyRef") or source["secretKeyRef"]
    optional = bool(reference.get("optional"))
    data = await load_data(lookup, kind, reference["name"], optional=optional)
    if reference["key"] not in data:
        if optional:
            return None
        raise ConfigurationMissing(
            f"couldn't find key {reference['key']} in {kind.removesuffix('s')} {reference['name']}"
        )
    return data[reference["key"]].decode(errors="replace")
