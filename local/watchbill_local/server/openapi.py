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
    return _prune(value, _load_table()["schemas"][_name_of(resource)], "")


def _prune(value: Any, schema: Obj, path: str) -> list[str]:
    reference = schema.get("$ref") or next((each.get("$ref") for each in schema.get("allOf") or ()), None)
    if reference:
        schema = _load_table()["schemas"].get(reference.removeprefix(_REFERENCE), {})
    if isinstance(value, list):
        below = schema.get("items") or {}
        return [each for index, item in enumerate(value) for each in _prune(item, below, f"{path}[{index}]")]
    members, others = schema.get("properties"), schema.get("additionalProperties")
    if not isinstance(value, dict) or not (members or isinstance(others, dict)):
        return []  # a plain value, or one of any form
    unknown = []
    for key in list(value):
        below = (members or {}).get(key, others)
        if isinstance(below, dict):
            unknown += _prune(value[key], below, child_path(path, key))
        else:
            unknown.append(child_path(path, key))
            del value[key]
    return unknown


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
