"""What the verbs say of a log that is damaged: one sentence with the place, and the exit code for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.logs import write_log
from watchbill_cli.main import main


@pytest.fixture(params=["0*.jsonl", "0*.open"], ids=["first segment", "newest segment"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A volume whose log has wrong bytes in one of its two segments."""
    write_log(tmp_path, 3, closed=True)
    write_log(tmp_path, 3)
    monkeypatch.setenv("WATCHBILL_ROOT", str(tmp_path))
    (segment,) = (tmp_path / "orchestration" / "segments").glob(request.param)
    segment.chmod(0o644)
    segment.write_bytes(segment.read_bytes().replace(b"task-1", b"tusk-1"))
    return tmp_path


@pytest.mark.parametrize("verb", [["monitor", "--once"], ["monitor", "-o", "json"], ["events"], ["events", "-f"]])
@pytest.mark.usefixtures("root")
def test_a_damaged_log_is_one_sentence_with_its_place(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No verb answers with a traceback."""
    code = main(verb)

    said = capsys.readouterr().err
    assert code == 65
    assert said.startswith("watchbill: the log is damaged: ")
    assert "offset" in said
    assert "watchbill repair" in said
