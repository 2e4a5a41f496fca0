"""What an object must be before it is stored: type, metadata, schema, and what a client may change.

Owns the rules that hold for all kinds; those of one kind are in its Resource (`fill`, `check`, `schema`). Pure: takes
the stored state, the wanted state and `now`, and changes only the wanted one, which is the caller's own copy.

Invariant: whatever passes `admit` can be stored. Every refusal is an ApiError with the code, reason and words of
the real server.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from watchbill_local.server.errors import Cause, bad_request, conflict, invalid
from watchbill_local.server.metadata import check_metadata
from watchbill_local.server.resource import Resource
from watchbill_local.server.store import Ident
from watchbill_local.server.typed_fields import decode_fields
from watchbill_local.server.values import Obj, copy_value

#: Metadata that clients cannot set: dropped at create, kept as it is at update.
SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_KEPT = (*SERVER_OWNED, "name", "namespace", "generateName", "resourceVersion")
_DROPPED = frozenset({*_KEPT, "selfLink", "managedFields"})
_EMPTIED = ("labels", "annotations", "finalizers", "ownerReferences")
_STATUS_METADATA = ("labels", "annotations", "finalizers")


@dataclass(slots=True)
class Write:
    """Which object a request writes, and how."""

    resource: Resource
    namespace: str  #: empty for cluster-wide kinds
    name: str = ""  #: empty at create
    subresource: str = ""
    dry_run: bool = False
    field_validation: str = "Warn"  #: what to do with unknown fields: Strict, Warn or Ignore
    warnings: list[str] = field(default_factory=list)  #: sent with the answer

    @property
    def ident(self) -> Ident:
        """Where the object is stored."""
        return Ident(self.resource.key, self.namespace, self.name)


def check_type(resource: Resource, body: Any) -> Obj:
    """Return the body of a write as an object of the kind, with `metadata`. Raises a 400 for anything else."""
    if not isinstance(body, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {resource.kind}): not a JSON object")
    api_version, kind = body.get("apiVersion"), body.get("kind")
    if resource.crd and not (api_version and kind):
        missing = "apiVersion" if kind else "Kind"
        raise bad_request(f"Object '{missing}' is missing in the request body")
    if api_version and api_version != resource.api_version:
        wanted = f"the expected API version ({resource.api_version})"
        raise bad_request(f"the API version in the data ({api_version}) does not match {wanted}")
    if kind and kind != resource.kind:
        raise bad_request(f'no kind "{kind}" is registered for version "{api_version}"')
    metadata = {} if body.get("metadata") is None else body["metadata"]
    if not isinstance(metadata, dict):
        raise bad_request(f"{resource.kind} cannot be handled: metadata must be an object")
    return {**body, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


def prepare_create(write: Write, obj: Obj, *, uid: str, now: str) -> None:
    """Give a new object the metadata that the server owns and take away what the client may not set."""
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    if write.resource.namespaced and (metadata.get("namespace") or write.namespace) != write.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    for key in (*SERVER_OWNED, "resourceVersion", "namespace", "selfLink", "managedFields"):
        metadata.pop(key, None)
    if write.resource.namespaced:
        metadata["namespace"] = write.namespace
    metadata["uid"], metadata["creationTimestamp"] = uid, now
    if write.resource.has_generation:
        metadata["generation"] = 1
    if write.resource.crd and write.resource.has_status:
        obj.pop("status", None)


def check_update(write: Write, old: Obj, new: Obj, *, needs_version: bool) -> None:
    """Refuse an update of another object or of another state than the stored one."""
    resource, metadata, stored = write.resource, new["metadata"], old["metadata"]
    for key, on_url in (("name", write.name), ("namespace", write.namespace)):
        if metadata.get(key) and on_url and metadata[key] != on_url:
            shown = f"the {key} of the object ({metadata[key]}) does not match the {key} on the URL ({on_url})"
            raise bad_request(shown)
    version = metadata.get("resourceVersion")
    if not version and needs_version and (resource.crd or resource.group == "coordination.k8s.io"):
        text = "Invalid value: 0: must be specified for an update"
        named = dataclasses.replace(resource, kind=resource.plural)  # upstream shows the plural here
        raise invalid(named, write.name, [Cause("FieldValueInvalid", "metadata.resourceVersion", text)])
    if version and version != stored["resourceVersion"]:
        raise conflict(resource, write.name)
    check_precondition(write, "UID", metadata.get("uid"), stored["uid"])


def check_precondition(write: Write, what: str, wanted: Any, found: str) -> None:
    """Refuse to write another object, or another state, than the client meant. Raises a 409."""
    if wanted and wanted != found:
        why = f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
        raise conflict(write.resource, write.name, why)


def combine(write: Write, old: Obj, new: Obj) -> Obj:
    """Return what an update makes of the stored object: the parts that this path may write, the rest as stored."""
    stored = old["metadata"]
    if write.subresource == "status":
        taken = () if write.resource.crd else _STATUS_METADATA
        kept = {key: value for key, value in stored.items() if key not in taken}
        wanted = {key: new["metadata"][key] for key in taken if key in new["metadata"]}
        new = {**old, "metadata": {**kept, **wanted}, "status": new.get("status")}
    elif write.resource.has_status:
        new = {**new, "status": old.get("status")}
    combined = copy_value(new)
    if combined.get("status", {}) is None:
        del combined["status"]
    sent = {key: value for key, value in combined["metadata"].items() if key not in _DROPPED}
    kept = {key: value for key, value in stored.items() if key in _KEPT}
    combined["metadata"] = {key: value for key, value in sent.items() if value or key not in _EMPTIED} | kept
    return combined


def admit(write: Write, obj: Obj, old: Obj | None, now: str) -> None:
    """Prune, fill in defaults and validate `obj` in place. Raises a 400 or 422."""
    resource = write.resource
    decode_fields(resource, obj)
    causes = check_metadata(resource, obj["metadata"])
    if resource.schema:
        _report_unknown(write, resource.schema.normalise(obj))
        causes += resource.schema.check(obj, old)
    if resource.fill:
        resource.fill(obj, old, now)
    if resource.check and write.subresource != "status":
        causes += resource.check(obj, old)
    causes += _check_finalizers(obj, old)
    if causes:
        raise invalid(resource, obj["metadata"].get("name", ""), causes)


def raises_generation(resource: Resource, old: Obj, new: Obj) -> bool:
    """Whether an update changes what the user wants: anything but metadata and a status that is written apart."""
    apart = {"metadata", "status"} if resource.has_status else {"metadata"}
    return any(old.get(key) != new.get(key) for key in (old.keys() | new.keys()) - apart)


def _report_unknown(write: Write, unknown: list[str]) -> None:
    """Refuse, warn about or ignore pruned fields, as the client asked for."""
    kind, version = write.resource.kind, write.resource.version
    words = [f'unknown field "{path}"' for path in sorted(unknown)]
    if words and write.field_validation == "Strict":
        wrong = f"strict decoding error: {', '.join(words)}"
        raise bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {wrong}')
    if write.field_validation == "Warn":
        write.warnings.extend(words)


def _check_finalizers(obj: Obj, old: Obj | None) -> list[Cause]:
    """An object that is being deleted takes no further finalizer."""
    if old is None or not old["metadata"].get("deletionTimestamp"):
        return []
    before = old["metadata"].get("finalizers") or ()
    added = [f'"{name}"' for name in obj["metadata"].get("finalizers") or () if name not in before]
    words = "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers"
    text = f"{words} []string{{{', '.join(added)}}}"
    return [Cause("FieldValueForbidden", "metadata.finalizers", text)] if added else []
