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

from watchbill_local.server.errors import Cause, Undecodable, bad_request, conflict, failed, invalid, invalid_value
from watchbill_local.server.metadata import check_metadata, is_plain_finalizer
from watchbill_local.server.openapi import prune_unknown
from watchbill_local.server.resource import Resource
from watchbill_local.server.store import Ident
from watchbill_local.server.typed_fields import decode_fields
from watchbill_local.server.values import Obj, copy_value, dig, format_json, name_go_type

#: Metadata that clients cannot set: dropped at create, kept as it is at update.
SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_KEPT = (*SERVER_OWNED, "name", "namespace", "generateName", "resourceVersion")
_DROPPED = frozenset({*_KEPT, "selfLink", "managedFields"})
_EMPTIED = ("labels", "annotations", "finalizers", "ownerReferences")
_IMMUTABLE = ("uid", "creationTimestamp", "deletionTimestamp")
_OTHER_NAMESPACE = "the namespace of the provided object does not match the namespace sent on the request"
#: Groups of built-in kinds whose PUT must say which version it replaces.
_VERSIONED = ("coordination.k8s.io", "apiextensions.k8s.io")
_SCHEME = '"pkg/runtime/scheme.go:111"'  # upstream's own words
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
    duplicates: list[str] = field(default_factory=list)  #: members that occur more than once in the body

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
        why = f'no kind "{kind}" is registered for version "{api_version}" in scheme {_SCHEME}'
        if not resource.crd:
            raise Undecodable(str(kind), str(api_version).rpartition("/")[2], why, resource.kind)
        wanted = f"the expected API version ({resource.api_version})"
        raise bad_request(f"the API version in the data ({api_version}) does not match {wanted}")
    metadata = {} if body.get("metadata") is None else body["metadata"]
    if not isinstance(metadata, dict):
        words = f"{name_go_type(metadata)} into Go struct field {resource.kind}.metadata of type v1.ObjectMeta"
        raise Undecodable(resource.kind, resource.version, f"json: cannot unmarshal {words}")
    if kind and kind != resource.kind and resource.crd:
        named = dataclasses.replace(resource, kind=kind)
        raise invalid(named, metadata.get("name", ""), [invalid_value("kind", kind, f"must be {resource.kind}")])
    if kind and kind != resource.kind:
        why = f'no kind "{kind}" is registered for version "{resource.api_version}" in scheme {_SCHEME}'
        raise Undecodable(kind, resource.version, why, resource.kind)
    head = {"apiVersion": resource.api_version, "kind": resource.kind}  # first, see render_list
    return {**head, **body, **head, "metadata": metadata}


def prepare_create(write: Write, obj: Obj, *, uid: str, now: str) -> None:
    """Give a new object the metadata that the server owns and take away what the client may not set."""
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise failed("resourceVersion should not be set on objects to be created")
    if write.resource.namespaced and (metadata.get("namespace") or write.namespace) != write.namespace:
        raise bad_request(_OTHER_NAMESPACE)
    for key in [key for key in _EMPTIED if not metadata.get(key, True)]:
        del metadata[key]
    kept = () if write.resource.has_generation else ("generation",)
    for key in (*SERVER_OWNED, "resourceVersion", "namespace", "selfLink", "managedFields"):
        metadata.pop(key if key not in kept else "", None)
    if write.resource.namespaced:
        metadata["namespace"] = write.namespace
    metadata["uid"], metadata["creationTimestamp"] = uid, now
    if write.resource.has_generation:
        metadata["generation"] = 1
    if write.resource.crd and write.resource.has_status:
        obj.pop("status", None)


def check_name(write: Write, body: Any) -> None:
    """Refuse a body of another name than the path's. Raises a 400."""
    name = dig(body, "metadata", "name")
    if not name:
        why = f"the name of the object ({write.name} based on URL) was undeterminable: name must be provided"
        raise bad_request(why)
    if name != write.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({write.name})")


