"""Event data that is too long for a line, by its SHA-256.

Owns `blobs/`. Invariant: a blob is whole and synced before the record that names it is written; its name is the
digest of its content, so storing it twice is harmless,
and storing it again mends a damaged one. Never deletes one.
"""

from __future__ import annotations

import hashlib
import re

from watchbill_coordination.codec.records import MAX_BLOB, CorruptRecord
from watchbill_coordination.storage.atomic import make_directories, write_atomic
from watchbill_coordination.storage.layout import Layout

_DIGEST = re.compile(r"[0-9a-f]{64}")


def store_blob(layout: Layout, content: bytes) -> str:
    """Write the blob and sync it; return its name. Raises OSError."""
    digest = hashlib.sha256(content).hexdigest()
    make_directories(layout.blobs)
    path = layout.blobs / digest
    try:
        is_there = path.read_bytes() == content
    except FileNotFoundError:
        is_there = False
    if not is_there:
        write_atomic(path, content)
    return digest


def load_blob(layout: Layout, digest: str) -> bytes:
    """Read a blob and check it against its name. Raises CorruptRecord where it is missing or damaged."""
    if not _DIGEST.fullmatch(digest):
        raise CorruptRecord(f"{digest!r} is not the name of a blob")
    try:
        with open(layout.blobs / digest, "rb") as file:
            content = file.read(MAX_BLOB + 1)
    except OSError as error:
        raise CorruptRecord(f"blob {digest} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise CorruptRecord(f"blob {digest} is damaged")
    return content
