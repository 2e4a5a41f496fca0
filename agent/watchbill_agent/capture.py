"""What a program prints, kept within a limit.

Owns the rule which bytes of an endless output are kept: the first ones and the last ones. Invariant: memory stays below
both limits together whatever is fed, and every byte is counted. Pure in effect: touches no descriptor.
"""

from __future__ import annotations

HEAD_BYTES = 256 * 1024  #: kept from the beginning
TAIL_BYTES = 16 * 1024  #: kept from the end


class Capture:
    """Head and tail of a stream of bytes."""

    def __init__(self, head: int = HEAD_BYTES, tail: int = TAIL_BYTES) -> None:
        self._head_limit, self._tail_limit = head, tail
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0  #: bytes fed so far

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data[-self._tail_limit :]
        del self._tail[: -self._tail_limit]

    @property
    def left_out(self) -> int:
        """Bytes between head and tail that were dropped."""
        return self.total - len(self._head) - len(self._tail)

    def content(self) -> bytes:
        """Return what was kept, with a line in between that says how much is missing."""
        gap = f"\n[{self.left_out} bytes left out]\n".encode() if self.left_out else b""
        return bytes(self._head) + gap + bytes(self._tail)

    def first(self, characters: int) -> str:
        """Return the first characters; what is not UTF-8 is replaced."""
        return bytes(self._head[: 4 * characters + 4]).decode(errors="replace")[:characters]

    def last(self, characters: int) -> str:
        """Return the last characters; what is not UTF-8 is replaced."""
        end = bytes(
            self._head + self._tail if self.total <= 4 * characters else (self._head + self._tail)[-4 * characters :]
        )
        return end.decode(errors="replace")[-characters:]
