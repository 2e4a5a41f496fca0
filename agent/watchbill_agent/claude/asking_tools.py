"""Tools that ask the operator: locks, Tasks of the attempt's own making, progress.

Owns acquire_lock, release_lock, submit_task and report_progress. Invariant: whatever a model passes, what is sent keeps
the limits of the mailbox, so that it is answered; what the operator grants or denies is told as it is, and an answer
that does not come is told with what is safe to do then. None of them waits for another Task.
"""

from __future__ import annotations

import asyncio
from typing import Any

from watchbill_agent.claude.arguments import Arguments, ToolError
from watchbill_agent.claude.submission import MAX_PROMPT, TASK_PROPERTIES, build_spec, require_sendable
from watchbill_agent.claude.toolbox import Tool
from watchbill_agent.exchange import AttemptStopped, Build, NoAnswer, TooManyRequests
from watchbill_agent.runners import Order
from watchbill_coordination.core.messages import Answer, ChildSubmitted, LockReleased, LockRequested, Progress
from watchbill_coordination.core.requests import (
    MAX_CHILDREN,
    MAX_LOCK_NAME,
    MAX_PROGRESS_TEXT,
    MAX_REQUESTS,
    clean_line,
)

MAX_WISH = 100  #: characters of the name that a model wishes for a Task
EXCLUSIVE, SHARED = "exclusive", "shared"


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
            raise ToolError(f"Denied: you do not have the lock {name}. {answer.text}".rstrip())
        token = f", fencing token {answer.token}" if answer.token else ""
        return f"Granted: you hold the lock {name} ({mode}{token}) until you release it or this attempt ends."

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
        known = (*self._order.assign.dependencies, *self._order.exchange.children())
        spec = await asyncio.to_thread(build_spec, arguments, self._order.context, known)

        def build(number: int) -> ChildSubmitted:
            return ChildSubmitted(**self._sender, request=number, name=wish, spec=spec)

        require_sendable(build(MAX_REQUESTS))
        answer = await self._ask(
            build,
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
