"""What the verbs say of a log that is damaged: one sentence with the place, and the exit code for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.logs import write_log
from watchbill_cli.main import main


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A volume whose log has wrong bytes in its first segment."""
    write_log(tmp_path, 3, closed=True)
    write_log(tmp_path, 1)
    monkeypatch.setenv("WATCHBILL_ROOT", str(tmp_path))
    sealed = min((tmp_path / "orchestration" / "segments").glob("*.jsonl"))
    sealed.chmod(0o644)
    sealed.write_bytes(sealed.read_bytes().replace(b"task-1", b"tusk-1"))
    return tmp_path


@pytest.mark.parametrize("verb", [["monitor", "--once"], ["monitor", "-o", "json"], ["events"]])
@pytest.mark.usefixtures("root")
def test_a_damaged_log_is_one_sentence_with_its_place(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No verb answers with a traceback."""
    code = main(verb)

    said = capsys.readouterr().err
    assert code == 65
    assert said.startswith("watchbill: the log is damaged: ")
    assert "offset" in said
    assert "watchbill repair" in said
