"""How a script becomes the next answer: it is played again from the beginning with the results that are known.

A script is a generator: it yields what it does in a turn, gets the results of the tools it used, and returns its last
words. Invariant: nothing is kept between requests. The turn follows from the conversation alone, so a session that was
cut, resumed elsewhere or sent twice goes on where it was. A script therefore must not look at a clock or at chance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from watchbill_local.model.conversation import STRUCTURED, Conversation, Result
from watchbill_local.model.sse import Block, Reply, Usage, build_text, build_use

FEW = 4  #: input tokens that no cache takes: the last marks of a request
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model does at once: a sentence for people, which may be empty, and tools."""

    says: str
    uses: tuple[Block, ...]


Answer = str | Mapping[str, Any]  #: the last words; a mapping: the structured answer
Script = Generator[Turn, tuple[Result, ...], Answer]
Play = Callable[[Conversation], Script]


def use(name: str, **arguments: Any) -> Block:
    """The use of a tool."""
    return build_use(name, arguments)


def build_reply(conversation: Conversation, play: Play) -> Reply:
    """The next answer of this script in this conversation."""
    return _reply(conversation, _next_blocks(conversation, play))


def build_example(schema: Mapping[str, Any], depth: int = 0) -> Any:
    """A small value that fits a plain JSON schema: for prompts that no script knows but that want structure."""
    if "const" in schema or schema.get("enum"):
        return schema["const"] if "const" in schema else schema["enum"][0]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object" or "properties" in schema:
        members = schema.get("properties") or {}
        wanted = schema.get("required") or () if depth else {**members, **dict.fromkeys(schema.get("required") or ())}
        return {name: build_example(members.get(name) or {}, depth + 1) for name in wanted}
    if kind == "array":
        return [build_example(schema.get("items") or {}, depth + 1) for _ in range(int(schema.get("minItems", 0)))]
    if kind in ("integer", "number"):
        return max(int(schema.get("minimum", 0)), 0)
    if kind in ("boolean", "null"):
        return False if kind == "boolean" else None
    return "scripted".ljust(int(schema.get("minLength", 0)), ".")[: int(schema.get("maxLength", 80))]


def _next_blocks(conversation: Conversation, play: Play) -> list[Block]:
    script = play(conversation)
    left = deque(conversation.rounds)
    try:
        turn = next(script)
        while left:
            turn = script.send(left.popleft())
    except StopIteration as end:
        return _last_blocks(conversation, end.value, left)
    lacking = sorted({block["name"] for block in turn.uses} - set(conversation.tools))
    if lacking:
        said = f"I stop here: this session has no tool {' and no tool '.join(lacking)}."
        return _last_blocks(conversation, said, ())
    return [*([build_text(turn.says)] if turn.says else ()), *turn.uses]


def _last_blocks(conversation: Conversation, answer: Answer, after: Collection[tuple[Result, ...]]) -> list[Block]:
    """The last words: text, or the structured answer. `after`: the rounds since, in which that answer was given."""
    said = answer if isinstance(answer, str) else str(answer.get("summary", "Done."))
    is_given = any(not result.is_error for results in after for result in results)
    if conversation.schema is None or is_given:
        return [build_text(said)]
    refused_before = bool(after)
    value = build_example(conversation.schema) if isinstance(answer, str) or refused_before else answer
    return [build_text(said), build_use(STRUCTURED, value)]


def _reply(conversation: Conversation, blocks: Sequence[Block]) -> Reply:
    written = sum(len(str(block.get("text") or block.get("input"))) for block in blocks) // CHARACTERS_PER_TOKEN
    usage = Usage(FEW, max(1, written), cache_read=conversation.known_tokens, cache_written=conversation.new_tokens)
    return Reply(tuple(blocks), usage)
