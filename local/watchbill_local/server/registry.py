"""Which resources are served at this moment.

Owns the table from (group, version, plural) to Resource, and from the place where objects are stored to the Resource
of their storage version. Built-in kinds are there from the start; a CustomResourceDefinition brings its own and takes
them along when it goes.

Invariant: `revision` changes with every change of the table, so whoever derives something from it (discovery) knows
when to derive it anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from watchbill_local.server.resource import Resource

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


def _drop(table: dict[Any, Resource], definition: str) -> None:
    for place in [place for place, resource in table.items() if resource.crd == definition]:
        del table[place]
