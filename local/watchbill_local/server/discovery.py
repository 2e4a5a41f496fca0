"""What the server tells about itself: versions, groups, resources, both in the old and in the aggregated form.

Owns the discovery documents and the 5-byte OpenAPI v2 answer. Documents are built from the registry when it has
changed and kept as bytes between. There is no OpenAPI v3 here, so `kubectl explain` has nothing to read; the v2
answer, a valid message that holds nothing but its version, is all that `kubectl apply` needs to go on and let the
server validate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

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

_AGGREGATED = re.compile(r"g=apidiscovery\.k8s\.io;v=(v2beta1|v2)\b")
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
        self._documents: dict[str, bytes] = {}

    def find(self, path: str, accept: str) -> Document | None:
        """Return the document at `path` in the form asked for, or None where there is none."""
        if self._revision != self._registry.revision:
            self._revision = self._registry.revision
            built = build_documents(self._registry.served())
            self._documents = {place: orjson.dumps(document) for place, document in built.items()}
        place = path.strip("/")
        form = _AGGREGATED.search(accept)
        if form is not None and place in ("api", "apis"):
            kind = f"{JSON};g=apidiscovery.k8s.io;v={form[1]};as=APIGroupDiscoveryList"
            return Document(kind, self._documents[f"{place} {form[1]}"])
        if place == "openapi/v2" and "protobuf" in accept and "json" not in accept and "*/*" not in accept:
            return Document(_OPENAPI_V2_TYPE, _OPENAPI_V2_EMPTY)
        body = self._documents.get(place)
        return None if body is None else Document(JSON, body)


def build_documents(resources: Iterable[Resource]) -> dict[str, Obj]:
    """Return every document by its path; the aggregated ones by path, space and version."""
    groups = _group(resources)
    listed = [_build_group(group, versions) for group, versions in groups.items() if group]
    documents: dict[str, Obj] = {
        "version": VERSION,
        "openapi/v2": {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1"}, "paths": {}},
        "api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
        "apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed},
        **{f"apis/{group['name']}": {"kind": "APIGroup", "apiVersion": "v1", **group} for group in listed},
    }
    for group, versions in groups.items():
        for version, served in versions.items():
            name = f"{group}/{version}" if group else version
            entries = [entry for resource in served for entry in _list_resource(resource)]
            documents[f"apis/{name}" if group else f"api/{name}"] = {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": name,
                "resources": entries,
            }
    for form in ("v2", "v2beta1"):
        head = {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{form}", "metadata": {}}
        aggregated = {group: _aggregate_group(group, versions) for group, versions in groups.items()}
        documents[f"api {form}"] = {**head, "items": [aggregated.pop("")]}
        documents[f"apis {form}"] = {**head, "items": list(aggregated.values())}
    return {"": {"paths": [f"/{path}" for path in documents if " " not in path]}, **documents}


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


def _build_group(group: str, versions: Iterable[str]) -> Obj:
    """Return what APIGroupList and APIGroup say of a group."""
    named = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": named, "preferredVersion": named[0]}


def _aggregate_group(group: str, versions: dict[str, list[Resource]]) -> Obj:
    """Return all of a group in the aggregated form."""
    told = [
        {"version": version, "freshness": "Current", "resources": [_aggregate(resource) for resource in resources]}
        for version, resources in versions.items()
    ]
    return {"metadata": {"name": group} if group else {}, "versions": told}


def _aggregate(resource: Resource) -> Obj:
    """Return the entry of a resource in the aggregated form."""
    own = (resource.group, resource.version, resource.kind)
    entry: Obj = {
        "resource": resource.plural,
        "responseKind": _kind_of(*own),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular or resource.kind.lower(),
        "verbs": list(resource.verbs),
        "shortNames": list(resource.short_names),
        "categories": list(resource.categories),
        "subresources": [
            {
                "subresource": name,
                "responseKind": _kind_of(*_SUBRESOURCE_KINDS.get(name, own)),
                "verbs": _SUBRESOURCE_VERBS.get(name, _UPDATED),
            }
            for name in sorted(resource.subresources)
        ],
    }
    return {key: value for key, value in entry.items() if value != []}


def _list_resource(resource: Resource) -> list[Obj]:
    """Return the entries of a resource and its subresources in an APIResourceList."""
    whole = _aggregate(resource)
    common: Obj = {"namespaced": resource.namespaced}
    names: Obj = {key: whole[key] for key in ("verbs", "shortNames", "categories") if key in whole}
    entries: list[Obj] = [
        {"name": resource.plural, "singularName": whole["singularResource"], "kind": resource.kind, **common, **names}
    ]
    for below in whole.get("subresources", ()):
        kind = below["responseKind"]
        other = {} if kind == whole["responseKind"] else {"group": kind["group"], "version": kind["version"]}
        name = {"name": f"{resource.plural}/{below['subresource']}", "singularName": "", "kind": kind["kind"]}
        entries.append({**name, **common, **other, "verbs": below["verbs"]})
    return entries


def _kind_of(group: str, version: str, kind: str) -> Obj:
    return {"group": group, "version": version, "kind": kind}
