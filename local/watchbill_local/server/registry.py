"""Which resources are served at this moment.

Owns the table from (group, version, plural) to Resource, and from the place where objects are stored to a Resource of
their kind. Built-in kinds are there from the start; a CustomResourceDefinition brings its own and takes
them along when it goes. What a definition means is in crds.py.

Invariant: `documents`, what discovery answers by path, always tells what is served.
"""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from watchbill_local.server.discovery import build_documents
from watchbill_local.server.openapi import build_openapi
from watchbill_local.server.resource import Resource

PODS = ("", "pods")
NAMESPACES = ("", "namespaces")
NODES = ("", "nodes")
SERVICE_ACCOUNTS = ("", "serviceaccounts")
EVENTS = ("", "events")
CONFIG_MAPS = ("", "configmaps")
DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")


class Registry:
    """The served resources."""

    def __init__(self, builtins: Iterable[Resource]) -> None:
        self._openapi: dict[str, bytes] = {}  #: made when it is asked for, as few clients do
        self._serve(list(builtins))

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the resource that a path names."""
        return self._served.get((group, version, plural))

    def kind(self, key: tuple[str, str]) -> Resource | None:
        """Return a resource, of whatever version, of the objects stored at `key`."""
        return self._kinds.get(key)

    def builtin(self, key: tuple[str, str]) -> Resource:
        """Return a resource that is always there."""
        return self._kinds[key]

    def install(self, definition: str, resources: Iterable[Resource]) -> None:
        """Serve these resources (none when it is gone) for a CustomResourceDefinition in place of its earlier ones."""
        self._serve([*(each for each in self._served.values() if each.crd != definition), *resources])

    def openapi(self, path: str) -> bytes | None:
        """Return an OpenAPI v3 document, or the index of them, by its path."""
        if not self._openapi:
            self._openapi = build_openapi(self._served.values())
        return self._openapi.get(path)

    def _serve(self, resources: list[Resource]) -> None:
        self._served = {(each.group, each.version, each.plural): each for each in resources}
        self._kinds = {each.key: each for each in resources}
        self._openapi.clear()
        self.documents = {path: orjson.dumps(document) for path, document in build_documents(resources).items()}
