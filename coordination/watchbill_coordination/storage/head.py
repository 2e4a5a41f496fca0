"""How far the log was acknowledged: 60 bytes beside it.

Owns `event-log.head`. The writer rewrites it after each commit and syncs it only when the log is closed: it survives
a killed process exactly and a power cut up to the last sync. Invariant: it never says more than was acknowledged, so
a log that ends before it has lost something. It is a hint: a missing or damaged head is no fault of the log.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from types import TracebackType

from watchbill_coordination.storage.layout import Layout

_FORM = struct.Struct(">4sIQQQQ16sI")  # magic, spare, seq, segment, epoch, offset, h, CRC-32 of the former
_MAGIC = b"WBH1"
SIZE = _FORM.size


@dataclass(frozen=True, slots=True)
class Head:
    """The last acknowledged place."""

    seq: int
    segment: int  #: first seq of the segment
    epoch: int  #: of the segment
    offset: int  #: bytes of the segment up to and with that record
    h: bytes  #: 16 bytes, of that record


def encode_head(head: Head) -> bytes:
    """Return the 60 bytes."""
    packed = _FORM.pack(_MAGIC, 0, head.seq, head.segment, head.epoch, head.offset, head.h, 0)
    return packed[:-4] + zlib.crc32(packed[:-4]).to_bytes(4, "big")


def decode_head(encoded: bytes) -> Head | None:
    """Read the 60 bytes; None if they are not whole."""
    if len(encoded) != SIZE or zlib.crc32(encoded[:-4]) != int.from_bytes(encoded[-4:], "big"):
        return None
    magic, _, seq, segment, epoch, offset, h, _ = _FORM.unpack(encoded)
    return Head(seq, segment, epoch, offset, h) if magic == _MAGIC else None


def load_head(layout: Layout) -> Head | None:
    """Read the hint; None where there is none or it is damaged."""
    try:
        return decode_head(layout.head.read_bytes())
    except OSError:
        return None


class HeadFile:
    """The head, held open by the writer."""

    def __init__(self, layout: Layout) -> None:
        self._fd = os.open(layout.head, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def write(self, head: Head) -> None:
        """Rewrite the hint in place, unsynced. Raises OSError."""
        os.pwrite(self._fd, encode_head(head), 0)

    def sync(self) -> None:
        """Make the newest hint durable. Raises OSError."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Let the file go."""
        os.close(self._fd)

    def __enter__(self) -> HeadFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
