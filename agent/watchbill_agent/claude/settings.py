"""What the pod tells the claude runner, parsed once.

Owns the members of WATCHBILL_CLAUDE. Invariant: settings are whole and of the right types, or Invalid says in one
sentence which member is wrong. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_MAX_TURNS, MAX_TURNS = 100, 1000
PROVIDERS = ("anthropic", "bedrock", "vertex")
SOURCES = ("project", "user", "local")


class Invalid(ValueError):
    """WATCHBILL_CLAUDE cannot set up sessions; starting again will not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaudeSettings:
    """How sessions are set up. The rest follows from the task and from the role."""

    model: str
    fallback_model: str = ""  #: used while the first is overloaded; empty: none
    system_prompt: str = ""  #: added after the role's own
    max_turns: int = DEFAULT_MAX_TURNS
    tools: tuple[str, ...] | None = None  #: those that exist; None: the role's
    allowed_tools: tuple[str, ...] | None = None  #: permission rules; None: the role's
    setting_sources: tuple[str, ...] = ()  #: whose CLAUDE.md, hooks and servers count; none by default
    broker: bool = True  #: False: the credential is in the agent's own environment
    provider: str = "anthropic"
    base_url: str = ""  #: where the model's API is, without a broker; empty: the provider's own


def parse_claude_settings(text: str) -> ClaudeSettings:
    """Read the value of WATCHBILL_CLAUDE. Raises Invalid."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise Invalid(f"WATCHBILL_CLAUDE is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise Invalid("WATCHBILL_CLAUDE is not a JSON object")
    if not (model := _text(raw, "model")):
        raise Invalid("model in WATCHBILL_CLAUDE is not set")
    return ClaudeSettings(
        model=model,
        fallback_model=_text(raw, "fallbackModel"),
        system_prompt=_text(raw, "systemPrompt"),
        max_turns=_turns(raw),
        tools=_texts(raw, "tools"),
        allowed_tools=_texts(raw, "allowedTools"),
        setting_sources=_chosen(raw, "settingSources", _texts(raw, "settingSources") or (), SOURCES),
        broker=_flag(raw, "broker"),
        provider=_chosen(raw, "provider", (_text(raw, "provider") or PROVIDERS[0],), PROVIDERS)[0],
        base_url=_text(raw, "baseURL"),
    )


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value:
        raise Invalid(f"{name} in WATCHBILL_CLAUDE is {value!r}, not a text")
    return value


def _texts(raw: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = raw.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) and item and "\0" not in item for item in value):
        raise Invalid(f"{name} in WATCHBILL_CLAUDE is {value!r}, not a list of texts")
    return tuple(value)


def _chosen(raw: Mapping[str, Any], name: str, values: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value not in known:
            raise Invalid(f"{name} in WATCHBILL_CLAUDE is {raw.get(name)!r}; known are {', '.join(known)}")
    return values


def _turns(raw: Mapping[str, Any]) -> int:
    value = raw.get("maxTurns", DEFAULT_MAX_TURNS)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_TURNS:
        raise Invalid(f"maxTurns in WATCHBILL_CLAUDE is {value!r}, not a number from 1 to {MAX_TURNS}")
    return value


def _flag(raw: Mapping[str, Any], name: str) -> bool:
    value = raw.get(name, True)
    if not isinstance(value, bool):
        raise Invalid(f"{name} in WATCHBILL_CLAUDE is {value!r}, not true or false")
    return value
