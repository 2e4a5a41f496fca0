"""Create, update and delete: the one way by which any object changes.

Owns the life of an object from its first state to its last: names, uids, generations, deletion with finalizers and
with a pod's grace period. The rules are in admission.py and in the Resources; here they meet the store.

Invariant: an object with a deletion timestamp goes as soon as it has neither finalizers nor grace left, whoever took
the last of them; and a no-op update leaves the resource version as it is.

Never talks HTTP and never follows owner references; that is for api.py and garbage.py.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from typing import Any

from watchbill_local.server import admission
from watchbill_local.server.admission import Write
from watchbill_local.server.crds import CRD_FINALIZER
from watchbill_local.server.deletion import DeleteOptions, decide_finalizers, decide_grace, set_or_drop
from watchbill_local.server.errors import already_exists, forbidden, not_found
from watchbill_local.server.pod_rules import decide_pod_refusal, warn_of_pod
from watchbill_local.server.registry import DEFINITIONS, NAMESPACES, PODS, SERVICE_ACCOUNTS, Registry
from watchbill_local.server.store import Entry, Ident, Store
from watchbill_local.server.times import format_time, now_iso
from watchbill_local.server.values import Obj, copy_value, dig
from watchbill_local.server.views import show_object

#: Kinds whose objects go only after all that they hold.
_EMPTIED = (NAMESPACES, DEFINITIONS)
KEPT_NAMESPACES = ("default", "kube-system", "kube-public")

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH, _LONGEST_BASE = 5, 58


class Objects:
    """Writes to the store. All methods raise ApiError for a refusal and OSError when the journal fails."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store = store
        self.registry = registry

    def get(self, write: Write) -> Entry:
        """Return the present state, or raise a 404."""
        entry = self.store.get(write.ident)
        if entry is None:
            raise not_found(write.resource, write.name)
        return entry

    def create(self, write: Write, body: Any) -> Entry:
        """Store a new object; `write.name` is set to the name that it got."""
        resource, obj = write.resource, admission.check_type(write.resource, body)
        self._check_namespace(write, obj)
        write.name = self._choose_name(write, obj["metadata"])
        now = now_iso()
        admission.prepare_create(write, obj, uid=str(uuid.uuid4()), now=now)
        admission.admit(write, obj, None, now)
        self._check_pod(write, obj)
        if present := self.store.get(write.ident):
            raise already_exists(resource, write.name, is_going="deletionTimestamp" in present.obj["metadata"])
        return Entry(obj, self.store.version) if write.dry_run else self.store.put(write.ident, obj)

    def update(self, write: Write, new: Any, *, needs_version: bool = False) -> Entry:
        """Replace the stored object by `new` as far as this path may write it; `new` itself is left as it is.

        `needs_version`: a PUT must say which state it replaces, where the kind asks for it.
        """
        resource, wanted = write.resource, admission.check_type(write.resource, new)
        if needs_version:
            admission.check_name(write, wanted)
        entry = self.get(write)
        old = show_object(resource, entry)
        admission.check_update(write, old, wanted, needs_version=needs_version)
        wanted = admission.combine(write, old, wanted)
        admission.admit(write, wanted, old, now_iso())
        if wanted == entry.obj:
            return entry
        is_wish = resource.has_generation and write.subresource != "status"
        if is_wish and admission.raises_generation(resource, entry.obj, wanted):
            wanted["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        return Entry(wanted, entry.version) if write.dry_run else self._settle(write.ident, wanted)

    def delete(self, write: Write, options: DeleteOptions) -> tuple[Entry, bool]:
        """Delete an object, or begin to. Return its last or present state, and whether it is gone."""
        entry = self.get(write)
        metadata = entry.obj["metadata"]
        admission.check_preconditions(write, options.uid, options.version, metadata)
        if write.resource.key == NAMESPACES and write.name in KEPT_NAMESPACES:
            raise forbidden(write.resource, write.name, "this namespace may not be deleted")
        write.dry_run |= options.dry_run
        grace = decide_grace(write.resource, entry.obj, options.grace_seconds)
        policy = None if write.resource.key == DEFINITIONS else options.policy
        finalizers = decide_finalizers(metadata.get("finalizers") or (), policy)
        if grace or finalizers or write.resource.key in _EMPTIED:
            return self._mark(write, entry, grace, finalizers), False
        return entry if write.dry_run else self._remove(write.ident, entry), True

    def amend(self, ident: Ident, change: Callable[[Obj], None]) -> None:
        """Apply `change` to the metadata of an object, if it is there; that may be the end of it."""
        entry = self.store.get(ident)
        obj = copy_value(entry.obj) if entry else {"metadata": {}}
        change(obj["metadata"])
        if entry and obj != entry.obj:
            self._settle(ident, obj)

    def _settle(self, ident: Ident, obj: Obj) -> Entry:
        """Store an update that is already decided, unless it was the last thing a deletion waited for.

        Then watchers see the last stored state go, and the caller what it wrote.
        """
        metadata, entry = obj["metadata"], self.store.get(ident)
        is_waiting = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
        if entry is None or not metadata.get("deletionTimestamp") or is_waiting or ident.key == NAMESPACES:
            return self.store.put(ident, obj)
        self.store.put(ident, copy_value(entry.obj), is_deleted=True)
        return Entry(obj, entry.version)

    def _mark(self, write: Write, entry: Entry, grace: int, finalizers: list[str]) -> Entry:
        """Set the deletion timestamp; who holds a finalizer, or the pod's node, does the rest."""
        obj = copy_value(entry.obj)
        metadata = obj["metadata"]
        is_same = finalizers == (metadata.get("finalizers") or [])
        set_or_drop(metadata, "finalizers", finalizers)
        first = not metadata.get("deletionTimestamp")
        if not first and is_same and grace and grace >= (metadata.get("deletionGracePeriodSeconds") or 0):
            return entry
        if first or write.resource.key == PODS:
            metadata["deletionTimestamp"] = format_time(time.time() + grace)
        if first and write.resource.has_generation and write.resource.key != DEFINITIONS:
            metadata["generation"] = metadata.get("generation", 1) + 1
        if first and write.resource.key == DEFINITIONS:
            metadata["finalizers"] = [*metadata.get("finalizers", ()), CRD_FINALIZER]
        if write.resource.key == NAMESPACES:
            obj.setdefault("status", {})["phase"] = "Terminating"
        if write.resource.key not in _EMPTIED:
            metadata["deletionGracePeriodSeconds"] = grace
        if write.dry_run or obj == entry.obj:
            return Entry(obj, entry.version)
        return self.store.put(write.ident, obj)

    def _remove(self, ident: Ident, entry: Entry) -> Entry:
        """Take an object away. Watchers of pods see the deletion timestamp before the end, as upstream."""
        obj = copy_value(entry.obj)
        if ident.key == PODS:
            first = not obj["metadata"].get("deletionTimestamp")
            is_told = first or obj["metadata"].get("deletionGracePeriodSeconds")
            obj["metadata"] = {"deletionTimestamp": now_iso(), **obj["metadata"], "deletionGracePeriodSeconds": 0}
            if first:
                obj["metadata"]["generation"] = obj["metadata"].get("generation", 1) + 1
            if is_told:
                obj = copy_value(self.store.put(ident, obj).obj)
        return self.store.put(ident, obj, is_deleted=True)

    def _check_namespace(self, write: Write, obj: Obj) -> None:
        """Refuse a new object where its namespace is absent or on its way out."""
        if not write.resource.namespaced:
            return
        name = write.namespace
        namespace = self.store.get(Ident(NAMESPACES, "", name))
        if namespace is None:
            raise not_found(self.registry.builtin(NAMESPACES), name)
        if namespace.obj["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {name} because it is being terminated"
            refusal = forbidden(write.resource, obj["metadata"].get("name", ""), why)
            cause = {"reason": "NamespaceTerminating", "message": f"namespace {name} is being terminated"}
            refusal.details = {**(refusal.details or {}), "causes": [{**cause, "field": "metadata.namespace"}]}
            raise refusal

    def _check_pod(self, write: Write, obj: Obj) -> None:
        """Refuse a pod of a service account that is not there, or of a priority of its own; warn of an odd name."""
        if write.resource.key != PODS:
            return
        if why := decide_pod_refusal(obj["spec"]):
            raise forbidden(write.resource, write.name, why)
        write.warnings.extend(warn_of_pod(write.name))
        account = dig(obj, "spec", "serviceAccountName", default="default")
        key = Ident(SERVICE_ACCOUNTS, write.namespace, account)
        if account != "default" and self.store.get(key) is None:
            why = f'error looking up service account {write.namespace}/{account}: serviceaccount "{account}" not found'
            raise forbidden(write.resource, write.name, why)

    def _choose_name(self, write: Write, metadata: Obj) -> str:
        """Return the name of a new object, a free one made from `generateName` where none is given; else nothing."""
        base = metadata.get("generateName") or ""
        while not metadata.get("name") and base and isinstance(base, str):
            suffix = "".join(random.choices(_SUFFIX_LETTERS, k=_SUFFIX_LENGTH))  # noqa: S311 - a name, not a secret
            if not self.store.get(Ident(write.resource.key, write.namespace, base[:_LONGEST_BASE] + suffix)):
                metadata["name"] = base[:_LONGEST_BASE] + suffix
        return str(metadata.get("name") or "")
