"""Which reports hold the whole result, so that nothing but the report has to be synced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.agent_process import AgentProcess


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProcess]:
    with AgentProcess(tmp_path) as process:
        yield process


@pytest.mark.parametrize("command", ["echo done", "true", "printf 'Grüße'"])
def test_a_short_output_is_inline(agent: AgentProcess, command: str) -> None:
    """Even an empty one."""
    end = agent.run("t", {"shell": command})

    assert end.inline
    assert (agent.attempt_folder("t") / "result" / "stdout").read_text() == end.result


@pytest.mark.parametrize(
    "command",
    [
        'echo done; touch "$WATCHBILL_RESULT/other"',
        'echo done; mkdir "$WATCHBILL_RESULT/folder"',
        'echo done; echo mine > "$WATCHBILL_RESULT/stdout"',
        'echo done; echo done > "$WATCHBILL_RESULT/stdout"; chmod +x "$WATCHBILL_RESULT/stdout"',
        'echo done; ln -s /etc/hostname "$WATCHBILL_RESULT/stdout"',
        'echo done; mkfifo "$WATCHBILL_RESULT/stdout"',
        "head -c 5000 /dev/zero | tr '\\0' x",
        "printf '\\377'",
    ],
)
def test_any_other_result_is_not(agent: AgentProcess, command: str) -> None:
    """More files, other content, a right to execute, a link, a pipe, too much text, no text."""
    end = agent.run("t", {"shell": command})

    assert end.outcome == "Succeeded"
    assert not end.inline


def test_a_failure_is_not_inline(agent: AgentProcess) -> None:
    """It has no result to be taken over."""
    assert not agent.run("t", {"shell": "echo done; exit 1"}).inline
