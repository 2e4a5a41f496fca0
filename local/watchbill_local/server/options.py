"""What the query of a request may say, whatever its kind: dry runs, ways of validation, versions of lists and watches.

Owns upstream's refusals of such options, in its words. Pure; the meaning of the options is with those who obey them:
admission.py, views.py, watch.py. The options of a deletion, which come in its body too, are in deletion.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from watchbill_local.server.errors import ApiError, Cause, Named, bad_request, failed, invalid, too_long, unsupported

_WRITES = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions"}
_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
_INCLUDED = ("Metadata", "Object", "None", "")
_MATCH = "resourceVersionMatch"
_LONGEST_MANAGER = 128  #: bytes
_COUNTS = ("limit", "timeoutSeconds")


def check_options(method: str, query: Mapping[str, str], media_type: str = "") -> None:
    """Refuse options that a write cannot have; `media_type` is that of a patch. Raises a 422."""
    dry_run, validation = query.get("dryRun") or "All", query.get("fieldValidation", "")
    causes = [] if dry_run == "All" else [unsupported("dryRun", [dry_run], ("All",))]
    if validation not in _VALIDATIONS:
        causes.append(unsupported("fieldValidation", validation, _VALIDATIONS))
    causes += [] if method not in _WRITES else _check_manager(query.get("fieldManager", ""))
    if method == "PATCH" and "force" in query and "apply-patch" not in media_type:
        causes.append(_forbid("force", "may not be specified for non-apply patch"))
    if method in _WRITES and causes:
        raise _refuse(_WRITES[method], causes)


def _check_manager(manager: str) -> list[Cause]:
    """Return what is wrong with the name of who manages fields."""
    is_long = len(manager.encode()) > _LONGEST_MANAGER
    causes = [too_long("fieldManager", _LONGEST_MANAGER)] if is_long else []
    shown = "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in manager)
    for position, sign in ((len(manager[:index].encode()), sign) for index, sign in enumerate(manager)):
        if not sign.isprintable():
            why = f"invalid character U+{ord(sign):04X} (at position {position})"
            causes.append(Cause("FieldValueInvalid", "fieldManager", f'Invalid value: "{shown}": {why}'))
    return causes


def check_included(query: Mapping[str, str]) -> str:
    """Return what of its object a row of a table shows. Raises a 400."""
    included = query.get("includeObject", "")
    if included not in _INCLUDED:
        words = "Unable to convert to Table as requested: includeObject: Invalid value"
        raise bad_request(f"{words}: \"{included}\": must be 'Metadata', 'Object', 'None', or empty")
    return included or "Metadata"


def check_list(query: Mapping[str, str], present: int) -> None:
    """Refuse a list at a version that it cannot be had at; `present` is the store's. Raises 400, 422 or 504."""
    version, match = query.get("resourceVersion") or "", query.get(_MATCH) or ""
    causes = []
    if "sendInitialEvents" in query:
        causes.append(_forbid("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if match and not version:
        causes.append(_forbid(_MATCH, f"{_MATCH} is forbidden unless resourceVersion is provided"))
    if match not in ("", "Exact", "NotOlderThan"):
        causes.append(unsupported(_MATCH, match, ("Exact", "NotOlderThan", "")))
    if match and query.get("continue"):
        causes.append(_forbid(_MATCH, f"{_MATCH} is forbidden when continue is provided"))
    if match == "Exact" and version == "0":
        causes.append(_forbid(_MATCH, f'{_MATCH} "exact" is forbidden for resourceVersion "0"'))
    if causes:
        raise _refuse("ListOptions", causes)
    check_counts(query)
    if version and not version.isdecimal():
        raise bad_request(f"invalid resource version: {_describe_odd(version)}")
    if version not in ("", "0") and query.get("continue"):
        raise bad_request("specifying resource version is not allowed when using continue")
    _refuse_future(version, present)


def is_exact(query: Mapping[str, str]) -> bool:
    """Whether a list is wanted as it was at its version: where that is said, and where pages of it are asked for."""
    is_paged = parse_count(query, "limit") > 0 and not query.get(_MATCH)
    return query.get("resourceVersion", "0") not in ("", "0") and (is_paged or query.get(_MATCH) == "Exact")


def check_counts(query: Mapping[str, str]) -> None:
    """Refuse numbers that are none. Raises a 400."""
    for key in _COUNTS:
        parse_count(query, key)


def parse_count(query: Mapping[str, str], key: str) -> int:
    """Return a whole number of a query, 0 where there is none or a negative one. Raises a 400."""
    text = query.get(key) or "0"
    if re.fullmatch(r"-?\d+", text, re.ASCII) is None:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return max(0, int(text))


def check_watch(query: Mapping[str, str]) -> None:
    """Refuse a watch whose options make no sense together. Raises a 422 or 500."""
    match, causes = query.get(_MATCH) or "", []
    if "sendInitialEvents" not in query and match:
        causes.append(_forbid(_MATCH, f"{_MATCH} is forbidden for watch unless sendInitialEvents is provided"))
    if "sendInitialEvents" in query and match != "NotOlderThan":
        causes.append(_forbid(_MATCH, f"sendInitialEvents requires setting {_MATCH} to NotOlderThan"))
        if match:
            causes.append(unsupported(_MATCH, match, ("NotOlderThan",)))
    if causes:
        raise _refuse("ListOptions", causes)
    check_version(query)


def check_version(query: Mapping[str, str], present: int | None = None) -> None:
    """Refuse a resource version that is none; for a watch and a single object upstream answers 500.

    A version after `present` is a 504 where it is given; a watch waits for it.
    """
    version = query.get("resourceVersion") or "0"
    if not version.isdecimal():
        raise failed(_describe_odd(version))
    if present is not None:
        _refuse_future(version, present)


def _refuse_future(version: str, present: int) -> None:
    if int(version or 0) > present:
        why = "Too large resource version"
        details = {"causes": [{"reason": "ResourceVersionTooLarge", "message": why}], "retryAfterSeconds": 1}
        raise ApiError(504, "Timeout", f"Timeout: {why}: {version}, current: {present}", details)


def _describe_odd(version: str) -> str:
    return f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'


def _forbid(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", field, f"Forbidden: {why}")


def _refuse(kind: str, causes: list[Cause]) -> ApiError:
    return invalid(Named(group="meta.k8s.io", version="v1", plural="", kind=kind), "", causes)
