"""The forms in which objects are answered: as they are, as rows of a Table, or as metadata alone.

Pure but for the clock of the AGE column, which is given. Owns the list envelopes and the bytes of answers; which
columns a kind has is in its Resource.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from watchbill_local.server.resource import Resource
from watchbill_local.server.store import Entry
from watchbill_local.server.targets import Form
from watchbill_local.server.values import Obj


@dataclass(frozen=True, slots=True)
class View:
    """How one request wants to see the objects of one resource."""

    resource: Resource
    form: Form
    include: str = "Metadata"  #: what a Table row carries: Metadata, Object or None


def render_raw(resource: Resource, entry: Entry) -> bytes:
    """Return an object's JSON in the version of `resource`."""
    return entry.raw if resource.from_storage is None else orjson.dumps(resource.from_storage(entry.obj))


def show_object(resource: Resource, entry: Entry) -> Obj:
    """Return an object in the version of `resource`; not to be changed."""
    return entry.obj if resource.from_storage is None else resource.from_storage(entry.obj)


def render_entry(view: View, entry: Entry, now: float, *, header: bool = True) -> bytes:
    """Return one object in the form asked for; without `header` a Table leaves its column definitions out."""
    if view.form.shape == "object":
        return render_raw(view.resource, entry)
    obj = show_object(view.resource, entry)
    if view.form.shape == "metadata":
        return orjson.dumps(_only_metadata(obj["metadata"], view.form.version))
    list_metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    return orjson.dumps(_build_table(view, [obj], list_metadata, now, header=header))


def render_list(view: View, entries: Sequence[Entry], metadata: Obj, now: float) -> bytes:
    """Return a list in the form asked for; `metadata` holds its resource version and continue token."""
    resource, form = view.resource, view.form
    if form.shape == "table":
        objects = [show_object(resource, entry) for entry in entries]
        return orjson.dumps(_build_table(view, objects, metadata, now, header=True))
    if form.shape == "metadata":
        items = [_only_metadata(entry.obj["metadata"], form.version) for entry in entries]
        head = {"kind": "PartialObjectMetadataList", "apiVersion": f"meta.k8s.io/{form.version}"}
        return orjson.dumps({**head, "metadata": metadata, "items": items})
    head = {"kind": resource.list_kind or resource.kind + "List", "apiVersion": resource.api_version}
    opening = orjson.dumps({**head, "metadata": metadata})[:-1]
    return b'%s,"items":[%s]}' % (opening, b",".join([render_raw(resource, entry) for entry in entries]))


def build_bookmark(view: View, version: int, *, ends_initial: bool = False, header: bool = False) -> Obj:
    """Return the object of a BOOKMARK event: nothing but a resource version, in the watch's form."""
    metadata: Obj = {"resourceVersion": str(version)}
    if ends_initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    if view.form.shape == "object":
        return {"kind": view.resource.kind, "apiVersion": view.resource.api_version, "metadata": metadata}
    if view.form.shape == "metadata":
        return _only_metadata(metadata, view.form.version)
    table = _build_table(view, [], {"resourceVersion": str(version)}, 0.0, header=header)
    table["rows"] = [{"cells": [], "object": _only_metadata(metadata, view.form.version)}]
    return table


def _only_metadata(metadata: Obj, version: str) -> Obj:
    return {"kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": metadata}


def _build_table(view: View, objects: Sequence[Obj], metadata: Obj, now: float, *, header: bool) -> Obj:
    """Return a Table; each row carries as much of its object as the client asked to include."""
    rows = []
    for obj in objects:
        row: dict[str, Any] = {"cells": view.resource.row(obj, now)}
        if view.include == "Object":
            row["object"] = obj
        elif view.include != "None":
            row["object"] = _only_metadata(obj["metadata"], view.form.version)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{view.form.version}",
        "metadata": metadata,
        "columnDefinitions": list(view.resource.columns) if header else [],
        "rows": rows,
    }
