"""What a request sees of the store: which objects, in which form, and how many at once.

Owns selection by namespace, labels and fields; the forms of an answer (objects as they are, or rows of a Table, whose
columns are in the Resource); and paging. All pages of one list show the state at the time of the first; a continue
token that has outlived its state is a 410.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from watchbill_local.server.errors import bad_request, gone
from watchbill_local.server.options import is_exact, parse_count
from watchbill_local.server.resource import Resource
from watchbill_local.server.selectors import FieldPredicate, LabelPredicate, parse_field_selector, parse_label_selector
from watchbill_local.server.store import Entry, Ident, Store
from watchbill_local.server.values import Obj, copy_value

#: Paged lists that are remembered at once.
OPEN_LISTS = 50

_TOO_OLD = "The provided continue parameter is too old to display a consistent list result."


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource a list or watch is about; None selects all."""

    resource: Resource
    namespace: str | None = None
    labels: LabelPredicate | None = None
    fields: FieldPredicate | None = None

    def is_selected(self, ident: Ident, entry: Entry) -> bool:
        """Whether an object belongs to it."""
        return (
            self.namespace in (None, ident.namespace)
            and (self.labels is None or self.labels(entry.obj["metadata"].get("labels")))
            and (self.fields is None or self.fields(show_object(self.resource, entry)))
        )

    @property
    def depends_on_content(self) -> bool:
        """Whether an object can enter or leave it by a change."""
        return self.labels is not None or self.fields is not None


@dataclass(frozen=True, slots=True)
class View:
    """How one request wants to see the objects of one resource."""

    resource: Resource
    form: str = ""  #: Table or PartialObjectMetadata; empty: the objects as they are
    version: str = ""  #: of meta.k8s.io in which the form is wanted
    include: str = "Metadata"  #: what a Table row carries of its object: Metadata, Object or None

    @property
    def _names(self) -> tuple[bytes, bytes]:
        return self.resource.api_version.encode(), self.resource.kind.encode()

    @property
    def is_table(self) -> bool:
        """Whether rows of cells are wanted."""
        return self.form == "Table"

    def render(self, entry: Entry, now: float, *, header: bool = True) -> bytes:
        """Return one object; without `header` a Table leaves its column definitions out."""
        if not self.form:
            return render_raw(self.resource, entry)
        if not self.is_table:
            return orjson.dumps(self._only_metadata(entry.obj["metadata"]))
        metadata = {"resourceVersion": entry.obj["metadata"].get("resourceVersion", "")}
        return orjson.dumps(self._build_table([entry], metadata, now, header=header))

    def render_list(self, entries: Sequence[Entry], metadata: Obj, now: float) -> bytes:
        """Return a list; `metadata` holds its resource version and continue token."""
        if self.is_table:
            return orjson.dumps(self._build_table(entries, metadata, now, header=True))
        if self.form:
            parts = [self._only_metadata(entry.obj["metadata"]) for entry in entries]
            return orjson.dumps({**self._only_metadata(metadata, "List"), "items": parts})
        kind = self.resource.list_kind or f"{self.resource.kind}List"
        head = {"kind": kind, "apiVersion": self.resource.api_version, "metadata": metadata}
        if self.resource.crd:
            head["metadata"] = {"continue": "", **metadata}
        prefix = b"" if self.resource.crd else b'"apiVersion":"%s","kind":"%s",' % self._names
        # items of built-in kinds do not say their kind, as upstream
        raws = [render_raw(self.resource, entry) for entry in entries]
        items = b",".join([b"{" + raw[1:].removeprefix(prefix) for raw in raws])
        return b'%s,"items":[%s]}' % (orjson.dumps(head)[:-1], items)

    def build_bookmark(self, metadata: Obj) -> Obj:
        """Return the object of a BOOKMARK event: `metadata` alone, in the form of the watch."""
        if not self.form:
            return {"kind": self.resource.kind, "apiVersion": self.resource.api_version, "metadata": metadata}
        if not self.is_table:
            return self._only_metadata(metadata)
        row = {"cells": [], "object": self._only_metadata(metadata)}
        version = {"resourceVersion": metadata["resourceVersion"]}
        return {**self._build_table([], version, 0.0, header=False), "rows": [row]}

    def _build_table(self, entries: Sequence[Entry], metadata: Obj, now: float, *, header: bool) -> Obj:
        """Return a Table; each row carries as much of its object as the client asked to include."""
        rows = []
        for obj in [show_object(self.resource, entry) for entry in entries]:
            row: dict[str, Any] = {"cells": self.resource.row(obj, now)}
            shown = obj if self.include == "Object" else self._only_metadata(obj["metadata"])
            row["object"] = None if self.include == "None" else shown
            rows.append(row)
        columns = list(self.resource.columns) if header else []
        head = {"kind": "Table", "apiVersion": f"meta.k8s.io/{self.version}", "metadata": metadata}
        return {**head, "columnDefinitions": columns, "rows": rows}

    def _only_metadata(self, metadata: Obj, suffix: str = "") -> Obj:
        kind = f"PartialObjectMetadata{suffix}"
        return {"kind": kind, "apiVersion": f"meta.k8s.io/{self.version}", "metadata": metadata}


