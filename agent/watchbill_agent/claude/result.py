"""What a session hands over.

Owns result/answer.md and result/output.json of an attempt. Invariant: output.json, when it is there, is the answer that
fitted the task's outputSchema and nothing that a command wrote; a file answer.md that the session made itself stays.
Nothing is followed: commands can write in this folder.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from watchbill_agent.claude.redaction import Redactor

ANSWER, OUTPUT = "answer.md", "output.json"
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_result(directory: Path, text: str, structured: Any, redactor: Redactor) -> None:
    """Write the final message, and the structured answer unless it is None. Raises OSError."""
    result = directory / "result"
    result.mkdir(exist_ok=True)
    folder = os.open(result, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if text.strip():
            with suppress(FileExistsError):
                _write(folder, ANSWER, redactor.hide_known(text))
        with suppress(FileNotFoundError):
            os.unlink(OUTPUT, dir_fd=folder)
        if structured is not None:
            _write(folder, OUTPUT, redactor.hide_known(json.dumps(structured, ensure_ascii=False, indent=2)) + "\n")
    finally:
        os.close(folder)


def _write(folder: int, name: str, text: str) -> None:
    with open(os.open(name, NEW, 0o644, dir_fd=folder), "wb") as file:
        file.write(text.encode(errors="replace"))
