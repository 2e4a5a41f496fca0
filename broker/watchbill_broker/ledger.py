"""What an attempt has used, on disk.

Owns the form of `<task>-<attempt>.json`, replaced atomically after each answer of the model. Invariant: sums never
fall; a broker that was killed continues the file that it finds. Written without fsync: it outlives the process, not a
power cut. Never holds a header, a body or a name that a client chose, other than a model's.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp-"
MAX_LEDGER_BYTES = 64 * 1024
MAX_UNKNOWN_MODELS = 16
COUNTS = {
    "requests": "requests",
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheReadTokens": "cache_read_tokens",
    "cacheWriteTokens": "cache_write_tokens",
    "guessed": "guessed",
}


class LedgerUnreadable(Exception):
    """A ledger is there and cannot be continued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One answer's share."""

    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    usd: float
    is_known: bool  #: the model has a price of its own
    is_guessed: bool  #: the answer was cut before it told all


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """What was used. Tokens are counts."""

    requests: int = 0  #: answers that were paid for
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float = 0.0
    guessed: int = 0  #: answers that were cut before they told all of their usage
    unknown_models: tuple[str, ...] = field(default=())  #: priced as the dearest known one

    def add(self, charge: Charge) -> Sums:
        """The sums after one more answer."""
        unknown = self.unknown_models
        if not charge.is_known and charge.model not in unknown and len(unknown) < MAX_UNKNOWN_MODELS:
            unknown = (*unknown, charge.model)
        return Sums(
            requests=self.requests + 1,
            input_tokens=self.input_tokens + charge.input_tokens,
            output_tokens=self.output_tokens + charge.output_tokens,
            cache_read_tokens=self.cache_read_tokens + charge.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + charge.cache_write_tokens,
            cost_usd=self.cost_usd + charge.usd,
            guessed=self.guessed + charge.is_guessed,
            unknown_models=unknown,
        )

    def to_json(self) -> dict[str, Any]:
        """The sums under the names of the file."""
        counts = {name: getattr(self, attribute) for name, attribute in COUNTS.items()}
        return {**counts, "costUSD": round(self.cost_usd, 6), "unknownModels": list(self.unknown_models)}


def load_sums(path: Path) -> Sums:
    """Continue a ledger; zero where there is none. Raises LedgerUnreadable, also for an OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return Sums()
    except OSError as error:
        raise LedgerUnreadable(str(error.strerror)) from None
    try:
        value = json.loads(os.read(fd, MAX_LEDGER_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise LedgerUnreadable(f"not JSON: {error}") from None
    finally:
        os.close(fd)
    return _parse_sums(value)


def save_sums(path: Path, *, task: str, attempt: int, sums: Sums) -> None:
    """Replace the ledger of an attempt. Raises OSError."""
    content = json.dumps({"v": 1, "task": task, "attempt": attempt, **sums.to_json()}).encode()
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            if os.write(fd, content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def sweep_temporaries(folder: Path) -> None:
    """Remove what a killed broker was writing."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            path.unlink()


def _parse_sums(value: object) -> Sums:
    if not isinstance(value, dict) or value.get("v") != 1:
        raise LedgerUnreadable("not a ledger of version 1")
    counts: dict[str, Any] = {}
    for name, attribute in COUNTS.items():
        counts[attribute] = count = value.get(name, 0)
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise LedgerUnreadable(f"{name} is {count!r}")
    cost = value.get("costUSD")
    if not isinstance(cost, int | float) or isinstance(cost, bool) or not 0 <= cost < 10**9:
        raise LedgerUnreadable(f"costUSD is {cost!r}")
    unknown = value.get("unknownModels") or []
    names = tuple(str(name)[:200] for name in unknown[:MAX_UNKNOWN_MODELS]) if isinstance(unknown, list) else ()
    return Sums(cost_usd=float(cost), unknown_models=names, **counts)
