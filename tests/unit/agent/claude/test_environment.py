"""The environment that Claude Code gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_agent.claude.environment import (
    CREDENTIALS,
    PLACEHOLDER,
    PROVIDER_PREFIXES,
    STEERING,
    TUNABLES,
    Homes,
    build_cli_environment,
    forget_environment,
)
from watchbill_agent.claude.settings import ClaudeSettings

HOMES = Homes(config=Path("/w/claude"), home=Path("/w/home"), temporary=Path("/t/x"))
WITH_BROKER = ClaudeSettings(model="m")
WITHOUT = replace(WITH_BROKER, broker=False)
SECRET = "marked-secret-value"

names = st.sampled_from([*STEERING, *PROVIDER_PREFIXES, *CREDENTIALS]).flatmap(
    lambda prefix: st.text("ABCXYZ_", max_size=8).map(lambda rest: prefix + rest)
)


@given(st.sets(names, max_size=8), st.sampled_from(["anthropic", "bedrock", "vertex"]))
def test_with_a_broker_nothing_of_a_provider_is_inherited(inherited: set[str], provider: str) -> None:
    """Whatever the pod or the task sets: neither a credential nor what leads requests elsewhere."""
    settings = replace(WITH_BROKER, provider=provider)
    environment = dict.fromkeys(inherited - TUNABLES - {"AWS_REGION", "CLOUD_ML_REGION"}, SECRET)
    built = build_cli_environment(environment, settings, HOMES, socket="/s/x.sock")
    assert SECRET not in built.values()


def test_with_a_broker_requests_go_to_the_socket() -> None:
    """With a placeholder where a key is expected."""
    built = build_cli_environment({}, WITH_BROKER, HOMES, socket="/s/x.sock")
    assert built["ANTHROPIC_UNIX_SOCKET"] == "/s/x.sock"
    assert built["ANTHROPIC_API_KEY"] == PLACEHOLDER


def test_the_folders_are_the_attempts_own() -> None:
    """Whatever was inherited."""
    built = build_cli_environment({"HOME": "/root", "TMPDIR": "/tmp"}, WITH_BROKER, HOMES, socket="/s")
    assert (built["HOME"], built["TMPDIR"], built["CLAUDE_CONFIG_DIR"]) == ("/w/home", "/t/x", "/w/claude")


def test_what_is_set_for_tools_passes() -> None:
    """PATH, proxies, and names that mean nothing to Claude Code."""
    inherited = {"PATH": "/opt/bin", "HTTPS_PROXY": "http://proxy", "MY_TOOL": "1", "WATCHBILL_TASK": "t"}
    built = build_cli_environment(inherited, WITH_BROKER, HOMES, socket="/s")
    assert inherited.items() <= built.items()


def test_loopback_is_never_asked_for_by_proxy() -> None:
    """It is added to what the user excepts."""
    built = build_cli_environment({"NO_PROXY": "intra.example"}, WITH_BROKER, HOMES, socket="/s")
    assert built["NO_PROXY"] == built["no_proxy"] == "intra.example,127.0.0.1,localhost"


def test_settings_of_patience_are_the_users() -> None:
    """They replace our defaults."""
    built = build_cli_environment({"CLAUDE_CODE_MAX_RETRIES": "7"}, WITH_BROKER, HOMES, socket="/s")
    assert built["CLAUDE_CODE_MAX_RETRIES"] == "7"


def test_one_prompt_has_one_answer_and_leaves_no_memory() -> None:
    """No command goes on in the background, and nothing is remembered beside the session."""
    built = build_cli_environment({"CLAUDE_CODE_DISABLE_AUTO_MEMORY": "0"}, WITH_BROKER, HOMES, socket="/s")
    names = ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "CLAUDE_CODE_DISABLE_AUTO_MEMORY")
    assert {built[name] for name in names} == {"1"}


def test_quiet_is_not_the_users_to_set() -> None:
    """No connection but that to the model."""
    built = build_cli_environment({"DISABLE_TELEMETRY": "0"}, WITHOUT, HOMES, socket="")
    assert built["DISABLE_TELEMETRY"] == built["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"


@pytest.mark.parametrize(
    "name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "AWS_PROFILE"]
)
def test_without_a_broker_the_credential_passes(name: str) -> None:
    """That is what `broker: off` means."""
    assert build_cli_environment({name: SECRET}, WITHOUT, HOMES, socket="")[name] == SECRET


def test_without_a_broker_the_address_is_that_of_the_agent() -> None:
    """A gateway's, for instance."""
    settings = replace(WITHOUT, base_url="http://gateway:1")
    built = build_cli_environment({"ANTHROPIC_BASE_URL": "http://other"}, settings, HOMES, socket="")
    assert built["ANTHROPIC_BASE_URL"] == "http://gateway:1"
    assert "ANTHROPIC_UNIX_SOCKET" not in built


@pytest.mark.parametrize(("provider", "word"), [("bedrock", "BEDROCK"), ("vertex", "VERTEX")])
def test_another_provider_is_switched_on_and_signed_for_by_the_broker(provider: str, word: str) -> None:
    """Its region passes; Vertex wants its version in the base URL."""
    settings = replace(WITH_BROKER, provider=provider)
    built = build_cli_environment({"AWS_REGION": "eu-west-1"}, settings, HOMES, socket="/s")
    assert built[f"CLAUDE_CODE_USE_{word}"] == built[f"CLAUDE_CODE_SKIP_{word}_AUTH"] == "1"
    assert built[f"ANTHROPIC_{word}_BASE_URL"] == "http://broker.internal" + ("/v1" if provider == "vertex" else "")
    assert built["AWS_REGION"] == "eu-west-1"


def test_the_agent_forgets_all_but_what_it_needs() -> None:
    """The SDK hands its process's environment on to Claude Code."""
    environment = {"PATH": "/bin", "TZ": "UTC", "ANTHROPIC_API_KEY": SECRET, "X": "y"}
    forget_environment(environment)
    assert environment == {"PATH": "/bin", "TZ": "UTC"}
