"""The credential of the model, as files of a mounted Secret.

Owns the names of those files and how each is put into a request. Invariant: a credential that is returned is one
header value without white space or control characters, and it equals the files as they were at the time of the call: a
rotated Secret needs no restart. Never logs a value, never puts one into an error, and no `repr` shows one.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from watchbill_broker.settings import Provider

MAX_CREDENTIAL_BYTES = 16 * 1024
HEADER_VALUE = re.compile(rb"[\x21-\x7e]+")
OAUTH_BETA = b"oauth-2025-04-20"
SHORTEST_MASKED = 8  #: shorter values occur by chance

#: file → (header, what stands before the value, beta to ask for), in the order in which Claude Code prefers them
FILES: dict[Provider, dict[str, tuple[bytes, bytes, bytes]]] = {
    "anthropic": {
        "ANTHROPIC_AUTH_TOKEN": (b"authorization", b"Bearer ", b""),
        "ANTHROPIC_API_KEY": (b"x-api-key", b"", b""),
        "CLAUDE_CODE_OAUTH_TOKEN": (b"authorization", b"Bearer ", OAUTH_BETA),
    },
    "bedrock": {"AWS_BEARER_TOKEN_BEDROCK": (b"authorization", b"Bearer ", b"")},
    "vertex": {"VERTEX_ACCESS_TOKEN": (b"authorization", b"Bearer ", b"")},
}
EXAMPLES: dict[Provider, str] = {  #: what a person is told to make
    "anthropic": "ANTHROPIC_API_KEY",
    "bedrock": "AWS_BEARER_TOKEN_BEDROCK",
    "vertex": "VERTEX_ACCESS_TOKEN",
}
REGION_FILES = ("AWS_REGION", "CLOUD_ML_REGION")


@dataclass(frozen=True, slots=True)
class Credential:
    """One header, and the beta that it needs."""

    file: str
    header: bytes
    value: bytes = field(repr=False)
    beta: bytes = b""
    _secret: bytes = field(default=b"", repr=False)

    def mask(self, text: bytes) -> bytes:
        """Blank the credential in bytes from the other side, plain or as base64; the length stays."""
        if len(self._secret) < SHORTEST_MASKED:
            return text
        for form in (self._secret, base64.b64encode(self._secret).rstrip(b"=")):
            text = text.replace(form, b"*" * len(form))
        return text


@dataclass(frozen=True, slots=True)
class NoCredential:
    """Why there is none, in words for the person who makes the Secret."""

    problem: str


class CredentialFiles:
    """The mounted folder. `load` is cheap while nothing changes."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        """Read nothing yet."""
        self._folder = folder
        self._files = FILES[provider]
        self._identity: tuple[object, ...] | None = None
        self._loaded: Credential | NoCredential = NoCredential("")

    def load(self) -> Credential | NoCredential:
        """The credential that the folder holds now."""
        identity = tuple(_identity(self._folder / name) for name in self._files)
        if identity != self._identity:
            self._loaded = self._read()
            self._identity = identity
        return self._loaded

    def find_region(self) -> str:
        """The region that the Secret names, for providers that have one; empty without."""
        for name in REGION_FILES:
            value = _read_value(self._folder / name)
            if isinstance(value, bytes) and value:
                return value.decode("ascii")
        return ""

    def _read(self) -> Credential | NoCredential:
        for name, (header, before, beta) in self._files.items():
            value = _read_value(self._folder / name)
            if isinstance(value, NoCredential):
                return value
            if value:
                return Credential(name, header, before + value, beta, value)
        return NoCredential(f"it has none of {', '.join(self._files)}")


def _read_value(path: Path) -> bytes | NoCredential:
    """A file's value, empty where there is no file; white space around it is an editor's and is dropped."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    except OSError as error:
        return NoCredential(f"{path.name} cannot be read: {error.strerror}")
    try:
        value = os.read(fd, MAX_CREDENTIAL_BYTES + 1).strip()
    except OSError as error:
        return NoCredential(f"{path.name} cannot be read: {error.strerror}")
    finally:
        os.close(fd)
    if len(value) > MAX_CREDENTIAL_BYTES:
        return NoCredential(f"{path.name} is longer than {MAX_CREDENTIAL_BYTES} bytes")
    if value and not HEADER_VALUE.fullmatch(value):
        return NoCredential(f"{path.name} holds a line break, a space or another character that a header may not have")
    return value


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What differs once the kubelet has swapped the folder's contents. Links are followed: that is how it swaps."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
