"""The kernel's counter of processes that were ended for want of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchbill_agent.memory_kills import load_memory_kills

SECOND_VERSION = "low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\noom_group_kill 0\n"
FIRST_VERSION = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"


@pytest.mark.parametrize(
    ("content", "kills"),
    [
        (SECOND_VERSION, 2),
        (FIRST_VERSION, 2),
        ("oom_kill_disable 0\nunder_oom 0\n", 0),
        ("", 0),
        ("oom_kill many\n", 0),
    ],
    ids=["second version", "first version", "an old kernel", "empty", "no number"],
)
def test_the_counter_is_found_in_either_version_of_control_groups(tmp_path: Path, content: str, kills: int) -> None:
    """It stands in another file of each, among others; what is no counter counts nothing."""
    place = tmp_path / "counters"
    place.write_text(content)

    assert load_memory_kills([tmp_path / "missing", place]) == kills


def test_a_machine_without_the_counter_has_no_kills(tmp_path: Path) -> None:
    """Such as one without control groups."""
    assert load_memory_kills([tmp_path / "missing"]) == 0
