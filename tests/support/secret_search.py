"""Looking for a marked secret in everything that a system wrote, and in what its processes show to others."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

CHUNK = 4 * 1024 * 1024


def spellings(secret: str) -> tuple[bytes, ...]:
    """The secret as it is, in hex, reversed, and in base64 at each of the three places that it can begin at."""
    plain = secret.encode()
    spelled = [plain, plain.hex().encode(), plain[::-1]]
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + plain)
        first, last = -(-shift * 8 // 6), (shift + len(plain)) * 8 // 6  # the characters that no neighbour changes
        spelled.append(text[first:last])
    return tuple(spelled)


def find_files(root: Path, secret: str) -> Iterator[Path]:
    """Every file below `root`, and every name of one, that holds the secret in any spelling."""
    wanted = spellings(secret)
    for folder, folders, files in os.walk(root):  # which passes over a folder that goes meanwhile
        for path in (Path(folder) / name for name in (*folders, *files)):
            if secret in path.name or (not path.is_symlink() and path.is_file() and _holds(path, wanted)):
                yield path


def find_processes(secret: str) -> Iterator[str]:
    """The processes of this machine whose command line or environment shows the secret."""
    wanted = spellings(secret)
    for part in ("cmdline", "environ"):
        for path in Path("/proc").glob(f"[0-9]*/{part}"):
            try:
                shown = path.read_bytes()
                name = (path.parent / "comm").read_text().strip()
            except OSError:
                continue  # it ended meanwhile, or is not ours to look into
            if any(spelling in shown for spelling in wanted):
                yield f"{part} of {name} ({path.parent.name})"


def _holds(path: Path, wanted: tuple[bytes, ...]) -> bool:
    """Whether a file holds one of these."""
    try:
        with path.open("rb") as file:
            return any(
                spelling in window for window in _read_windows(file, max(map(len, wanted))) for spelling in wanted
            )
    except OSError:
        return False  # it went meanwhile


def _read_windows(file: BinaryIO, overlap: int) -> Iterator[bytes]:
    """A file piece by piece, each with the end of the one before, so that nothing hides at a border."""
    before = b""
    while chunk := file.read(CHUNK):
        before = before[-overlap:] + chunk
        yield before
