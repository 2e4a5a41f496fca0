"""Custom kinds come and go: keeps the registry in step with the stored CustomResourceDefinitions.

Owns the moment at which a definition takes effect: with the change that stores it, so a client that has seen the
definition can use the kind. What a definition means is in crds.py.
"""

from __future__ import annotations

import functools
import logging

from watchbill_local.server.crds import build_resources
from watchbill_local.server.registry import DEFINITIONS, Registry
from watchbill_local.server.resource import Resource
from watchbill_local.server.store import Change, Store
from watchbill_local.server.values import Obj

log = logging.getLogger(__name__)


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
