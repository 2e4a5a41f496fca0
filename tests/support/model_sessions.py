"""Sessions with the scripted model without Claude Code: a test plays the tools, the model is asked as over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from watchbill_local.model.conversation import parse_conversation
from watchbill_local.model.scripts import find_reply
from watchbill_local.model.sse import Reply, build_message

Json = dict[str, Any]
Tool = Callable[[Mapping[str, Any]], "str | Failed"]
READING = ("Read", "Glob", "Grep")
WORKING = (*READING, "Bash", "Edit", "Write")
MAX_TURNS = 20


class Failed(str):
    """What a tool says that could not do it."""

    __slots__ = ()


def build_request(prompt: str, *, tools: Sequence[str] = READING, schema: Mapping[str, Any] | None = None) -> Json:
    """The first request of a session."""
    listed = [{"name": name, "input_schema": {"type": "object"}} for name in tools]
    listed += [{"name": "StructuredOutput", "input_schema": schema}] if schema else []
    return {"model": "m", "system": "be good", "tools": listed, "messages": [{"role": "user", "content": prompt}]}


def answer(request: Mapping[str, Any]) -> Reply:
    """What the model says to this request."""
    return find_reply(parse_conversation(request))


def add_turn(request: Json, results: Sequence[str], *, turn: int = 0) -> list[Mapping[str, Any]]:
    """Append the model's turn and what its tools answered; returns the uses."""
    message = build_message(answer(request), model="m", message=f"msg_{turn}")
    uses = [block for block in message["content"] if block["type"] == "tool_use"]
    given = [
        {
            "type": "tool_result",
            "tool_use_id": use["id"],
            "content": str(result),
            "is_error": isinstance(result, Failed),
        }
        for use, result in zip(uses, results, strict=True)
    ]
    request["messages"] += [{"role": "assistant", "content": message["content"]}, {"role": "user", "content": given}]
    return uses


def play(request: Json, tools: Mapping[str, Tool]) -> tuple[str, list[Mapping[str, Any]]]:
    """Play a session to its end; returns its last words and all uses of tools."""
    done: list[Mapping[str, Any]] = []
    for turn in range(MAX_TURNS):
        reply = answer(request)
        uses = [block for block in reply.blocks if block["type"] == "tool_use"]
        if not uses or uses[-1]["name"] == "StructuredOutput":
            return "\n".join(block["text"] for block in reply.blocks if block["type"] == "text"), [*done, *uses]
        done += add_turn(request, [tools[use["name"]](use["input"]) for use in uses], turn=turn)
    raise AssertionError(f"the session has no end: {done[-3:]}")
