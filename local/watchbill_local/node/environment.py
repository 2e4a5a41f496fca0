"""The environment of a container: env, envFrom, $(VAR), fieldRef, configMap and secret keys.

Owns how a container's spec becomes NAME=value pairs. Invariant: as in Kubernetes, later entries win and may refer to
earlier ones; a reference that cannot be resolved and is not optional refuses the container. Nothing of the node's own
environment is handed on but PATH, LANG and, for the node's own Python, PYTHONPATH.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Mapping

from watchbill_local.node.api import ApiClient, Json

_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_.-][\w.-]*)\))")


class ConfigurationMissing(Exception):
    """The pod refers to something that is not there (yet): try again later, and say so in the pod's status."""


def expand_references(text: str, environment: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value, $$ by $; an unknown name stays as it is written."""
    return _REFERENCE.sub(lambda m: "$" if m[1] == "$" else environment.get(m[2], m[0]), text)


def field_value(pod: Json, path: str) -> str:
    """What a fieldRef's path names in `pod`; empty if the pod has no such field."""
    parts = path.split(".")
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        parts = ["metadata", match[1], match[2]]
    here: object = pod
    for part in parts:
        here = here.get(part, "") if isinstance(here, dict) else ""
    return str(here)


async def load_data(api: ApiClient, pod: Json, kind: str, reference: Json) -> dict[str, bytes]:
    """The entries of the configmap or secret that `reference` names; ConfigurationMissing if it is neither there nor
    optional."""
    name = reference.get("name") or reference["secretName"]
    item = await api.find(f"/api/v1/namespaces/{pod['metadata']['namespace']}/{kind}s/{name}")
    if item is None and not reference.get("optional"):
        raise ConfigurationMissing(f'{kind} "{name}" not found')
    return decode_data(item or {}, kind)


def decode_data(item: Json, kind: str) -> dict[str, bytes]:
    """The entries of a configmap or secret."""
    data, binary = (item.get(part) or {} for part in ("data", "binaryData"))
    entries = {k: base64.b64decode(v) if kind == "secret" else v.encode() for k, v in data.items()}
    return entries | {k: base64.b64decode(v) for k, v in binary.items()}


def base_environment(pod: Json, *, home: str) -> dict[str, str]:
    """What every container gets: the node's own Python first in PATH, and its own name."""
    own_python = os.path.dirname(sys.executable)
    path = os.environ.get("PATH", os.defpath)
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "PYTHONPATH") if name in os.environ}
    hostname = pod["spec"].get("hostname") or pod["metadata"]["name"]
    return kept | {"PATH": f"{own_python}:{path}", "HOME": home, "HOSTNAME": hostname}


async def build_environment(container: Json, pod: Json, base: Mapping[str, str], api: ApiClient) -> dict[str, str]:
    """The container's whole environment. Raises ConfigurationMissing, or ApiError and the like from `api`."""
    result = dict(base)
    for source in container.get("envFrom") or ():
        kind = "configmap" if "configMapRef" in source else "secret"
        data = await load_data(api, pod, kind, source.get("configMapRef") or source["secretRef"])
        result |= {source.get("prefix", "") + key: value.decode(errors="replace") for key, value in data.items()}
    for entry in container.get("env") or ():
        source = entry.get("valueFrom") or {}
        if "fieldRef" in source:
            result[entry["name"]] = field_value(pod, source["fieldRef"]["fieldPath"])
        elif source:
            result |= await _load_entry(entry["name"], source, pod, api)
        else:
            result[entry["name"]] = expand_references(entry.get("value") or "", result)
    return result


async def _load_entry(name: str, source: Json, pod: Json, api: ApiClient) -> dict[str, str]:
    """The variable that a key of a ConfigMap or Secret gives; none if that is absent and optional."""
    kind = "configmap" if "configMapKeyRef" in source else "secret"
    reference = source.get("configMapKeyRef") or source.get("secretKeyRef")
    if reference is None:
        raise ConfigurationMissing(f"this node cannot give {name} its value: it knows no {', '.join(source)}")
    data, key = await load_data(api, pod, kind, reference), reference["key"]
    if key not in data and not reference.get("optional"):
        raise ConfigurationMissing(f"couldn't find key {key} in {kind} {reference['name']}")
    return {name: data[key].decode(errors="replace")} if key in data else {}