def render_raw(resource: Resource, entry: Entry) -> bytes:
    """Return an object's JSON in the version of `resource`."""
    obj = show_object(resource, entry)
    return entry.raw if obj is entry.obj else orjson.dumps(obj)


def show_object(resource: Resource, entry: Entry) -> Obj:
    """Return an object in the version of `resource`, by the conversion strategy None; not to be changed."""
    if entry.obj["apiVersion"] == resource.api_version:
        return entry.obj
    obj = copy_value({**entry.obj, "apiVersion": resource.api_version})
    if resource.schema:
        resource.schema.prune(obj)
    return obj


def parse_selection(resource: Resource, namespace: str | None, query: Mapping[str, str]) -> Selection:
    """Return what the selectors of a query select. Raises a 400 for malformed ones."""
    labels = parse_label_selector(query.get("labelSelector"))
    fields = parse_field_selector(query.get("fieldSelector"), resource)
    return Selection(resource, namespace, labels, fields)


def select(store: Store, selection: Selection, version: int | None = None) -> list[Entry]:
    """Return the selected objects sorted by namespace and name, as they are or were at `version`. Raises a 410."""
    key = selection.resource.key
    if version is not None and version < store.floor(key):
        raise gone("The resourceVersion for the provided list is too old.")
    found = store.entries(key, selection.namespace, version)
    return [entry for ident, entry in found if selection.is_selected(ident, entry)]


class Lists:
    """Answers to list requests, page by page."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, tuple[int, list[Entry]]] = {}  #: version and objects by number, the oldest first
        self._numbers = itertools.count(random.getrandbits(48))

    def page(self, selection: Selection, query: Mapping[str, str]) -> tuple[list[Entry], Obj]:
        """Return the objects that `limit` and `continue` ask for, and the list's metadata. Raises 400 or 410."""
        token = query.get("continue", "")
        if re.fullmatch(r"([0-9a-f]+-\d+)?", token) is None:
            raise bad_request("invalid continue token: continue key is not valid: it was not given by this server")
        number, _, position = token.partition("-")
        start = parse_count({"continue": position}, "continue")
        if not number:
            number = f"{next(self._numbers):x}"
            version = int(query["resourceVersion"]) if is_exact(query) else self._store.version
            entries = select(self._store, selection, version)
        elif number in self._open:
            version, entries = self._open[number]
        else:
            raise gone(_TOO_OLD)
        metadata: Obj = {"resourceVersion": str(version)}
        end = start + (parse_count(query, "limit") or len(entries))
        if end < len(entries):
            self._open[number] = (version, entries)
            metadata["continue"] = f"{number}-{end}"
            if not selection.depends_on_content:
                metadata["remainingItemCount"] = len(entries) - end
        if len(self._open) > OPEN_LISTS:
            del self._open[next(iter(self._open))]
        return entries[start:end], metadata
