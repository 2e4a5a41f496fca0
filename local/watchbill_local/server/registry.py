"""Which resources are served at this moment.

Owns the table from (group, version, plural) to Resource, and from the place where objects are stored to the Resource
of their storage version. Built-in kinds are there from the start; a CustomResourceDefinition brings its own and takes
them along when it goes.

`Definitions` keeps the table in step with the stored definitions, within the change that stores one, so a client that
has seen the definition can use the kind. What a definition means is in crds.py.

Invariant: `revision` changes with every change of the table, so whoever derives something from it (discovery) knows
when to derive it anew.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from watchbill_local.server.crds import build_resources
from watchbill_local.server.resource import Resource
from watchbill_local.server.store import Change, Store
from watchbill_local.server.values import Obj

log = logging.getLogger(__name__)

PODS = ("", "pods")
NAMESPACES = ("", "namespaces")
NODES = ("", "nodes")
EVENTS = ("", "events")
SERVICE_ACCOUNTS = ("", "serviceaccounts")
CONFIG_MAPS = ("", "configmaps")
DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")


class Registry:
    """The served resources."""

    def __init__(self, builtins: Iterable[Resource]) -> None:
        self.revision = 0
        self._served: dict[tuple[str, str, str], Resource] = {}
        self._stored: dict[tuple[str, str], Resource] = {}
        self._add(builtins)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the resource that a path names."""
        return self._served.get((group, version, plural))

    def stored(self, key: tuple[str, str]) -> Resource | None:
        """Return the resource in whose version the objects at `key` are stored."""
        return self._stored.get(key)

    def builtin(self, key: tuple[str, str]) -> Resource:
        """Return a resource that is always there."""
        return self._stored[key]

    def served(self) -> list[Resource]:
        """Return all resources."""
        return list(self._served.values())

    def install(self, definition: str, resources: Sequence[Resource]) -> None:
        """Serve the resources of a CustomResourceDefinition in place of those it had before."""
        self.remove(definition)
        self._add(resources)

    def remove(self, definition: str) -> None:
        """Serve nothing of a CustomResourceDefinition any more."""
        for table in (self._served, self._stored):
            _drop(table, definition)
        self.revision += 1

    def _add(self, resources: Iterable[Resource]) -> None:
        for resource in resources:
            self._served[resource.group, resource.version, resource.plural] = resource
            known = self._stored.get(resource.key)
            if known is None or (resource.is_storage_version and not known.is_storage_version):
                self._stored[resource.key] = resource
        self.revision += 1


class Definitions:
    """Serves what the stored definitions say."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    def start(self) -> None:
        """Serve the definitions that are stored, and follow every change of them."""
        for _, entry in self._store.entries(DEFINITIONS):
            self._install(entry.obj)
        self._store.hooks.append(self.note)

    def note(self, change: Change) -> None:
        """Take a new, changed or deleted definition into effect."""
        if change.ident.key != DEFINITIONS:
            return
        if change.type == "DELETED":
            self._registry.remove(change.ident.name)
        elif change.previous is None or change.previous.obj["spec"] != change.entry.obj["spec"]:
            self._install(change.entry.obj)

    def _install(self, definition: Obj) -> None:
        name = definition["metadata"]["name"]
        try:
            resources = build_resources(definition)
        except (KeyError, TypeError, ValueError):
            log.exception("the definition %s cannot be served; its kind stays as it was", name)
            return
        self._registry.install(name, resources)
        for resource in resources:
            if resource.is_storage_version:
                self._store.reform(resource.key, functools.partial(_bring_up_to, resource))


def _bring_up_to(resource: Resource, obj: Obj) -> None:
    """Give an object that was stored earlier the version and the defaults that its kind has now."""
    obj["apiVersion"] = resource.api_version
    if resource.schema is not None:
        resource.schema.fill_defaults(obj)


def _drop(table: dict[Any, Resource], definition: str) -> None:
    for place in [place for place, resource in table.items() if resource.crd == definition]:
        del table[place]
