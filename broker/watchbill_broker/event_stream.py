"""Bedrock's binary event stream, read for usage.

Owns the framing `application/vnd.amazon.eventstream`: total length, length of headers, checksum, headers, payload,
checksum; the payload is JSON with the API's own event as base64. Invariant: memory is bounded by the longest frame; a
stream that is not in this form is counted by its bytes and never stops the answer.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct

from watchbill_broker.metering import Told, read_event

PRELUDE = struct.Struct(">II")
PRELUDE_BYTES = 12
CHECKSUM_BYTES = 4
LONGEST_FRAME = 1024 * 1024


class FrameMeter:
    """Reads Bedrock's answers to invoke-with-response-stream."""

    def __init__(self) -> None:
        """Nothing is told yet."""
        self.told = Told()
        self._rest = bytearray()
        self._is_lost = False  #: no frame begins where one should

    def feed(self, data: bytes) -> None:
        """Take in the next bytes; whole frames are read."""
        if self._is_lost:
            self.told.content_bytes += len(data)
            return
        self._rest += data
        while len(self._rest) >= PRELUDE_BYTES and not self._is_lost:
            total, headers = PRELUDE.unpack_from(self._rest)
            if not PRELUDE_BYTES + CHECKSUM_BYTES + headers <= total <= LONGEST_FRAME:
                self._is_lost = True
                self.told.content_bytes += len(self._rest)
                self._rest.clear()
            elif len(self._rest) < total:
                return
            else:
                payload = bytes(self._rest[PRELUDE_BYTES + headers : total - CHECKSUM_BYTES])
                del self._rest[:total]
                self._read_payload(payload)

    def _read_payload(self, payload: bytes) -> None:
        try:
            event = json.loads(payload)
            data = base64.b64decode(event["bytes"])
        except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
            return
        read_event(self.told, data)
