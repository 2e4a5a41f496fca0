"""What the SDK's messages say: lines of the transcript, and what is known when the session ends.

Owns the reading of messages. Invariant: total on whatever Claude Code sends; what is unknown is left out. Pure in
effect: changes only the Ending that it is given. Imports the SDK: imported by a first session alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    Message,
    RateLimitEvent,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from watchbill_agent.claude.classify import Ending
from watchbill_agent.claude.transcript import Record

NOTED = ("model_fallback", "permission_denied", "model_refusal_no_fallback", "compact_boundary")
MAX_RESET_SECONDS = 7 * 86_400.0
TOKENS = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheReadTokens": "cache_read_input_tokens",
    "cacheWriteTokens": "cache_creation_input_tokens",
}  #: a ledger's names → the model's API's


def describe(message: Message) -> Iterator[Record]:
    """Return the transcript's lines about a message; the result's own line is written at the very end."""
    match message:
        case SystemMessage(subtype="init"):
            yield _describe_start(message.data)
        case SystemMessage(subtype="api_retry"):
            names = ("attempt", "max_retries", "retry_delay_ms", "error_status", "error")
            yield {"kind": "retry", **{name: message.data.get(name) for name in names}}
        case SystemMessage() if message.subtype in NOTED:
            yield {"kind": "note", "text": message.subtype, "data": _without_ids(message.data)}
        case AssistantMessage():
            yield from _describe_assistant(message)
        case UserMessage():
            yield from _describe_user(message)
        case RateLimitEvent():
            info = message.rate_limit_info
            yield {"kind": "note", "text": f"rate limit: {info.status}", "data": {"resets_at": info.resets_at}}
        case _:
            return


def note(message: Message, ending: Ending) -> None:
    """Remember what the classification needs."""
    match message:
        case AssistantMessage():
            ending.answered = ending.answered or not message.error
            ending.message_error = message.error or ending.message_error
            ending.model_stop = message.stop_reason or ending.model_stop
        case SystemMessage(subtype="api_retry"):
            status = message.data.get("error_status")
            ending.retry_error = str(message.data.get("error") or "")
            ending.retry_status = status if isinstance(status, int) else None
        case RateLimitEvent() if message.rate_limit_info.status == "rejected":
            resets = message.rate_limit_info.resets_at or 0
            ending.reset_seconds = max(0.0, min(resets - time.time(), MAX_RESET_SECONDS))
        case ResultMessage():
            _note_result(message, ending)
        case _:
            return


def _note_result(message: ResultMessage, ending: Ending) -> None:
    ending.has_result = True
    ending.is_error = message.is_error
    ending.subtype = message.subtype
    ending.terminal_reason = message.terminal_reason or ""
    ending.model_stop = message.stop_reason or ending.model_stop
    ending.status = message.api_error_status
    ending.text = message.result or ""
    ending.structured = message.structured_output
    ending.errors = tuple(str(error) for error in message.errors or ())
    ending.turns = message.num_turns
    ending.usage = {name: _count((message.usage or {}).get(key)) for name, key in TOKENS.items()}
    ending.cost_usd = message.total_cost_usd or 0.0
    ending.denied = len(message.permission_denials or ())


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _describe_start(data: Mapping[str, Any]) -> Record:
    return {
        "kind": "init",
        "model": data.get("model"),
        "session": data.get("session_id"),
        "cwd": data.get("cwd"),
        "tools": data.get("tools"),
        "cli": data.get("claude_code_version"),
    }


def _describe_assistant(message: AssistantMessage) -> Iterator[Record]:
    for block in message.content:
        match block:
            case TextBlock(text=text):
                yield {"kind": "assistant", "text": text} | ({"error": message.error} if message.error else {})
            case ThinkingBlock(thinking=text) if text:
                yield {"kind": "thinking", "text": text}
            case ToolUseBlock():
                yield {"kind": "tool_use", "id": block.id, "tool": block.name, "input": block.input}
            case _:
                continue


def _describe_user(message: UserMessage) -> Iterator[Record]:
    if isinstance(message.content, str):
        yield {"kind": "user", "text": message.content}
        return
    for block in message.content:
        match block:
            case ToolResultBlock():
                text = _join_text(block.content)
                yield {"kind": "tool_result", "id": block.tool_use_id, "error": bool(block.is_error), "text": text}
            case TextBlock(text=text):
                yield {"kind": "user", "text": text}
            case _:
                continue


def _join_text(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, str):
        return content
    parts = (part.get("text") if part.get("type") == "text" else f"[{part.get('type')}]" for part in content or ())
    return "\n".join(str(part) for part in parts)


def _without_ids(data: Mapping[str, Any]) -> Record:
    return {name: value for name, value in data.items() if name not in ("uuid", "session_id", "type", "subtype")}
