"""Tools that ask the operator: locks, Tasks of the attempt's own making, progress.

Owns acquire_lock, release_lock, submit_task and report_progress. Invariant: whatever a model passes, what is sent keeps
the limits of the mailbox, so that it is answered; what the operator grants or denies is told as it is, and an answer
that does not come is told with what is safe to do then. None of them waits for another Task.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from watchbill_agent.claude.arguments import Arguments, ToolError
from watchbill_agent.claude.reading_tools import MAX_NAME, find_name
from watchbill_agent.claude.shared_reading import exists, parse_path
from watchbill_agent.claude.toolbox import Tool
from watchbill_agent.exchange import AttemptStopped, Build, NoAnswer, TooManyRequests
from watchbill_agent.runners import Order
from watchbill_coordination.core.messages import Answer, ChildSubmitted, LockReleased, LockRequested, Progress
from watchbill_coordination.core.requests import MAX_CHILDREN, MAX_LOCK_NAME, MAX_PROGRESS_TEXT, clean_line
from watchbill_coordination.core.specs import TYPES_BY_ROLE

MAX_PROMPT = 200_000  #: characters, as the API server has it
MAX_SPEC_BYTES = 900_000  #: of a submitted Task: it has to fit into one file of the mailbox
MAX_WISH = 100  #: characters of the name that a model wishes
MAX_WORD = 63  #: characters of a type or role
MAX_CONTEXT, MAX_CONTEXT_PATH = 64, 512
MAX_TIMEOUT = 604_800  #: seconds
EXCLUSIVE, SHARED = "exclusive", "shared"

_TYPES = ", ".join(kind for kinds in TYPES_BY_ROLE.values() for kind in kinds)


class AskingTools:
    """The asking tools of one attempt."""

    def __init__(self, order: Order) -> None:
        self._order = order
        assign = order.assign
        self._sender: dict[str, Any] = {
            "incarnation": assign.incarnation,
            "task": assign.task,
            "attempt": assign.attempt,
        }

    def tools(self) -> tuple[Tool, ...]:
        """Return them."""
        lock = {"type": "string", "description": "Name of the resource, such as repo:src/auth."}
        return (
            Tool(
                name="acquire_lock",
                description="Ask for a lock on a named resource that other Tasks use too. Answers at once: you hold it "
                "until you release it or this attempt ends, or you are told who holds it. Never waits.",
                properties={
                    "name": lock,
                    "mode": {
                        "type": "string",
                        "enum": [EXCLUSIVE, SHARED],
                        "description": "exclusive (default): nobody else has it. shared: together with other readers.",
                    },
                },
                required=("name",),
                work=self.acquire_lock,
            ),
            Tool(
                name="release_lock",
                description="Give back a lock that you got with acquire_lock, as soon as you no longer need it.",
                properties={"name": lock},
                required=("name",),
                work=self.release_lock,
            ),
            Tool(
                name="submit_task",
                description="Create a Task that another agent does. It runs on its own: this does not wait for it. "
                f"At most {MAX_CHILDREN} in one attempt. The answer has the name for task_result.",
                properties=TASK_PROPERTIES,
                required=("name", "prompt"),
                work=self.submit_task,
            ),
            Tool(
                name="report_progress",
                description="Tell the people who watch this Task how far it is, in one short sentence, at most every "
                "few seconds.",
                properties={
                    "text": {"type": "string", "description": f"At most {MAX_PROGRESS_TEXT} characters."},
                    "percent": {"type": "integer", "minimum": 0, "maximum": 100, "description": "How much is done."},
                },
                required=("text",),
                work=self.report_progress,
            ),
        )

    async def acquire_lock(self, arguments: Arguments) -> str:
        """Ask for a lock."""
        name = arguments.text("name", MAX_LOCK_NAME)
        mode = arguments.choice("mode", (EXCLUSIVE, SHARED), EXCLUSIVE)
        answer = await self._ask(
            lambda number: LockRequested(**self._sender, request=number, name=name, shared=mode == SHARED),
            f"It is not known whether you hold the lock {name}: leave alone what it protects, and ask for it again, "
            "which is safe.",
        )
        if not answer.granted:
            raise ToolError(f"You do not have the lock {name}. {answer.text}".rstrip())
        token = f", fencing token {answer.token}" if answer.token else ""
        return f"You hold the lock {name} ({mode}{token}) until you release it or this attempt ends."

    async def release_lock(self, arguments: Arguments) -> str:
        """Give a lock back."""
        name = arguments.text("name", MAX_LOCK_NAME)
        answer = await self._ask(
            lambda number: LockReleased(**self._sender, request=number, name=name),
            f"Hold the lock {name} for given back: leave alone what it protects. You may call this again.",
        )
        if not answer.granted:
            raise ToolError(answer.text or f"The lock {name} was not given back.")
        return f"You gave back the lock {name}."

    async def submit_task(self, arguments: Arguments) -> str:
        """Create a Task."""
        wish = arguments.text("name", MAX_WISH)
        spec = await asyncio.to_thread(self._build_spec, arguments)
        answer = await self._ask(
            lambda number: ChildSubmitted(**self._sender, request=number, name=wish, spec=spec),
            "It is not known whether the Task was created. Call this again with exactly the same arguments: it is not "
            "created twice then.",
        )
        if not answer.granted:
            raise ToolError(f"The Task was not created. {answer.text}".rstrip())
        return (
            f"The Task {answer.name} was created and runs on its own. Ask for its result with task_result, name "
            f"{answer.name}, when you have done other work."
        )

    async def report_progress(self, arguments: Arguments) -> str:
        """Tell how far it is."""
        text = clean_line(arguments.text("text", MAX_PROMPT), MAX_PROGRESS_TEXT)
        percent = arguments.whole("percent", 0, 100)
        self._order.exchange.tell(Progress(**self._sender, text=text, percent=percent))
        return "Noted."

    async def _ask(self, build: Build, when_unknown: str) -> Answer:
        """Ask and return the answer; `when_unknown` says what to do when none comes. Raises ToolError."""
        try:
            return await self._order.exchange.ask(build)
        except NoAnswer:
            why = "The operator has not answered; it may be starting again."
            raise ToolError(f"{why} {when_unknown}") from None
        except AttemptStopped:
            raise ToolError("This attempt is being stopped, so nothing is granted any more. End your answer.") from None
        except TooManyRequests as error:
            raise ToolError(f"{error}, and it has. Go on without this tool.".capitalize()) from None

    def _build_spec(self, arguments: Arguments) -> Mapping[str, Any]:
        """Return the spec of the Task, with what was given and nothing else. Raises ToolError."""
        spec: dict[str, Any] = {
            "prompt": arguments.text("prompt", MAX_PROMPT),
            "type": arguments.text("type", MAX_WORD, default=""),
            "role": arguments.text("role", MAX_WORD, default=""),
            "priority": arguments.whole("priority", 0, 1000),
            "timeoutSeconds": arguments.whole("timeoutSeconds", 1, MAX_TIMEOUT),
            "context": list(self._find_context(arguments.texts("context", MAX_CONTEXT, MAX_CONTEXT_PATH))),
            "dependsOn": list(self._find_dependencies(arguments.texts("dependsOn", 1000, MAX_NAME))),
            "outputSchema": arguments.mapping("outputSchema"),
        }
        spec = {name: value for name, value in spec.items() if value not in (None, "", [], {})}
        try:
            size = len(json.dumps(spec, ensure_ascii=False).encode(errors="replace"))
        except RecursionError:
            raise ToolError("outputSchema has too many levels.") from None
        if size > MAX_SPEC_BYTES:
            raise ToolError(f"The Task has {size:,} bytes: at most {MAX_SPEC_BYTES:,} can be sent. Shorten the prompt.")
        return spec

    def _find_context(self, paths: tuple[str, ...]) -> tuple[str, ...]:
        """Return the paths as steps below shared-context. Raises ToolError for one that is not there."""
        root = self._order.context
        found = [parse_path(root, path) for path in paths]
        for path, parts in zip(paths, found, strict=True):
            if not parts or not exists(root, parts):
                raise ToolError(f"context names {path!r}, but there is none below shared-context: see read_context.")
        return tuple(dict.fromkeys("/".join(parts) for parts in found))

    def _find_dependencies(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the full names. Raises ToolError for one that this attempt may not name."""
        known = (*self._order.assign.dependencies, *self._order.exchange.children())
        found = {name: find_name(name, known) for name in names}
        for name, meant in found.items():
            if meant is None:
                can = f"can name: {', '.join(known)}" if known else "has nothing to name yet: submit that Task first"
                raise ToolError(f"dependsOn names {name!r}, which is no Task of yours. It {can}.")
        return tuple(dict.fromkeys(meant for meant in found.values() if meant is not None))


TASK_PROPERTIES: Mapping[str, Any] = {
    "name": {"type": "string", "description": "A short name, such as write-tests; the Task's name begins with it."},
    "prompt": {
        "type": "string",
        "description": "The work, whole: the other agent knows nothing of this conversation and sees none of your "
        f"files but those in context. At most {MAX_PROMPT:,} characters.",
    },
    "type": {
        "type": "string",
        "description": f"Kind of work, which decides who does it: {_TYPES}, or one that your project has. Default: "
        "that of your own Task.",
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
