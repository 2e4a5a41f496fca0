"""What the server tells about itself: versions, groups, resources, both in the old and in the aggregated form.

Owns the discovery documents and the 5-byte OpenAPI v2 answer. Documents are built from the registry when it has
changed and kept as bytes between. There is no OpenAPI v3 here, so `kubectl explain` has nothing to read; the v2
answer, a valid message that holds nothing but its version, is all that `kubectl apply` needs to go on and let the
server validate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import orjson

from watchbill_local.server.crds import rank_version
from watchbill_local.server.registry import Registry
from watchbill_local.server.resource import Resource
from watchbill_local.server.targets import JSON
from watchbill_local.server.values import Obj

VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0+watchbill-local",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "cpython",
    "platform": "linux/amd64",
}

_OPENAPI_V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_OPENAPI_V2_EMPTY = b"\x0a\x032.0"

_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
}
_SUBRESOURCE_VERBS = {"log": ["get"], "eviction": ["create"], "binding": ["create"]}
_UPDATED = ["get", "patch", "update"]


class Document(NamedTuple):
    """An answer of the discovery."""

    content_type: str
    body: bytes


class Discovery:
    """The documents of one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._revision = -1
        self._documents: dict[tuple[str, str], Document] = {}
        self._groups: dict[str, dict[str, list[Resource]]] = {}

    def find(self, path: str, accept: str) -> Document | None:
        """Return the document at `path` in the form asked for, or None where there is none."""
        if self._revision != self._registry.revision:
            self._revision = self._registry.revision
            self._documents.clear()
            self._groups = _group(self._registry.served())
        place = (path.strip("/"), accept)
        if place not in self._documents:
            document = self._build(*place)
            if document is None or len(self._documents) > 500:
                return document
            self._documents[place] = document
        return self._documents[place]

    def _build(self, path: str, accept: str) -> Document | None:
        aggregated = re.search(r"g=apidiscovery\.k8s\.io;v=(v2beta1|v2)\b", accept)
        if path in ("api", "apis") and aggregated:
            kind = f"{JSON};g=apidiscovery.k8s.io;v={aggregated[1]};as=APIGroupDiscoveryList"
            return Document(kind, orjson.dumps(self._build_aggregated(path == "api", aggregated[1])))
        if path == "openapi/v2":
            return _build_openapi(accept)
        body = self._build_legacy(path)
        return None if body is None else Document(JSON, orjson.dumps(body))

    def _build_legacy(self, path: str) -> Obj | None:
        fixed: dict[str, Callable[[], Obj]] = {
            "": self._build_paths,
            "version": lambda: VERSION,
            "api": lambda: {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
            "apis": self._build_groups,
        }
        if path in fixed:
            return fixed[path]()
        first, *rest = path.split("/")
        if first == "apis" and len(rest) == 1 and rest[0] in self._groups and rest[0]:
            return {"kind": "APIGroup", "apiVersion": "v1", **self._build_group(rest[0])}
        group, version = ("", rest[0]) if first == "api" and len(rest) == 1 else ("/", "")
        if first == "apis" and len(rest) == 2:
            group, version = rest
        resources = self._groups.get(group, {}).get(version)
        if resources is None:
            return None
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": f"{group}/{version}" if group else version,
            "resources": [entry for resource in resources for entry in _list_resource(resource)],
        }

    def _build_paths(self) -> Obj:
        groups = [f"/apis/{group}" for group in self._groups if group]
        return {"paths": ["/api", "/api/v1", "/apis", *groups, "/healthz", "/livez", "/readyz", "/version"]}

    def _build_groups(self) -> Obj:
        groups = [self._build_group(group) for group in self._groups if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _build_group(self, group: str) -> Obj:
        versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in self._groups[group]]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _build_aggregated(self, core: bool, version: str) -> Obj:
        items = [
            {
                "metadata": {"name": group} if group else {},
                "versions": [
                    {"version": name, "freshness": "Current", "resources": [_aggregate(entry) for entry in resources]}
                    for name, resources in versions.items()
                ],
            }
            for group, versions in self._groups.items()
            if (group == "") is core
        ]
        head = {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {}}
        return {**head, "items": items}


def _group(resources: Iterable[Resource]) -> dict[str, dict[str, list[Resource]]]:
    """Return the resources by group and version, preferred versions first, resources by name."""
    groups: dict[str, dict[str, list[Resource]]] = {}
    for resource in resources:
        groups.setdefault(resource.group, {}).setdefault(resource.version, []).append(resource)
    return {
        group: {
            version: sorted(versions[version], key=lambda resource: resource.plural)
            for version in sorted(versions, key=rank_version)
        }
        for group, versions in groups.items()
    }


def _names_of(resource: Resource) -> Obj:
    """Return the optional names of a resource, which stand alike in both forms."""
    names: Obj = {"verbs": list(resource.verbs)}
    if resource.short_names:
        names["shortNames"] = list(resource.short_names)
    if resource.categories:
        names["categories"] = list(resource.categories)
    return names


def _list_resource(resource: Resource) -> list[Obj]:
    """Return the entries of a resource and its subresources in an APIResourceList."""
    common: Obj = {"namespaced": resource.namespaced}
    entries: list[Obj] = [
        {
            "name": resource.plural,
            "singularName": resource.singular or resource.kind.lower(),
            "kind": resource.kind,
            **common,
            **_names_of(resource),
        }
    ]
    for name in sorted(resource.subresources):
        group, version, kind = _SUBRESOURCE_KINDS.get(name, ("", "", resource.kind))
        entry: Obj = {"name": f"{resource.plural}/{name}", "singularName": "", "kind": kind, **common}
        entry["verbs"] = _SUBRESOURCE_VERBS.get(name, _UPDATED)
        if version:
            entry["group"], entry["version"] = group, version
        entries.append(entry)
    return entries


def _aggregate(resource: Resource) -> Obj:
    """Return the entry of a resource in the aggregated form."""
    entry: Obj = {
        "resource": resource.plural,
        "responseKind": _kind_of(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular or resource.kind.lower(),
        **_names_of(resource),
    }
    own = (resource.group, resource.version, resource.kind)
    subresources: list[dict[str, Any]] = [
        {
            "subresource": name,
            "responseKind": _kind_of(*_SUBRESOURCE_KINDS.get(name, own)),
            "verbs": _SUBRESOURCE_VERBS.get(name, _UPDATED),
        }
        for name in sorted(resource.subresources)
    ]
    return {**entry, "subresources": subresources} if subresources else entry


def _kind_of(group: str, version: str, kind: str) -> Obj:
    return {"group": group, "version": version, "kind": kind}


def _build_openapi(accept: str) -> Document:
    if "protobuf" in accept and "json" not in accept and "*/*" not in accept:
        return Document(_OPENAPI_V2_TYPE, _OPENAPI_V2_EMPTY)
    info = {"title": "Kubernetes", "version": VERSION["gitVersion"]}
    return Document(JSON, orjson.dumps({"swagger": "2.0", "info": info, "paths": {}, "definitions": {}}))
