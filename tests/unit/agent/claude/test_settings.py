"""WATCHBILL_CLAUDE as settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from watchbill_agent.claude.settings import ClaudeSettings, Invalid, parse_claude_settings
from watchbill_agent.settings import SettingsError, parse_settings

FOLDERS = {f"WATCHBILL_{name}": f"/w/{name.lower()}" for name in ("INBOX", "OUTBOX", "WORK", "STATE", "CONTEXT")}
BASE = FOLDERS | {"WATCHBILL_REPLICA": "blue-0"}


def test_only_the_model_must_be_given() -> None:
    """Everything else has the default that the documents name."""
    expected = ClaudeSettings(model="m", max_turns=100, broker=True, provider="anthropic")
    assert parse_claude_settings('{"model":"m"}') == expected


def test_all_members_are_read() -> None:
    """As the operator writes them."""
    raw = {
        "model": "m", "fallbackModel": "f", "systemPrompt": "s", "maxTurns": 7, "tools": ["Read"], "allowedTools": [],
        "settingSources": ["project"], "broker": False, "provider": "vertex", "baseURL": "http://gateway",
    }  # fmt: skip
    assert parse_claude_settings(json.dumps(raw)) == ClaudeSettings(
        model="m",
        fallback_model="f",
        system_prompt="s",
        max_turns=7,
        tools=("Read",),
        allowed_tools=(),
        setting_sources=("project",),
        broker=False,
        provider="vertex",
        base_url="http://gateway",
    )


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("model", ""), ("model", 3), ("maxTurns", 0), ("maxTurns", 1001), ("maxTurns", True), ("maxTurns", "9"),
        ("tools", "Read"), ("tools", [""]), ("allowedTools", [3]), ("settingSources", ["global"]), ("broker", "off"),
        ("provider", "azure"), ("systemPrompt", "\0"), ("baseURL", 1),
    ],
)  # fmt: skip
def test_a_wrong_member_is_named(member: str, value: Any) -> None:
    """The sentence says which."""
    with pytest.raises(Invalid, match=member):
        parse_claude_settings(json.dumps({"model": "m", member: value}))


@pytest.mark.parametrize("text", ["", "[]", "null", "{"])
def test_what_is_no_object_is_refused(text: str) -> None:
    """With the variable's name."""
    with pytest.raises(Invalid, match="WATCHBILL_CLAUDE"):
        parse_claude_settings(text)


def test_a_claude_agent_with_a_broker_needs_its_sockets() -> None:
    """They are a folder of the pod."""
    environment = BASE | {"WATCHBILL_RUNNER": "claude", "WATCHBILL_CLAUDE": '{"model":"m"}'}
    with pytest.raises(SettingsError, match="WATCHBILL_SOCKETS"):
        parse_settings(environment)
    settings = parse_settings(environment | {"WATCHBILL_SOCKETS": "/watchbill/broker"})
    assert settings.sockets == Path("/watchbill/broker")


def test_without_a_broker_no_sockets_are_needed() -> None:
    """The credential is in the agent's own environment."""
    settings = parse_settings(BASE | {"WATCHBILL_RUNNER": "claude", "WATCHBILL_CLAUDE": '{"model":"m","broker":false}'})
    assert settings.claude is not None
    assert settings.sockets is None


def test_an_unknown_runner_is_refused() -> None:
    """Starting again will not help."""
    with pytest.raises(SettingsError, match="WATCHBILL_RUNNER"):
        parse_settings(BASE | {"WATCHBILL_RUNNER": "gpt"})
