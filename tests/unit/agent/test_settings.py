"""The environment of an agent process."""

from __future__ import annotations

import pytest

from watchbill_agent.settings import SettingsError, parse_settings

FOLDERS = {f"WATCHBILL_{name}": f"/volume/{name.lower()}" for name in ("INBOX", "OUTBOX", "WORK", "STATE", "CONTEXT")}
LEAST = FOLDERS | {"WATCHBILL_REPLICA": "blue-3"}


def test_the_least_environment_has_defaults_for_the_rest() -> None:
    """One slot, five seconds of grace, the pool's name from that of the replica."""
    settings = parse_settings(LEAST)

    assert (settings.agent, settings.slots, settings.grace_seconds, settings.notify) == ("blue", 1, 5.0, "inotify")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"WATCHBILL_REPLICA": ""}, "WATCHBILL_REPLICA"),
        ({"WATCHBILL_INBOX": "relative"}, "WATCHBILL_INBOX"),
        ({"WATCHBILL_SLOTS": "0"}, "WATCHBILL_SLOTS"),
        ({"WATCHBILL_SLOTS": "65"}, "WATCHBILL_SLOTS"),
        ({"WATCHBILL_SLOTS": "²"}, "WATCHBILL_SLOTS"),
        ({"WATCHBILL_COMMAND": "{"}, "WATCHBILL_COMMAND"),
        ({"WATCHBILL_COMMAND": "[]"}, "WATCHBILL_COMMAND"),
        ({"WATCHBILL_COMMAND": '{"graceSeconds": -1}'}, "graceSeconds"),
        ({"WATCHBILL_COMMAND": '{"graceSeconds": "5"}'}, "graceSeconds"),
    ],
    ids=str,
)
def test_a_wrong_variable_is_named(change: dict[str, str], named: str) -> None:
    """In one sentence."""
    with pytest.raises(SettingsError, match=named):
        parse_settings(LEAST | change)
