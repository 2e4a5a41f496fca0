"""What is served: one `Resource` for each group, version and plural.

Owns the record that all parts of the server read: discovery, routing, admission, tables, selectors. Built-in kinds
(kinds.py) and custom resource definitions (crds.py) both become Resources, so that the server has one path for all.
A Resource is immutable; a changed CRD makes new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from watchbill_local.server.errors import Cause, Named
from watchbill_local.server.names import NameRule
from watchbill_local.server.schema import Schema
from watchbill_local.server.values import Obj

JSON_PATCH, MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

#: (object, stored object or None at create, now in ISO form): fills in defaults in the object, a private copy.
Fill = Callable[[Obj, Obj | None, str], None]
#: (object, stored object or None at create) -> what is wrong with it.
Check = Callable[[Obj, Obj | None], list[Cause]]
#: (object, now in seconds since the epoch) -> the cells of its row, one for each column.
Row = Callable[[Obj, float], list[Any]]


@dataclass(frozen=True)
class Scale:
    """Where the scale subresource finds its numbers; paths such as `.spec.replicas`."""

    spec_replicas: str
    status_replicas: str
    selector: str | None = None


@dataclass(frozen=True, kw_only=True)
class Resource(Named):
    """One served resource."""

    namespaced: bool = True
    singular: str = ""  #: the kind in lower case if empty
    list_kind: str = ""  #: the kind and List if empty
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()  #: status, scale, log, binding, ...
    verbs: tuple[str, ...] = ALL_VERBS
    field_selectors: frozenset[str] = frozenset()  #: besides metadata.name and metadata.namespace
    columns: tuple[dict[str, Any], ...] = ()  #: columnDefinitions of a Table; column n stands for cell n of `row`
    row: Row
    fill: Fill | None = None
    check: Check | None = None
    has_generation: bool = False
    created_by_put: bool = False  #: a PUT of what is not there creates it
    name_rule: NameRule = "subdomain"
    crd: str | None = None  #: name of the CustomResourceDefinition that it comes from; those have no strategic patch
    schema: Schema | None = None
    stored_as: tuple[str, Schema] | None = None  #: the version in which objects are stored, where it is another one
    scale: Scale | None = None
    warning: str | None = None  #: sent with each answer, for deprecated versions

    @property
    def key(self) -> tuple[str, str]:
        """(group, plural) under which objects are stored; the versions of a kind share it."""
        return (self.group, self.plural)

    @property
    def is_review(self) -> bool:
        """True for a question that is answered and never stored."""
        return self.verbs == ("create",)

    @property
    def has_status(self) -> bool:
        """True when status can be written by the status subresource alone."""
        return "status" in self.subresources

    @property
    def patch_types(self) -> tuple[str, ...]:
        """Media types of the patches that are read; nothing says how the lists of a custom kind would be merged."""
        return (JSON_PATCH, MERGE_PATCH) if self.crd else (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)
