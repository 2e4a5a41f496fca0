"""Lists: which objects a request selects, and paging through them.

Owns selection by namespace, labels and fields, the continue tokens, and the states that open tokens still need. All
pages of one list show the state at the time of the first; a token that has outlived its state is a 410.
"""

from __future__ import annotations

import base64
import binascii
import collections
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from watchbill_local.server.errors import ApiError, bad_request, gone
from watchbill_local.server.resource import Resource
from watchbill_local.server.selectors import FieldPredicate, LabelPredicate, parse_field_selector, parse_label_selector
from watchbill_local.server.shapes import show_object
from watchbill_local.server.store import Entry, Ident, Store
from watchbill_local.server.values import Obj

#: Paged lists that are remembered at once.
OPEN_LISTS = 50


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource a list or watch is about; None selects all."""

    resource: Resource
    namespace: str | None = None
    labels: LabelPredicate | None = None
    fields: FieldPredicate | None = None
    name: str | None = None

    def is_selected(self, ident: Ident, entry: Entry) -> bool:
        """Whether an object belongs to it."""
        if self.namespace is not None and ident.namespace != self.namespace:
            return False
        if self.name is not None and ident.name != self.name:
            return False
        if self.labels is not None and not self.labels(entry.obj["metadata"].get("labels")):
            return False
        return self.fields is None or self.fields(show_object(self.resource, entry))

    @property
    def depends_on_content(self) -> bool:
        """Whether an object can enter or leave it by a change."""
        return self.labels is not None or self.fields is not None


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a list request."""

    entries: list[Entry]
    metadata: Obj  #: resource version, and where there is more: `continue` and `remainingItemCount`


def parse_selection(
    resource: Resource, namespace: str | None, query: Mapping[str, str], name: str | None = None
) -> Selection:
    """Return what the selectors of a query select. Raises a 400 for malformed ones."""
    labels = parse_label_selector(query.get("labelSelector"))
    fields = parse_field_selector(query.get("fieldSelector"), resource)
    return Selection(resource, namespace, labels, fields, name)


def select(store: Store, selection: Selection) -> list[Entry]:
    """Return the selected objects sorted by namespace and name."""
    found = store.entries(selection.resource.key, selection.namespace)
    return [entry for ident, entry in found if selection.is_selected(ident, entry)]


class Lists:
    """Answers to list requests, page by page."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: collections.OrderedDict[int, tuple[int, list[Entry]]] = collections.OrderedDict()
        self._numbers = itertools.count(random.getrandbits(48))

    def page(self, selection: Selection, query: Mapping[str, str]) -> Page:
        """Return the page that `limit` and `continue` ask for. Raises 400, 410 or 504."""
        limit = parse_count(query, "limit")
        if query.get("continue"):
            number, start = _parse_token(query["continue"])
            version, entries = self._reopen(number)
        else:
            self._check_version(query)
            number, start = next(self._numbers), 0
            version, entries = self._store.version, select(self._store, selection)
        metadata: Obj = {"resourceVersion": str(version)}
        end = start + limit if limit else len(entries)
        if end < len(entries):
            self._open[number] = (version, entries)
            self._open.move_to_end(number)
            while len(self._open) > OPEN_LISTS:
                self._open.popitem(last=False)
            metadata["continue"] = _format_token(number, end)
            if not selection.depends_on_content:
                metadata["remainingItemCount"] = len(entries) - end
        return Page(entries[start:end], metadata)

    def _reopen(self, number: int) -> tuple[int, list[Entry]]:
        try:
            return self._open[number]
        except KeyError:
            raise gone(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter."
            ) from None

    def _check_version(self, query: Mapping[str, str]) -> None:
        """Refuse a list of a state that is not there: a future one, or exactly one that is past."""
        version = parse_version(query)
        if version > self._store.version:
            message = f"Timeout: Too large resource version: {version}, current: {self._store.version}"
            cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            raise ApiError(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1})
        if query.get("resourceVersionMatch") == "Exact" and version != self._store.version:
            raise gone("The resourceVersion for the provided list is too old.")


def parse_version(query: Mapping[str, str]) -> int:
    """Return the resource version of a query, 0 where there is none. Raises a 400."""
    text = query.get("resourceVersion") or "0"
    if not (text.isascii() and text.isdigit()):
        raise bad_request(
            f'invalid resource version: resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing '
            f'"{text}": invalid syntax'
        )
    return int(text)


def parse_count(query: Mapping[str, Any], key: str) -> int:
    """Return a whole number of a query, 0 where there is none. Raises a 400."""
    text = query.get(key) or "0"
    if not (text.isascii() and text.isdigit()):
        raise bad_request(f'invalid {key} "{text}": must be a whole number')
    return int(text)


def _format_token(number: int, position: int) -> str:
    return base64.urlsafe_b64encode(f"{number}:{position}".encode()).decode()


def _parse_token(token: str) -> tuple[int, int]:
    try:
        number, position = base64.urlsafe_b64decode(token).decode().split(":")
        return int(number), int(position)
    except (binascii.Error, ValueError):
        raise bad_request("continue key is not valid: illegal base64 or position") from None
