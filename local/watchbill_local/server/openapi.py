"""OpenAPI v3: what `kubectl explain` shows, and by which `kubectl apply` learns that the server validates.

Owns the index of documents and one document for each group and version: the schemas of its kinds with all that they
refer to, and for each kind the paths and operations by which clients find it. Schemas of built-in kinds are the table
openapi.json.gz, as the release of Kubernetes publishes them; those of custom kinds are what their definition says,
under the head that every object has. Pure; the registry keeps what is built.

Not told: subresources, lists, answers other than 200, and most parameters.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from watchbill_local.server.resource import Resource
from watchbill_local.server.values import Obj, child_path

ROOT = "openapi/v3"

_REFERENCE = "#/components/schemas/"
#: What kubectl looks for before it leaves validation to the server.
_WRITE_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation")
]
#: Actions, the verbs that they stand for, and their methods.
_OPERATIONS = (
    ("list", "list", "get"),
    ("post", "create", "post"),
    ("deletecollection", "deletecollection", "delete"),
    ("get", "get", "get"),
    ("put", "update", "put"),
    ("patch", "patch", "patch"),
    ("delete", "delete", "delete"),
)


def build_openapi(resources: Iterable[Resource]) -> dict[str, bytes]:
    """Return every document by its path, the index under `ROOT`; the hash in an address changes with the document."""
    by_path = itertools.groupby(sorted(resources, key=_path_of), key=_path_of)
    documents = {path: orjson.dumps(_build_document(list(group))) for path, group in by_path}
    hashes = {path: hashlib.sha256(document).hexdigest().upper() for path, document in documents.items()}
    index = {path: {"serverRelativeURL": f"/{ROOT}/{path}?hash={text}"} for path, text in hashes.items()}
    return {ROOT: orjson.dumps({"paths": index}), **{f"{ROOT}/{path}": raw for path, raw in documents.items()}}


def prune_unknown(resource: Resource, value: Obj) -> list[str]:
    """Remove in place what a built-in kind does not have; return the paths in the order of the object."""
    unknown: list[str] = []
    _prune(value, _find_shape(_name_of(resource)), "", unknown)
    return unknown


@dataclass(slots=True)
class _Shape:
    """Which members a value of a schema can have; None below stands for a value of any form."""

    members: dict[str, _Shape | None] | None = None
    others: _Shape | None = None
    is_map: bool = False
    items: _Shape | None = None


_SHAPES: dict[str, _Shape] = {}  #: by the name of their schema; made when first needed, and schemas refer to themselves


def _find_shape(name: str) -> _Shape:
    if name not in _SHAPES:
        _SHAPES[name] = shape = _Shape()
        schema = _load_table()["schemas"].get(name, {})
        others = schema.get("additionalProperties")
        shape.members = {key: _shape_of(below) for key, below in (schema.get("properties") or {}).items()} or None
        shape.others, shape.is_map = _shape_of(others), isinstance(others, dict)
        shape.items = _shape_of(schema.get("items"))
    return _SHAPES[name]


def _shape_of(schema: Any) -> _Shape | None:
    """Return the shape of a schema that stands within another, None for plain values."""
    if not isinstance(schema, dict):
        return None
    reference = schema.get("$ref") or next((each.get("$ref") for each in schema.get("allOf") or ()), None)
    if reference:
        return _find_shape(reference.removeprefix(_REFERENCE))
    others, items = _shape_of(schema.get("additionalProperties")), _shape_of(schema.get("items"))
    members = {key: _shape_of(below) for key, below in (schema.get("properties") or {}).items()} or None
    return _Shape(members, others, others is not None, items) if others or items or members else None


def _prune(value: Any, shape: _Shape, path: str, unknown: list[str]) -> None:
    if isinstance(value, list) and shape.items:
        for index, item in enumerate(value):
            _prune(item, shape.items, f"{path}[{index}]", unknown)
    if not isinstance(value, dict) or not (shape.members or shape.is_map):
        return
    members = shape.members or {}
    for key in list(value):
        if key not in members and not shape.is_map:
            unknown.append(child_path(path, key))
            del value[key]
        elif (below := members.get(key, shape.others)) and isinstance(value[key], (dict, list)):
            _prune(value[key], below, child_path(path, key), unknown)


def _path_of(resource: Resource) -> str:
    return f"{'apis' if resource.group else 'api'}/{resource.api_version}"


def _build_document(resources: list[Resource]) -> Obj:
    """Return the document of one group and version."""
    schemas = {_name_of(resource): _build_schema(resource) for resource in resources}
    todo = list(schemas.values())
    while todo:
        for name in _find_references(todo.pop()):
            if name in _load_table()["schemas"] and name not in schemas:
                schemas[name] = _load_table()["schemas"][name]
                todo.append(schemas[name])
    title = "Kubernetes CRD Swagger" if resources[0].crd else "Kubernetes"
    paths = [_build_paths(resource) for resource in sorted(resources, key=lambda each: each.plural)]
    return {
        "openapi": "3.0.0",
        "info": {"title": title, "version": "v0.1.0" if resources[0].crd else "unversioned"},
        "paths": {path: operations for each in paths for path, operations in each.items()},
        "components": {"schemas": schemas},
    }


@functools.cache
def _load_table() -> Obj:
    """Return the schemas of the built-in kinds; read when the first document is asked for."""
    table: Obj = orjson.loads(gzip.decompress(Path(__file__).with_name("openapi.json.gz").read_bytes()))
    return table


def _name_of(resource: Resource) -> str:
    """Return the name of a kind's schema: as the release has it, or `com.example.v1.Widget`."""
    if resource.crd is None:
        return str(_load_table()["kinds"][f"{resource.group}/{resource.kind}"])
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _build_schema(resource: Resource) -> Obj:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    if resource.schema is None:
        schema: Obj = _load_table()["schemas"][_name_of(resource)]
    else:
        schema = resource.schema.raw
        head = _load_table()["schemas"][_load_table()["kinds"]["/ConfigMap"]]["properties"]
        head = {key: head[key] for key in ("apiVersion", "kind", "metadata")}
        schema = {**schema, "properties": {**(schema.get("properties") or {}), **head}}
    return {**schema, "x-kubernetes-group-version-kind": [kind]}


def _find_references(value: Any) -> Iterator[str]:
    """Yield the names of the schemas that a schema refers to."""
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(_REFERENCE)
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from _find_references(each)


def _build_paths(resource: Resource) -> Obj:
    """Return the operations on the collection and on one object of a kind, by path and method."""
    place = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"/{_path_of(resource)}{place}/{resource.plural}"
    item = f"{collection}/{{name}}"
    paths: Obj = {collection: {}, item: {}}
    for action, verb, method in _OPERATIONS:
        if verb in resource.verbs:
            path = collection if verb in ("list", "create", "deletecollection") else item
            paths[path][method] = _build_operation(resource, action)
    return paths


def _build_operation(resource: Resource, action: str) -> Obj:
    schema = {"schema": {"$ref": f"{_REFERENCE}{_name_of(resource)}"}}
    operation: Obj = {
        "operationId": f"{action}{resource.kind}",
        "responses": {"200": {"description": "OK", "content": {"application/json": schema}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": resource.group,
            "version": resource.version,
            "kind": resource.kind,
        },
    }
    types = {"post": ["application/json"], "put": ["application/json"], "patch": list(resource.patch_types)}
    if action in types:
        operation["parameters"] = _WRITE_PARAMETERS
        operation["requestBody"] = {"required": True, "content": dict.fromkeys(types[action], schema)}
    return operation
