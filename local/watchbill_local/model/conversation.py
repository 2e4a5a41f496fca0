"""A request of the Messages API, read as a conversation: what was asked, which tools exist, what they answered so far.

Owns the reading of requests. Total on any JSON object: what is missing is empty, what is unknown is ignored. All that
a script decides follows from this value, so the same conversation gets the same answer from any server at any time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from watchbill_local.model.sse import parse_turn

STRUCTURED = "StructuredOutput"  #: the tool whose input is the answer, where a schema is asked for
CHARACTERS_PER_TOKEN = 4
_INTERRUPTED = re.compile(r"interrupted|doesn't want to proceed", re.IGNORECASE)
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>\s*", re.DOTALL)
_PATH = re.compile(r"^(.*?)(?:`(/[^`]+)`|: (/.+)$|(?:^|[\s\"'(])(/[^\s`\"'()]+))")


@dataclass(frozen=True, slots=True)
class Result:
    """What one tool answered, as text."""

    text: str
    is_error: bool = False

    @property
    def lines(self) -> list[str]:
        """Its lines that hold something."""
        return [line for line in self.text.splitlines() if line.strip()]


@dataclass(frozen=True, slots=True)
class Mention:
    """An absolute path in the prompt, and the words of its line before it. After a colon it may hold spaces."""

    words: str
    path: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """One request. `rounds` holds the results of each turn that used tools, oldest first."""

    prompt: str = ""
    tools: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None  #: of the structured answer, where one is asked for
    rounds: tuple[tuple[Result, ...], ...] = ()
    known_tokens: int = 0  #: that the turn before had sent already
    new_tokens: int = 0

    @property
    def mentions(self) -> list[Mention]:
        """The first absolute path of each line of the prompt, in order."""
        found = filter(None, map(_PATH.search, self.prompt.splitlines()))
        return [Mention(match[1].lower(), (match[2] or match[3] or match[4]).strip().rstrip(".,;")) for match in found]

    def find_tool(self, name: str) -> str:
        """The full name of a tool that a server of tools offers under this one; empty where there is none."""
        return next((tool for tool in self.tools if tool == name or tool.endswith(f"__{name}")), "")


def parse_conversation(body: Mapping[str, Any]) -> Conversation:
    """Read a request's body."""
    messages, tools = _blocks(body.get("messages")), _blocks(body.get("tools"))
    asked = (said for message in messages if message.get("role") == "user" for said in _texts(message.get("content")))
    said = [index for index, message in enumerate(messages) if message.get("role") == "assistant"]
    new = sum(map(_tokens, messages[said[-1] + 1 :])) if said else 0
    total = sum(map(_tokens, messages)) + _tokens(tools) + _tokens(body.get("system") or "")
    return Conversation(
        prompt=_REMINDER.sub("", "\n".join(asked)),
        tools=tuple(str(tool.get("name", "")) for tool in tools),
        schema=next((_find_schema(tool) for tool in tools if tool.get("name") == STRUCTURED), None),
        rounds=tuple(_rounds(messages)),
        known_tokens=total - new if said else 0,
        new_tokens=new if said else total,
    )


def _find_schema(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    schema = tool.get("input_schema")
    return schema if isinstance(schema, Mapping) else {}


def _rounds(messages: Sequence[Mapping[str, Any]]) -> list[tuple[Result, ...]]:
    """The results of each turn, in the order in which it used the tools: they come back in the order of their ends.

    A turn that was interrupted counts as not done: a resumed session does it again.
    """
    blocks = [block for message in messages for block in _blocks(message.get("content"))]
    results = {
        str(block.get("tool_use_id")): _parse_result(block) for block in blocks if block.get("type") == "tool_result"
    }
    turns: dict[str, list[Result | None]] = {}
    for block in blocks:
        if block.get("type") == "tool_use":
            use = str(block.get("id"))
            turns.setdefault(parse_turn(use), []).append(results.get(use))
    return [tuple(filter(None, turn)) for turn in turns.values() if all(map(_is_whole, turn))]


def _is_whole(result: Result | None) -> bool:
    return result is not None and not (result.is_error and _INTERRUPTED.search(result.text[:300]))


def _parse_result(block: Mapping[str, Any]) -> Result:
    said = "\n".join(_texts(block.get("content")))
    return Result(_REMINDER.sub("", said).strip("\n"), bool(block.get("is_error")))


def _blocks(content: Any) -> list[Mapping[str, Any]]:
    return [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [str(block.get("text", "")) for block in _blocks(content) if block.get("type") == "text"]


def _tokens(value: Any) -> int:
    return len(json.dumps(value)) // CHARACTERS_PER_TOKEN
