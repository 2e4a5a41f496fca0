"""What the broker answers itself, instead of the model's API.

Owns the texts and status codes of refusals, in the API's own form, so that the CLI shows them as it shows the API's.
Invariant: no answer holds a header, a body or a credential. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Refused = Literal["", "budget", "credential", "network", "ledger"]
NO_RETRY = ((b"x-should-retry", b"false"),)
CLOSE = ((b"connection", b"close"),)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: Mapping[str, Any]
    fields: tuple[tuple[bytes, bytes], ...] = ()
    refused: Refused = ""  #: why, for `GET /watchbill/usage`
    text: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", json.dumps(self.body).encode())


def _error(status: int, kind: str, message: str, *, is_final: bool = False, refused: Refused = "") -> Answer:
    body = {"type": "error", "error": {"type": kind, "message": f"watchbill: {message}"}}
    return Answer(status, body, NO_RETRY if is_final else (), refused)


def bad_request(why: str) -> Answer:
    """The request cannot be read in one way only, so that nobody knows where the next one begins: none is read."""
    return replace(_error(400, "invalid_request_error", why), fields=CLOSE)


def unreadable_prompt() -> Answer:
    """What the body costs cannot be told, since the API might read it otherwise than the broker."""
    return _error(400, "invalid_request_error", "the body is not JSON that can be read in one way only")


def prompt_elsewhere() -> Answer:
    """A part of the prompt is not in the request, so that nobody can tell what it costs."""
    message = (
        "this task has a budget, and what pictures and documents cost that the API would fetch by `url` or `file_id` "
        "cannot be counted: send them in the request, as `base64` or `text`"
    )
    return _error(400, "invalid_request_error", message)


def not_here() -> Answer:
    """A path or a method that agents do not need."""
    return _error(404, "not_found_error", "the broker passes on only what Claude Code needs; this path is not among it")


def too_large(limit: int) -> Answer:
    """The body is longer than the broker takes."""
    return _error(413, "request_too_large", f"the request has more than {limit} bytes")


def over_budget(budget: float) -> Answer:
    """The attempt has spent what it may. 403: the CLI does not try again."""
    message = f"the budget of this task (${budget:.2f}) is spent"
    return _error(403, "permission_error", message, is_final=True, refused="budget")


def no_credential(secret: str, problem: str, example: str) -> Answer:
    """There is no usable credential. What mends it comes first: conditions cut long texts."""
    message = (
        f"the Secret {secret} gives no usable credential; "
        f"`kubectl create secret generic {secret} --from-file={example}=/dev/stdin` makes it. At present: {problem}"
    )
    return _error(401, "authentication_error", message, is_final=True, refused="credential")


def credential_refused(secret: str, file: str, words: str) -> Answer:
    """The model's API does not take the credential; `words` are the API's."""
    said = f": {words}" if words else ""
    return _error(401, "authentication_error", f"the model's API refused {file} of the Secret {secret}{said}")


def unreachable(authority: str, why: str) -> Answer:
    """No answer could be had."""
    return _error(502, "api_error", f"no answer from {authority}: {why}", refused="network")


def no_endpoint(provider: str) -> Answer:
    """The provider has no address without a region."""
    message = f"{provider} needs a region: put AWS_REGION or CLOUD_ML_REGION into the Secret, or set baseURL"
    return _error(401, "authentication_error", message, is_final=True, refused="credential")


def cannot_meter(encoding: str) -> Answer:
    """What it costs could not be counted."""
    return _error(
        502, "api_error", f"the answer came in the encoding {encoding!r}, in which its cost cannot be counted"
    )


def ledger_fails(why: str) -> Answer:
    """Spending could not be written down, so that none is allowed."""
    return _error(503, "api_error", f"the ledger cannot be written ({why}): nothing may be spent", refused="ledger")
