"""Requests as data: the scenarios of the differential test, and how a step becomes the parts of a request.

Owns the format of `tests/differential/requests/*.yaml`: themes of scenarios, each a list of steps that run in order in
a namespace of their own. A step sends a request (`send: POST cm`), follows a watch to its end (`watch: cm?...`), or
waits until a request is answered by a status (`until: 404 GET cm/a`). Paths may begin with a short name (PLACES);
`{ns}`, `{group}` and what earlier steps kept (`keep: {uid: metadata.uid}`) are filled in, and `{x*300}` is a long text.
Pure but for reading the files; differential.py sends.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Obj = dict[str, Any]

_CORE, _APPS = "/api/v1/namespaces/{ns}", "/apis/{}/namespaces/{{ns}}/{}"
#: What a path may begin with instead of a slash.
PLACES = {
    "ns": "/api/v1/namespaces",
    "nodes": "/api/v1/nodes",
    "crds": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "clusterroles": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "cm": f"{_CORE}/configmaps",
    "sa": f"{_CORE}/serviceaccounts",
    "svc": f"{_CORE}/services",
    "pvc": f"{_CORE}/persistentvolumeclaims",
    **{plural: f"{_CORE}/{plural}" for plural in ("pods", "secrets", "events")},
    "leases": _APPS.format("coordination.k8s.io/v1", "leases"),
    "roles": _APPS.format("rbac.authorization.k8s.io/v1", "roles"),
    "rolebindings": _APPS.format("rbac.authorization.k8s.io/v1", "rolebindings"),
    "tasks": _APPS.format("watchbill.dev/v1alpha1", "tasks"),
    "agents": _APPS.format("watchbill.dev/v1alpha1", "agents"),
    "widgets": _APPS.format("{group}/v1", "widgets"),
}
_PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_ACCEPTS = {"table": _TABLE, "metadata": _TABLE.replace("=Table", "=PartialObjectMetadata")}
_ACCEPTS["metadata list"] = _ACCEPTS["metadata"].replace("Metadata;", "MetadataList;")
_LONG = re.compile(r"\{([^{}])\*(\d+)\}")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a scenario; exactly one of `send`, `watch` and `until` says what it does."""

    id: str = ""
    send: str = ""  #: method and path
    watch: str = ""  #: path with query; the server ends it after `timeoutSeconds`
    until: str = ""  #: status, method and path: repeated until it is answered so
    body: Any = None
    raw: str | bytes | None = None  #: a body that is sent as it stands
    type: str = ""  #: Content-Type, or one of json, merge, strategic, apply
    accept: str = "application/json"  #: Accept, or one of table, metadata
    headers: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, str] = field(default_factory=dict)  #: name -> path in the answer, for later steps
    show: tuple[str, ...] = ()  #: paths of the answer that are compared; none: all of it


@dataclass(frozen=True)
class Scenario:
    """Steps that run in order in a namespace of their own."""

    theme: str
    name: str
    steps: tuple[Step, ...]

    @property
    def requests(self) -> list[Step]:
        """Return the steps that are compared."""
        return [step for step in self.steps if not step.until]


def load_scenarios(folder: Path) -> list[Scenario]:
    """Return all scenarios, by file and in their order. Raises ValueError where two steps have one id."""
    found = []
    for path in sorted(folder.glob("*.yaml")):
        for name, steps in yaml.safe_load(path.read_text()).items():
            if name.startswith("."):
                continue  # anchors alone
            scenario = Scenario(path.stem, name, tuple(_parse_step(step) for step in steps))
            ids = [step.id for step in scenario.requests]
            if len(set(ids)) != len(ids):
                raise ValueError(f"{path.name}: {name}: ids are not unique: {ids}")
            found.append(scenario)
    return found


def _parse_step(raw: Obj) -> Step:
    """Return a step; its id is what it sends unless it has one."""
    does = raw.get("send") or raw.get("watch") or ""
    return Step(**{"id": does, **raw, "show": tuple(raw.get("show", ()))})


def fill_in(text: str, words: Mapping[str, str]) -> str:
    """Return a text with `{name}` and `{x*300}` filled in."""
    for name, value in words.items():
        text = text.replace("{" + name + "}", value)
    return _LONG.sub(lambda match: match[1] * int(match[2]), text)


def find_value(value: Any, path: str) -> Any:
    """Return what is at a path such as `items.0.metadata.uid`, None where there is nothing."""
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


def build_headers(step: Step, token: str) -> dict[str, str]:
    """Return the headers of a request; an empty one is not sent."""
    kind = _PATCHES.get(step.type, step.type) or ("application/json" if step.send.startswith(("POST", "PUT")) else "")
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": _ACCEPTS.get(step.accept, step.accept),
        "Content-Type": kind,
        **step.headers,
    }
    return {name: value for name, value in headers.items() if value}


def build_path(path: str, words: Mapping[str, str]) -> str:
    """Return the path of a request with its place and words filled in."""
    head = re.match(r"[^/?]*", path)
    place = head[0] if head else ""
    filled = fill_in(PLACES[place] + path[len(place) :] if place else path, words)
    return filled.replace(" ", "%20")


def build_body(step: Step, words: Mapping[str, str]) -> bytes | None:
    """Return the body of a request with its words filled in, None where it has none."""
    if isinstance(step.raw, str) and step.raw.startswith("base64:"):
        return base64.b64decode(step.raw.removeprefix("base64:"))
    if step.raw is not None:
        return fill_in(step.raw, words).encode() if isinstance(step.raw, str) else step.raw
    return None if step.body is None else fill_in(json.dumps(step.body), words).encode()
