"""A Task that a model wants to have made: its arguments, read into a spec.

Owns the schema of submit_task's arguments and their translation. Invariant: the spec has what was given and nothing
else, in the API's names; context that it names is there; Tasks that it names are known to the attempt; and the message
that carries it is one that the operator reads, so that it is answered. What the operator does not like about it
(a priority above its parent's, a type that nobody does), the operator says. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from watchbill_agent.claude.arguments import Arguments, ToolError
from watchbill_agent.claude.reading_tools import MAX_NAME, find_name
from watchbill_agent.claude.shared_reading import exists, parse_path
from watchbill_coordination.codec.messages import MAX_OUTBOX_BYTES, Header, MalformedError, decode_file, encode_file
from watchbill_coordination.core.messages import ChildSubmitted
from watchbill_coordination.core.specs import TYPES_BY_ROLE, ReplicaName

MAX_PROMPT = 200_000  #: characters, as the API server has it
MAX_WORD = 63  #: characters of a type or role
MAX_ITEMS = 64  #: of context, and of dependsOn
MAX_CONTEXT_PATH = 512  #: characters
MAX_TIMEOUT = 604_800  #: seconds
HEADER_BYTES = 4096  #: more than the header of an outbox file has

_TYPES = ", ".join(kind for kinds in TYPES_BY_ROLE.values() for kind in kinds)

TASK_PROPERTIES: Mapping[str, Any] = {
    "name": {"type": "string", "description": "A short name, such as write-tests; the Task's name begins with it."},
    "prompt": {
        "type": "string",
        "description": "The work, whole: the other agent knows nothing of this conversation and sees none of your "
        f"files but those in context. At most {MAX_PROMPT:,} characters.",
    },
    "type": {
        "type": "string",
        "description": f"Kind of work, which decides who does it: {_TYPES}, or one that your project has. Without type "
        "and role: as your own Task.",
    },
    "role": {"type": "string", "description": "Who does it, instead of type: blue, green, red or another role."},
    "priority": {
        "type": "integer",
        "minimum": 0,
        "maximum": 1000,
        "description": "Higher goes first; not above that of your own Task, which is the default.",
    },
    "timeoutSeconds": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_TIMEOUT,
        "description": "How long it may run. Default 3600.",
    },
    "context": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Files or folders below shared-context that it is to read.",
    },
    "dependsOn": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Tasks that have to succeed first: others that you submitted, or your own dependencies.",
    },
    "outputSchema": {"type": "object", "description": "JSON schema that its result has to meet. Default: any text."},
}


def build_spec(arguments: Arguments, context: Path, known: tuple[str, ...]) -> Mapping[str, Any]:
    """Return the spec of the Task, which may depend on the Tasks in `known`.

    Looks into shared-context, so it may take its time. Raises ToolError.
    """
    spec: dict[str, Any] = {
        "prompt": arguments.text("prompt", MAX_PROMPT),
        "type": arguments.text("type", MAX_WORD, default=""),
        "role": arguments.text("role", MAX_WORD, default=""),
        "priority": arguments.whole("priority", 0, 1000),
        "timeoutSeconds": arguments.whole("timeoutSeconds", 1, MAX_TIMEOUT),
        "context": find_context(arguments.texts("context", MAX_ITEMS, MAX_CONTEXT_PATH), context),
        "dependsOn": find_dependencies(arguments.texts("dependsOn", MAX_ITEMS, MAX_NAME), known),
        "outputSchema": arguments.mapping("outputSchema"),
    }
    return {name: value for name, value in spec.items() if value not in (None, "", [], {})}


def find_context(paths: tuple[str, ...], root: Path) -> list[str]:
    """Return the paths as steps below shared-context. Raises ToolError for one that is not there."""
    found = []
    for path in paths:
        parts = parse_path(root, path)
        if not parts or not exists(root, parts):
            raise ToolError(f"context names {path!r}, but there is none below shared-context: see read_context.")
        found.append("/".join(parts))
    return list(dict.fromkeys(found))


def find_dependencies(names: tuple[str, ...], known: tuple[str, ...]) -> list[str]:
    """Return the full names. Raises ToolError for one that this attempt may not name."""
    found = []
    for name in names:
        meant = find_name(name, known)
        if meant is None:
            can = f"can name: {', '.join(known)}" if known else "has nothing to name yet: submit that Task first"
            raise ToolError(f"dependsOn names {name!r}, which is no Task of yours. It {can}.")
        found.append(meant)
    return list(dict.fromkeys(found))


def require_sendable(submission: ChildSubmitted) -> None:
    """Raise ToolError for one that the operator would not read, and so never answer."""
    try:
        name, data = encode_file(Header(number=1, agent=ReplicaName("any")), [submission])
        if len(data) > MAX_OUTBOX_BYTES - HEADER_BYTES:
            raise ToolError(f"The Task has {len(data):,} bytes, which is too much. Shorten the prompt.")
        decode_file(name, data, from_operator=False)
    except MalformedError as error:
        raise ToolError(f"The Task cannot be sent ({error}). Make outputSchema simpler.") from None
    except (ValueError, RecursionError):
        raise ToolError("The Task cannot be sent: outputSchema is not JSON. Make it simpler.") from None
