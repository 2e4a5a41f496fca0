"""What follows from a change: dependants of a lost owner, contents of a namespace or of a custom kind.

Owns garbage collection in the background policy, the life of namespaces (what a new one is given, and that one being
deleted goes once it is empty) and of custom kinds. Each change queues the objects that it may concern; they are looked
at in short slices between requests, so a deletion is answered before its consequences. A look goes by the present
state alone, so it may be taken at any time, and once more.

Invariant: an object with owner references goes when none of its owners lives any more (an owner in another
namespace, or one that never was, does not live); one with a living owner loses only its dead references.

Never deletes past a finalizer or a pod's grace period: it asks for deletion like any client.
"""

from __future__ import annotations

import asyncio
import logging
import time

from watchbill_local.server.admission import Write
from watchbill_local.server.crds import CRD_FINALIZER
from watchbill_local.server.errors import ApiError
from watchbill_local.server.objects import DeleteOptions, Objects
from watchbill_local.server.registry import CONFIG_MAPS, DEFINITIONS, NAMESPACES, SERVICE_ACCOUNTS
from watchbill_local.server.store import Change, Entry, Ident, Key
from watchbill_local.server.values import Obj, copy_value

log = logging.getLogger(__name__)

#: Longest time in seconds that collection holds up requests.
SLICE_SECONDS = 0.01

FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class Collector:
    """Looks at every change, and does later what follows from it."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._store = objects.store
        self._queue: dict[Ident, None] = {}  #: in order; an object that waits already is not queued again
        self._is_scheduled = False

    def start(self) -> None:
        """Make the first namespaces, and take up again what an earlier process may have left undone."""
        self._store.hooks.append(self.note)
        for name in FIRST_NAMESPACES:
            self._create(NAMESPACES, "", name, {})
        self._queue_all(list(self._store.uids.values()))

    def note(self, change: Change) -> None:
        """Queue what a change may concern."""
        ident, metadata = change.ident, change.entry.obj["metadata"]
        if change.type == "DELETED":
            group, plural = ident.key
            holders = (Ident(NAMESPACES, "", ident.namespace), Ident(DEFINITIONS, "", f"{plural}.{group}"))
            self._queue_all([*self._store.dependants(metadata["uid"]), *holders])
        elif "ownerReferences" in metadata or "deletionTimestamp" in metadata:
            self._queue_all([ident])
        if change.type == "ADDED" and ident.key == NAMESPACES:
            self._create(SERVICE_ACCOUNTS, ident.name, "default", {})
            self._create(CONFIG_MAPS, ident.name, "kube-root-ca.crt", {"data": {"ca.crt": ""}})

    def collect(self) -> None:
        """Look at what is queued for one slice."""
        self._is_scheduled = False
        end = time.perf_counter() + SLICE_SECONDS
        while self._queue and time.perf_counter() < end:
            ident = next(iter(self._queue))
            del self._queue[ident]
            try:
                self._look(ident)
            except ApiError as refusal:
                log.debug("garbage collection of %s: %s", ident, refusal)
            except OSError:
                log.exception("garbage collection of %s is put off until the next start", ident)
        self._queue_all([])

    def _queue_all(self, idents: list[Ident]) -> None:
        self._queue.update(dict.fromkeys(idents))
        if self._queue and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self.collect)

    def _look(self, ident: Ident) -> None:
        """Do what the present state of an object asks for."""
        entry = self._store.get(ident)
        if entry is None:
            return
        metadata = entry.obj["metadata"]
        if not metadata.get("deletionTimestamp"):
            self._check_owners(ident, metadata.get("ownerReferences") or [])
        elif ident.key == NAMESPACES:
            self._empty_namespace(ident, entry)
        elif ident.key == DEFINITIONS:
            self._empty_definition(ident)

    def _check_owners(self, ident: Ident, owners: list[Obj]) -> None:
        """Delete an object whose owners are all gone; else take the references to dead owners off it."""
        alive = {owner["uid"] for owner in owners if self._is_living_owner(owner["uid"], ident.namespace)}
        if owners and not alive:
            self._delete(ident)
        elif any(owner["uid"] not in alive for owner in owners):
            self._objects.prune(ident, "ownerReferences", lambda owner: owner["uid"] in alive)

    def _is_living_owner(self, uid: str, namespace: str) -> bool:
        owner = self._store.uids.get(uid)
        return owner is not None and owner.namespace in ("", namespace)

    def _empty_namespace(self, ident: Ident, entry: Entry) -> None:
        """Delete what a namespace holds; let it go once it is empty and nobody else holds it."""
        for inside in self._store.contents(ident.name):
            self._delete(inside)
        if not self._store.contents(ident.name) and not entry.obj["metadata"].get("finalizers"):
            self._store.put(ident, copy_value(entry.obj), is_deleted=True)

    def _empty_definition(self, ident: Ident) -> None:
        """Delete the objects of a custom kind; let its definition, named `plural.group`, go with the last one."""
        plural, _, group = ident.name.partition(".")
        for inside, _ in self._store.entries((group, plural)):
            self._delete(inside)
        if not self._store.entries((group, plural)):
            self._objects.prune(ident, "finalizers", lambda finalizer: finalizer != CRD_FINALIZER)

    def _delete(self, ident: Ident) -> None:
        entry, resource = self._store.get(ident), self._objects.registry.kind(ident.key)
        if entry and resource and not entry.obj["metadata"].get("deletionTimestamp"):
            self._objects.delete(Write(resource, ident.namespace, ident.name), DeleteOptions())

    def _create(self, key: Key, namespace: str, name: str, content: Obj) -> None:
        """Create what every namespace has, and every cluster, unless it is there."""
        resource = self._objects.registry.builtin(key)
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, **content}
        if not self._store.get(Ident(key, namespace, name)):
            self._objects.create(Write(resource, namespace), body)
