"""What an object must be before it is stored: type, metadata, schema, and what a client may change.

Owns the rules that hold for all kinds; those of one kind are in its Resource (`fill`, `check`, `schema`). Pure: takes
the stored state, the wanted state and `now`, and changes only the wanted one, which is the caller's own copy.

Invariant: whatever passes `admit` can be stored. Every refusal is an ApiError with the code, reason and words of
the real server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from watchbill_local.server.errors import ApiError, Cause, bad_request, build_details, conflict, invalid
from watchbill_local.server.metadata import check_metadata
from watchbill_local.server.resource import Resource
from watchbill_local.server.store import Ident
from watchbill_local.server.typed_fields import decode_fields
from watchbill_local.server.values import Obj, copy_value

#: Metadata that clients cannot set: dropped at create, kept as it is at update.
SERVER_OWNED = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "generation",
    "managedFields",
)
_IDENTITY = ("name", "namespace", "generateName", "resourceVersion")
_EMPTIED = ("labels", "annotations", "finalizers", "ownerReferences")
_NOT_A_CHANGE = frozenset({"resourceVersion", "generation", "managedFields"})
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
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({resource.api_version})"
        )
    if kind and kind != resource.kind:
        raise bad_request(f'no kind "{kind}" is registered for version "{api_version}"')
    body["apiVersion"], body["kind"] = resource.api_version, resource.kind
    if body.get("metadata") is None:
        body["metadata"] = {}
    if not isinstance(body["metadata"], dict):
        raise bad_request(f"{resource.kind} cannot be handled: metadata must be an object")
    return body


def prepare_create(write: Write, obj: Obj, *, uid: str, now: str) -> None:
    """Give a new object the metadata that the server owns and take away what the client may not set."""
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    for key in (*SERVER_OWNED, "resourceVersion"):
        metadata.pop(key, None)
    if write.resource.namespaced:
        if (metadata.get("namespace") or write.namespace) != write.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        metadata["namespace"] = write.namespace
    else:
        metadata.pop("namespace", None)
    metadata["uid"], metadata["creationTimestamp"] = uid, now
    if write.resource.has_generation:
        metadata["generation"] = 1
    if write.resource.crd and write.resource.has_status:
        obj.pop("status", None)


def check_update(write: Write, old: Obj, new: Obj, *, needs_version: bool) -> None:
    """Refuse an update of another object or of another state than the stored one."""
    resource, metadata, stored = write.resource, new["metadata"], old["metadata"]
    if (metadata.get("name") or write.name) != write.name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({write.name})"
        )
    if resource.namespaced and (metadata.get("namespace") or write.namespace) != write.namespace:
        raise bad_request(
            f"the namespace of the object ({metadata['namespace']}) does not match the namespace on the URL "
            f"({write.namespace})"
        )
    version = metadata.get("resourceVersion")
    if not version and needs_version and (resource.crd or resource.group == "coordination.k8s.io"):
        raise _missing_version(write)
    if version and version != stored["resourceVersion"]:
        raise conflict(resource, write.name)
    if metadata.get("uid") and metadata["uid"] != stored["uid"]:
        raise conflict(
            resource,
            write.name,
            f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {stored['uid']}",
        )


def combine(write: Write, old: Obj, new: Obj) -> Obj:
    """Return what an update makes of the stored object: the parts that this path may write, the rest as stored."""
    stored = old["metadata"]
    if write.subresource == "status":
        taken = () if write.resource.crd else _STATUS_METADATA
        kept = {key: value for key, value in stored.items() if key not in taken}
        wanted = {key: new["metadata"][key] for key in taken if key in new["metadata"]}
        new = {**old, "metadata": {**kept, **wanted}, "status": new.get("status")}
        if new["status"] is None:
            del new["status"]
    elif write.resource.has_status:
        new = {key: value for key, value in new.items() if key != "status"}
        if "status" in old:
            new["status"] = old["status"]
    combined = copy_value(new)
    metadata = combined["metadata"]
    for key in (*SERVER_OWNED, *_IDENTITY):
        if key in stored:
            metadata[key] = stored[key]
        else:
            metadata.pop(key, None)
    for key in _EMPTIED:
        if key in metadata and not metadata[key]:
            del metadata[key]
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


def is_same(old: Obj, new: Obj) -> bool:
    """Whether an update changes nothing; such an update must not raise the resource version."""
    if old.keys() != new.keys():
        return False
    for key, value in old.items():
        if key == "metadata":
            if _essence(value) != _essence(new[key]):
                return False
        elif value != new[key]:
            return False
    return True


def raises_generation(resource: Resource, old: Obj, new: Obj) -> bool:
    """Whether an update changes what the user wants: anything but metadata and a status that is written apart."""
    apart = {"metadata", "status"} if resource.has_status else {"metadata"}
    return {k: v for k, v in old.items() if k not in apart} != {k: v for k, v in new.items() if k not in apart}


def _report_unknown(write: Write, unknown: list[str]) -> None:
    """Refuse, warn about or ignore pruned fields, as the client asked for."""
    kind, version = write.resource.kind, write.resource.version
    words = [f'unknown field "{path}"' for path in sorted(unknown)]
    if words and write.field_validation == "Strict":
        raise bad_request(
            f'{kind} in version "{version}" cannot be handled as a {kind}: strict decoding error: {", ".join(words)}'
        )
    if write.field_validation == "Warn":
        write.warnings.extend(words)


def _check_finalizers(obj: Obj, old: Obj | None) -> list[Cause]:
    """An object that is being deleted takes no further finalizer."""
    if old is None or not old["metadata"].get("deletionTimestamp"):
        return []
    before = old["metadata"].get("finalizers") or ()
    added = [name for name in obj["metadata"].get("finalizers") or () if name not in before]
    if not added:
        return []
    shown = ", ".join(f'"{name}"' for name in added)
    text = (
        "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
        f"[]string{{{shown}}}"
    )
    return [Cause("FieldValueForbidden", "metadata.finalizers", text)]


def _missing_version(write: Write) -> ApiError:
    resource = write.resource
    text = "Invalid value: 0: must be specified for an update"
    details = build_details(resource, write.name)
    details["causes"] = [{"reason": "FieldValueInvalid", "message": text, "field": "metadata.resourceVersion"}]
    message = f'{resource.qualified} "{write.name}" is invalid: metadata.resourceVersion: {text}'
    return ApiError(422, "Invalid", message, details)


def _essence(metadata: Obj) -> Obj:
    return {key: value for key, value in metadata.items() if key not in _NOT_A_CHANGE}
