"""What follows from a change: dependants of a lost owner, contents of a namespace or of a custom kind.

Owns garbage collection, the life of namespaces (what a new one is given, and that one being deleted goes once it is
empty) and of custom kinds. Each change queues the objects that it may concern; they are looked
at in short slices between requests, so a deletion is answered before its consequences. A look goes by the present
state alone, so it may be taken at any time, and once more.

Invariant: an object with owner references goes when none of its owners stays (an owner in another namespace, or one
that never was, does not live; one that waits for its dependants does not stay); one with an owner that stays loses only
the other references. An owner that is deleted in the foreground goes after the last dependant that blocks it; one that
orphans its dependants goes after none of them refers to it.

Never deletes past a finalizer or a pod's grace period: it asks for deletion like any client.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Literal

from watchbill_local.server.admission import Write
from watchbill_local.server.crds import CRD_FINALIZER, add_termination
from watchbill_local.server.deletion import FOREGROUND, ORPHAN, DeleteOptions, set_or_drop
from watchbill_local.server.errors import ApiError
from watchbill_local.server.objects import Objects
from watchbill_local.server.registry import CONFIG_MAPS, DEFINITIONS, NAMESPACES, SERVICE_ACCOUNTS
from watchbill_local.server.store import Change, Entry, Ident, Key
from watchbill_local.server.times import now_iso
from watchbill_local.server.values import Obj, copy_value, dig

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
        owners = change.previous.obj["metadata"].get("ownerReferences") if change.previous else None
        if owners and (change.type == "DELETED" or owners != metadata.get("ownerReferences")):
            self._queue_all([self._store.uids[each["uid"]] for each in owners if each["uid"] in self._store.uids])
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
        finalizers = metadata.get("finalizers") or ()
        if not metadata.get("deletionTimestamp"):
            self._check_owners(ident, metadata)
        elif ORPHAN in finalizers:
            self._orphan_dependants(ident, metadata["uid"])
        elif FOREGROUND in finalizers:
            self._delete_dependants(ident, metadata["uid"])
        elif ident.key == NAMESPACES:
            self._empty_namespace(ident, entry)
        elif ident.key == DEFINITIONS:
            self._empty_definition(ident, entry)

    def _check_owners(self, ident: Ident, metadata: Obj) -> None:
        """Delete an object none of whose owners stays; else take the references to those that do not off it."""
        owners = metadata.get("ownerReferences") or []
        states = {owner["uid"]: self._decide_owner(owner["uid"], ident.namespace) for owner in owners}
        if "stays" in states.values():
            self._drop(ident, "ownerReferences", lambda owner: states.get(owner["uid"]) != "stays")
        elif "waits" in states.values() and (dependants := self._store.dependants(metadata["uid"])):
            is_circle = any(self._is_waiting(each) for each in dependants)
            if is_circle and any(owner.get("blockOwnerDeletion") for owner in owners):
                self._objects.amend(ident, _unblock_owners)  # it would wait for itself
            else:
                self._delete(ident, "Foreground")
        elif owners:
            self._delete(ident)

    def _decide_owner(self, uid: str, namespace: str) -> Literal["stays", "waits", "gone"]:
        """Return what an object of a namespace can expect of an owner."""
        owner = self._store.uids.get(uid)
        if owner is None or owner.namespace not in ("", namespace):
            return "gone"
        return "waits" if self._is_waiting(owner) else "stays"

    def _is_waiting(self, ident: Ident) -> bool:
        """Whether an object is being deleted in the foreground."""
        metadata = self._metadata(ident)
        return bool(metadata.get("deletionTimestamp")) and FOREGROUND in (metadata.get("finalizers") or ())

    def _delete_dependants(self, ident: Ident, uid: str) -> None:
        """Look at what waits to go before its owner; let the owner go when nothing blocks it any more."""
        dependants = self._store.dependants(uid)
        self._queue_all([each for each in dependants if not self._metadata(each).get("deletionTimestamp")])
        if not any(self._is_blocking(each, uid) for each in dependants):
            self._drop(ident, "finalizers", lambda each: each == FOREGROUND)

    def _is_blocking(self, ident: Ident, uid: str) -> bool:
        owners = self._metadata(ident).get("ownerReferences") or ()
        return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners)

    def _orphan_dependants(self, ident: Ident, uid: str) -> None:
        """Take an owner off its dependants, then let it go."""
        for each in self._store.dependants(uid):
            self._drop(each, "ownerReferences", lambda owner: owner["uid"] == uid)
        self._drop(ident, "finalizers", lambda each: each == ORPHAN)

    def _metadata(self, ident: Ident) -> Obj:
        """Return the metadata of an object, nothing where it is gone."""
        entry = self._store.get(ident)
        return {} if entry is None else entry.obj["metadata"]

    def _drop(self, ident: Ident, key: str, is_dropped: Callable[[Any], bool]) -> None:
        """Take finalizers or owner references (`key`) off an object, which may be the end of it."""

        def change(metadata: Obj) -> None:
            set_or_drop(metadata, key, [each for each in metadata.get(key) or () if not is_dropped(each)])

        self._objects.amend(ident, change)

    def _empty_namespace(self, ident: Ident, entry: Entry) -> None:
        """Delete what a namespace holds; let it go once it is empty and nobody else holds it."""
        for inside in self._store.contents(ident.name):
            self._delete(inside)
        if not self._store.contents(ident.name) and not entry.obj["metadata"].get("finalizers"):
            self._store.put(ident, copy_value(entry.obj), is_deleted=True)

    def _empty_definition(self, ident: Ident, entry: Entry) -> None:
        """Delete the objects of a custom kind; let its definition, named `plural.group`, go with the last one."""
        conditions = dig(entry.obj, "status", "conditions", default=[])
        if not any(each["type"] == "Terminating" for each in conditions):
            self._store.put(ident, add_termination(copy_value(entry.obj), now_iso()))
        plural, _, group = ident.name.partition(".")
        for inside, _ in self._store.entries((group, plural)):
            self._delete(inside)
        if not self._store.entries((group, plural)):
            self._drop(ident, "finalizers", lambda finalizer: finalizer == CRD_FINALIZER)

    def _delete(self, ident: Ident, policy: str | None = None) -> None:
        entry, resource = self._store.get(ident), self._objects.registry.kind(ident.key)
        if entry and resource and not entry.obj["metadata"].get("deletionTimestamp"):
            self._objects.delete(Write(resource, ident.namespace, ident.name), DeleteOptions(policy=policy))

    def _create(self, key: Key, namespace: str, name: str, content: Obj) -> None:
        """Create what every namespace has, and every cluster, unless it is there."""
        resource = self._objects.registry.builtin(key)
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, **content}
        if not self._store.get(Ident(key, namespace, name)):
            self._objects.create(Write(resource, namespace), body)


def _unblock_owners(metadata: Obj) -> None:
    """Let the owners of an object go before it."""
    for owner in metadata.get("ownerReferences") or ():
        owner["blockOwnerDeletion"] = False
