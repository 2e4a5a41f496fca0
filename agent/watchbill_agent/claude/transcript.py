"""What happened in a session, a line of JSON each, written as it happens.

Owns state/transcripts/<task uid>-<attempt>.jsonl; docs/transcripts.md describes its lines. Invariant: nothing is
written that was not redacted first; the file stays below MAX_BYTES, and its last line is the result however much came
before. Commands can write in this folder too, so nothing that lies there is followed or trusted. A transcript that
cannot be written costs no session.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from watchbill_agent.claude.redaction import Redactor
from watchbill_coordination.storage.layout import TRANSCRIPTS

VERSION = 1
MAX_BYTES = 16 * 2**20  #: of a file
MAX_TEXT = 32 * 1024  #: characters of one text in it
MAX_LOOKED_AT = 64 * 1024  #: characters of one text that are searched for secrets; what follows is dropped unseen
MAX_LINE = 256 * 1024  #: bytes of a line that is not the result
MAX_ITEMS, MAX_DEPTH = 200, 8  #: of a tool's input
RESERVE = 1024 * 1024  #: bytes kept free for the last lines

Record = Mapping[str, Any]

logger = logging.getLogger(__name__)


class Transcript:
    """The transcript of one attempt."""

    def __init__(self, fd: int, redactor: Redactor, *, clock: Callable[[], float] = time.time) -> None:
        """`fd` is an open, empty file, or -1: then nothing is written."""
        self._fd = fd
        self._redactor = redactor
        self._clock = clock
        self._size = 0
        self._is_full = False

    def write(self, record: Record) -> None:
        """Write a line, unless the file is full; the first that does not fit says so. Raises nothing."""
        if self._is_full:
            return
        line = self._encode(record)
        if len(line) > MAX_LINE:
            line = self._encode({"kind": record["kind"], "note": f"a line of {len(line)} bytes is left out"})
        self._is_full = self._size + len(line) > MAX_BYTES - RESERVE
        if self._is_full:
            line = self._encode(
                {"kind": "note", "text": f"the transcript is full ({MAX_BYTES} bytes); more is left out"}
            )
        self._append(line)

    def close(self, result: Record) -> None:
        """Write the last line, whatever came before, and end the file. Raises nothing."""
        self._append(self._encode(result))
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = -1

    def _encode(self, record: Record) -> bytes:
        head = {"v": VERSION, "ts": round(self._clock(), 3)}
        line = json.dumps({**head, **self._clean(record, 0)}, ensure_ascii=False, separators=(",", ":"))
        return line.encode(errors="replace") + b"\n"

    def _clean(self, value: Any, depth: int) -> Any:
        """Return the value redacted and bounded."""
        if isinstance(value, str):
            return shorten(self._redactor.hide(value[:MAX_LOOKED_AT]), MAX_TEXT, total=len(value))
        if isinstance(value, bool | int | float) or value is None:
            return value
        if depth >= MAX_DEPTH:
            return "…"
        if isinstance(value, Mapping):
            return {self._clean(str(key), depth): self._clean(value[key], depth + 1) for key in [*value][:MAX_ITEMS]}
        if isinstance(value, list | tuple):
            return [self._clean(item, depth + 1) for item in value[:MAX_ITEMS]]
        return self._clean(str(value), depth)

    def _append(self, line: bytes) -> None:
        if self._fd < 0:
            return
        try:
            os.write(self._fd, line)
            self._size += len(line)
        except OSError as error:
            logger.warning("the transcript is not written any more: %s", error)
            os.close(self._fd)
            self._fd = -1


def shorten(text: str, limit: int, *, total: int | None = None) -> str:
    """Return the text, or its first part and how many characters are left out. `total`: its length before."""
    length = len(text) if total is None else max(total, len(text))
    return text if length <= limit else f"{text[:limit]}… [{length - limit} characters left out]"


def open_transcript(state: Path, name: str) -> int:
    """Make the file anew and return a descriptor; -1, and a line in the log, when that fails."""
    try:
        folder = _open_folder(state)
        try:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(name, flags, 0o644, dir_fd=folder)
            os.fchmod(fd, 0o644)
            return fd
        finally:
            os.close(folder)
    except OSError as error:
        logger.warning("there will be no transcript: %s", error)
        return -1


def _open_folder(state: Path) -> int:
    """Open the folder of transcripts, made if it is missing; a link there is replaced. Raises OSError."""
    above = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(os.stat(TRANSCRIPTS, dir_fd=above, follow_symlinks=False).st_mode):
                os.unlink(TRANSCRIPTS, dir_fd=above)
        with suppress(FileExistsError):
            os.mkdir(TRANSCRIPTS, 0o755, dir_fd=above)
        folder = os.open(TRANSCRIPTS, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        os.fchmod(folder, 0o755)
        return folder
    finally:
        os.close(above)
