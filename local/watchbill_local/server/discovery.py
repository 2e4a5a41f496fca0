"""What the server tells about itself: version, groups, resources.

Owns the discovery documents (in the plain form, which every client falls back to) and the 5-byte OpenAPI v2 answer, a
valid message that holds nothing but its version: clients that insist on it read on in v3 (openapi.py). Pure: the
registry builds the documents whenever its table changes.
"""

from __future__ import annotations

from collections.abc import Sequence

from watchbill_local.server.crds import rank_version
from watchbill_local.server.resource import Resource
from watchbill_local.server.values import Obj

_UNTOLD = ("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform")
VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.0+watchbill-local", **dict.fromkeys(_UNTOLD, "")}

OPENAPI_V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
OPENAPI_V2_EMPTY = b"\x0a\x032.0"

#: What the subresources that are no part of their object are, and what can be done with them.
_SUBRESOURCES: dict[str, Obj] = {
    "binding": {"kind": "Binding", "verbs": ["create"]},
    "log": {"verbs": ["get"]},
    "token": {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest", "verbs": ["create"]},
    "scale": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
}


def build_documents(resources: Sequence[Resource]) -> dict[str, Obj]:
    """Return every document by its path."""
    groups: dict[str, dict[str, list[Obj]]] = {resource.group: {} for resource in resources}
    for resource in sorted(resources, key=lambda each: (rank_version(each.version), each.plural)):
        groups[resource.group].setdefault(resource.version, []).extend(_list_resource(resource))
    listed = [_build_group(group, versions) for group, versions in groups.items() if group]
    documents: dict[str, Obj] = {
        "version": VERSION,
        "api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
        "apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed},
        **{f"apis/{group['name']}": {"kind": "APIGroup", "apiVersion": "v1", **group} for group in listed},
    }
    for group, versions in groups.items():
        for version, entries in versions.items():
            name = f"{group}/{version}" if group else version
            head = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name}
            documents[f"apis/{name}" if group else f"api/{name}"] = {**head, "resources": entries}
    return {"": {"paths": sorted(f"/{path}" for path in documents)}, **documents}


def _build_group(group: str, versions: dict[str, list[Obj]]) -> Obj:
    """Return what APIGroupList and APIGroup say of a group, whose preferred version comes first."""
    named = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": named, "preferredVersion": named[0]}


def _list_resource(resource: Resource) -> list[Obj]:
    """Return the entries of a resource and its subresources in an APIResourceList."""
    common: Obj = {"kind": resource.kind, "namespaced": resource.namespaced}
    names = {"shortNames": list(resource.short_names), "categories": list(resource.categories)}
    own = {
        "name": resource.plural,
        "singularName": resource.singular or resource.kind.lower(),
        **common,
        "verbs": list(resource.verbs),
    }
    below = {"singularName": "", **common, "verbs": ["get", "patch", "update"]}
    return [
        {**own, **{key: value for key, value in names.items() if value}},
        *(
            {**below, "name": f"{resource.plural}/{name}", **_SUBRESOURCES.get(name, {})}
            for name in sorted(resource.subresources)
        ),
    ]
