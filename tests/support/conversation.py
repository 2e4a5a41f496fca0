"""An attempt of a model in this process, and the operator's side of its conversation played by the test.

The exchange is the real one; only the files between the two sides are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from watchbill_agent.claude.toolbox import Said, Tool, use
from watchbill_agent.claude.tools import list_tools
from watchbill_agent.exchange import AttemptExchange
from watchbill_agent.runners import Order
from watchbill_coordination.core.messages import Answer, Assign, ChildEnded, Message
from watchbill_coordination.core.specs import TaskUid

PARENT = TaskUid("parent-uid")

Reply = Callable[[Any], Answer | None]


class Conversation:
    """One attempt. Each request gets what `reply` returns for it, at once; None: nothing."""

    def __init__(self, context: Path, reply: Reply | None = None, *, seconds: float = 30.0, **assigned: Any) -> None:
        self.said: list[Any] = []
        self._reply = reply
        self.exchange = AttemptExchange(self._post, answer_seconds=seconds)
        given: dict[str, Any] = {"name": "parent", "incarnation": "pod/1", "timeout_seconds": 60.0}
        self.order = Order(
            assign=Assign(task=PARENT, attempt=1, **(given | assigned)),
            exchange=self.exchange,
            directory=context,
            context=context,
            stdin=None,
            command={},
            environment={},
            timeout_seconds=60.0,
            grace_seconds=1.0,
        )
        self.tools: dict[str, Tool] = {tool.name: tool for tool in list_tools(self.order)}

    async def use(self, tool: str, **arguments: Any) -> Said:
        """Use a tool as a model does."""
        return await use(self.tools[tool], arguments)

    def use_once(self, tool: str, **arguments: Any) -> Said:
        """Use a tool, without a running event loop around it."""
        return asyncio.run(self.use(tool, **arguments))

    def end_child(self, name: str, uid: str, phase: str = "Succeeded", text: str = "") -> None:
        """Tell the attempt that a Task of its own has ended."""
        self.exchange.deliver(ChildEnded(task=PARENT, attempt=1, name=name, uid=uid, phase=phase, text=text))

    def _post(self, message: Message) -> None:
        self.said.append(message)
        answer = self._reply(message) if self._reply is not None else None
        if answer is not None:
            asyncio.get_running_loop().call_soon(self.exchange.deliver, answer)


def grant(request: Any, **fields: Any) -> Answer:
    """The answer that grants a request."""
    granted = Answer(task=request.task, attempt=request.attempt, request=request.request, granted=True)
    return replace(granted, **({"name": request.name} | fields))


def deny(request: Any, text: str) -> Answer:
    """The answer that refuses a request."""
    return replace(grant(request), granted=False, text=text)
