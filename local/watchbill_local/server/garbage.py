"""What follows from a change: dependants of a lost owner, contents of a namespace or of a custom kind.

Owns garbage collection in the background policy, the life of namespaces (what a new one is given, and that one being
deleted goes once it is empty) and of custom kinds. Work is queued by each change and done in short slices between
requests, so a deletion is answered before its consequences.

Invariant: an object with owner references goes when none of its owners lives any more (an owner in another
namespace, or one that never was, does not live); one with a living owner loses only its dead references.

Events go an hour after they were last seen.

Never deletes past a finalizer or a pod's grace period: it asks for deletion like any client.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import time
from collections.abc import Callable

from watchbill_local.server.admission import Write
from watchbill_local.server.crds import CRD_FINALIZER
from watchbill_local.server.deletion import DeleteOptions
from watchbill_local.server.errors import ApiError
from watchbill_local.server.objects import Objects
from watchbill_local.server.registry import CONFIG_MAPS, DEFINITIONS, EVENTS, NAMESPACES, SERVICE_ACCOUNTS
from watchbill_local.server.store import Change, Entry, Ident, Key
from watchbill_local.server.times import parse_time
from watchbill_local.server.values import copy_value

log = logging.getLogger(__name__)

#: Longest time in seconds that collection holds up requests.
SLICE_SECONDS = 0.01

#: Seconds for which an event is kept after it was last seen, as upstream does, and between two looks at all of them.
EVENT_SECONDS, SWEEP_SECONDS = 3600.0, 300.0

FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class Collector:
    """Looks at every change, and does later what follows from it."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._store = objects.store
        self._queue: collections.deque[tuple[Callable[[Ident], None], Ident]] = collections.deque()
        self._is_scheduled = False

    def start(self) -> None:
        """Make the first namespaces, and take up again what an earlier process may have left undone."""
        self._store.hooks.append(self.note)
        for name in FIRST_NAMESPACES:
            if not self._store.get(Ident(NAMESPACES, "", name)):
                self._create(NAMESPACES, "", name, {})
        for ident in list(self._store.uids.values()):
            entry = self._store.get(ident)
            if entry is not None:
                self._note_state(ident, entry, is_new=True)
        self._schedule()
        self._expire_events()

    def note(self, change: Change) -> None:
        """Queue what follows from a change."""
        if change.type == "DELETED":
            self._note_end(change.ident, change.entry)
        else:
            self._note_state(change.ident, change.entry, is_new=change.previous is None)
        if change.ident.key == NAMESPACES and change.type == "ADDED":
            self._furnish(change.ident.name)
        self._schedule()

    def collect(self) -> None:
        """Work on the queue for one slice."""
        self._is_scheduled = False
        end = time.perf_counter() + SLICE_SECONDS
        try:
            while self._queue and time.perf_counter() < end:
                step, ident = self._queue.popleft()
                step(ident)
        except ApiError as refusal:
            log.debug("garbage collection of %s: %s", ident, refusal)
        except OSError:
            log.exception("garbage collection of %s is put off until the next start", ident)
        finally:
            self._schedule()

    def _schedule(self) -> None:
        if self._queue and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self.collect)

    def _note_end(self, ident: Ident, entry: Entry) -> None:
        for dependant in self._store.dependants(entry.obj["metadata"]["uid"]):
            self._queue.append((self._collect_orphan, dependant))
        if ident.namespace and self._is_going(Ident(NAMESPACES, "", ident.namespace)):
            self._queue.append((self._finish_namespace, Ident(NAMESPACES, "", ident.namespace)))
        definition = Ident(DEFINITIONS, "", f"{ident.key[1]}.{ident.key[0]}")
        if self._is_going(definition):
            self._queue.append((self._finish_definition, definition))

    def _note_state(self, ident: Ident, entry: Entry, *, is_new: bool) -> None:
        metadata = entry.obj["metadata"]
        if is_new and metadata.get("ownerReferences"):
            self._queue.append((self._collect_orphan, ident))
        if not metadata.get("deletionTimestamp"):
            return
        if ident.key == NAMESPACES:
            self._queue.append((self._empty_namespace, ident))
        elif ident.key == DEFINITIONS:
            self._queue.append((self._empty_definition, ident))

    def _collect_orphan(self, ident: Ident) -> None:
        """Delete an object whose owners are all gone; else take the references to dead owners off it."""
        entry = self._store.get(ident)
        if entry is None or entry.obj["metadata"].get("deletionTimestamp"):
            return
        owners = [owner.get("uid") for owner in entry.obj["metadata"].get("ownerReferences") or ()]
        alive = {uid for uid in owners if self._is_living_owner(uid, ident.namespace)}
        if owners and not alive:
            self._delete(ident, entry)
        elif len(alive) < len(owners):
            self._objects.keep_owners(ident, alive)

    def _is_living_owner(self, uid: str, namespace: str) -> bool:
        owner = self._store.uids.get(uid)
        return owner is not None and owner.namespace in ("", namespace)

    def _empty_namespace(self, ident: Ident) -> None:
        for key in self._store.kinds():
            resource = self._objects.registry.stored(key)
            if resource is not None and resource.namespaced:
                self._delete_all(key, ident.name)
        self._finish_namespace(ident)

    def _finish_namespace(self, ident: Ident) -> None:
        """Let a namespace go once it is empty and nobody else holds it."""
        entry = self._store.get(ident)
        if entry is None or not self._is_going(ident):
            return
        if not self._store.is_empty(ident.name):
            return
        obj = copy_value(entry.obj)
        spec = obj.setdefault("spec", {})
        spec["finalizers"] = [name for name in spec.get("finalizers") or () if name != "kubernetes"]
        if not spec["finalizers"] and not obj["metadata"].get("finalizers"):
            self._store.put(ident, obj, "DELETED")

    def _expire_events(self) -> None:
        """Forget events that nobody has seen again for an hour, now and every few minutes."""
        oldest = time.time() - EVENT_SECONDS
        for ident, entry in self._store.entries(EVENTS):
            seen = entry.obj.get("lastTimestamp") or entry.obj["metadata"]["creationTimestamp"]
            if (parse_time(seen) or 0.0) < oldest:
                self._queue.append((self._collect_event, ident))
        self._schedule()
        asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._expire_events)

    def _collect_event(self, ident: Ident) -> None:
        entry = self._store.get(ident)
        if entry is not None:
            self._delete(ident, entry)

    def _empty_definition(self, ident: Ident) -> None:
        self._delete_all(_key_of(ident), None)
        self._finish_definition(ident)

    def _finish_definition(self, ident: Ident) -> None:
        """Let a custom kind go once its last object is gone."""
        if not self._store.has_objects(_key_of(ident)):
            self._objects.drop_finalizer(ident, CRD_FINALIZER)

    def _delete_all(self, key: Key, namespace: str | None) -> None:
        for ident, entry in self._store.entries(key, namespace):
            if not entry.obj["metadata"].get("deletionTimestamp"):
                self._delete(ident, entry)

    def _delete(self, ident: Ident, entry: Entry) -> None:
        resource = self._objects.registry.stored(ident.key)
        if resource is not None:
            write = Write(resource, ident.namespace, ident.name)
            self._objects.delete(write, DeleteOptions(uid=entry.obj["metadata"]["uid"]))

    def _is_going(self, ident: Ident) -> bool:
        entry = self._store.get(ident)
        return entry is not None and bool(entry.obj["metadata"].get("deletionTimestamp"))

    def _furnish(self, namespace: str) -> None:
        """Give a new namespace what clients expect to find in any."""
        self._create(SERVICE_ACCOUNTS, namespace, "default", {})
        self._create(CONFIG_MAPS, namespace, "kube-root-ca.crt", {"data": {"ca.crt": ""}})

    def _create(self, key: Key, namespace: str, name: str, content: dict[str, object]) -> None:
        resource = self._objects.registry.builtin(key)
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, **content}
        if not self._store.get(Ident(key, namespace, name)):
            self._objects.create(Write(resource, namespace), body)


def _key_of(definition: Ident) -> Key:
    """Return where the objects of a CustomResourceDefinition, named `plural.group`, are stored."""
    plural, _, group = definition.name.partition(".")
    return (group, plural)
