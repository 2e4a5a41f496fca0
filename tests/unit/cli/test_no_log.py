"""What a verb that reads the log says where the log is elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchbill_cli.main import main


def test_where_there_is_no_log_the_same_words_are_named_for_a_clusters_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ready to be pasted."""
    monkeypatch.delenv("WATCHBILL_ROOT", raising=False)
    monkeypatch.setenv("WATCHBILL_HOME", str(tmp_path))

    assert main(["events", "a task", "-o", "json"]) == 2
    assert "`kubectl exec deploy/watchbill-operator -- watchbill events 'a task' -o json`" in capsys.readouterr().err


def test_events_takes_several_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    """And says so."""
    with pytest.raises(SystemExit):
        main(["events", "--help"])

    assert "[TASK ...]" in capsys.readouterr().out