def check_update(write: Write, old: Obj, new: Obj, *, needs_version: bool) -> None:
    """Refuse an update of another object or of another state than the stored one."""
    resource, metadata, stored = write.resource, new["metadata"], old["metadata"]
    version = metadata.get("resourceVersion")
    if needs_version or metadata.get("name"):
        check_name(write, new)
    if write.namespace and metadata.get("namespace", write.namespace) != write.namespace:
        raise bad_request(_OTHER_NAMESPACE)
    if version and not str(version).isdecimal():
        raise failed(f"strconv.ParseUint: parsing {format_json(version)}: invalid syntax")
    if not version and needs_version and (resource.crd or resource.group in _VERSIONED):
        text = "Invalid value: 0: must be specified for an update"
        named = dataclasses.replace(resource, kind=resource.plural)  # upstream shows the plural here
        raise invalid(named, write.name, [Cause("FieldValueInvalid", "metadata.resourceVersion", text)])
    if version and version != stored["resourceVersion"]:
        raise conflict(resource, write.name)
    if metadata.get("uid", stored["uid"]) != stored["uid"] and needs_version:
        raise conflict(resource, write.name, _build_uid_mismatch(write, metadata["uid"], stored["uid"]))
    fixed = [key for key in _IMMUTABLE if metadata.get(key) and (key == "uid" or not stored.get("deletionTimestamp"))]
    causes = [_immutable(key, metadata[key]) for key in fixed if metadata[key] != stored.get(key)]
    if causes:
        raise invalid(resource, write.name, causes)


def check_preconditions(write: Write, uid: str | None, version: str | None, stored: Obj) -> None:
    """Refuse to delete another object, or another state, than the client meant. Raises a 409."""
    named = dataclasses.replace(write.resource, plural=write.resource.kind)  # upstream shows the kind here
    if uid and uid != stored["uid"]:
        why = f"the UID in the precondition ({uid}) does not match the UID in record ({stored['uid']})"
        raise conflict(named, write.name, f"{why}. The object might have been deleted and then recreated")
    if version and version != stored["resourceVersion"]:
        why = f"the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record"
        raise conflict(named, write.name, f"{why} ({stored['resourceVersion']}). The object might have been modified")


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
    causes: list[Cause] = []
    if resource.schema:
        _report_unknown(write, resource.schema.normalise(obj))
        _warn_of_finalizers(write, obj["metadata"], old)
        causes += resource.schema.check(obj, old)
    else:
        _report_unknown(write, prune_unknown(resource, obj))
    if resource.stored_as:
        obj["apiVersion"], schema = resource.stored_as
        schema.normalise(obj)
    if resource.fill:
        resource.fill(obj, old, now)
    causes += check_metadata(resource, obj["metadata"])
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
    words = [f'unknown field "{path}"' for path in (sorted(unknown) if write.resource.crd else unknown)]
    twice = [f'duplicate field "{path}"' for path in write.duplicates]
    words = twice + words if write.resource.crd else words + twice
    if words and write.field_validation == "Strict":
        raise Undecodable(kind, version, f"strict decoding error: {', '.join(words)}")
    if write.field_validation == "Warn":
        write.warnings.extend(words)


def _warn_of_finalizers(write: Write, metadata: Obj, old: Obj | None) -> None:
    """Warn of new finalizers without a domain on custom objects, which built-in kinds refuse."""
    known = (old or {"metadata": {}})["metadata"].get("finalizers") or ()
    why = "prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers"
    plain = [each for each in metadata.get("finalizers") or () if each not in known and is_plain_finalizer(each)]
    write.warnings.extend(f'metadata.finalizers: "{each}": {why}' for each in plain)


def _immutable(key: str, value: Any) -> Cause:
    return invalid_value(f"metadata.{key}", value, "field is immutable")


def _build_uid_mismatch(write: Write, wanted: str, found: str) -> str:
    """Return what upstream's storage says of another uid."""
    place = "/".join(each for each in ("/registry", write.resource.plural, write.namespace, write.name) if each)
    why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    return f"StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: {why}"


def _check_finalizers(obj: Obj, old: Obj | None) -> list[Cause]:
    """An object that is being deleted takes no further finalizer."""
    if old is None or not old["metadata"].get("deletionTimestamp"):
        return []
    before = old["metadata"].get("finalizers") or ()
    added = [f'"{name}"' for name in obj["metadata"].get("finalizers") or () if name not in before]
    words = "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers"
    text = f"{words} []string{{{', '.join(added)}}}"
    return [Cause("FieldValueForbidden", "metadata.finalizers", text)] if added else []
