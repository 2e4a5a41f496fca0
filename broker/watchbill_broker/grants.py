"""Which attempts may use the model now.

Owns the form of `grants.json`, which the operator writes and replaces atomically. Invariant: what is returned is whole
and valid, with one entry an attempt; a file that is not raises `GrantsUnreadable`, and the caller keeps what it had.
Never writes.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

GRANTS_FILE = "grants.json"
MAX_GRANTS = 64  #: attempts of one replica
MAX_GRANTS_BYTES = 256 * 1024
TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


class GrantsUnreadable(Exception):
    """The file is there and cannot be read as grants."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One attempt that may use the model. `budget_usd` is what this attempt may spend; None is without limit."""

    task: str  #: uid
    attempt: int
    budget_usd: float | None

    @property
    def name(self) -> str:
        """The attempt's name in folders of sockets and ledgers."""
        return f"{self.task}-{self.attempt}"


def load_grants(folder: Path) -> dict[str, Grant] | None:
    """Read the folder's grants by attempt; None where there is no file. Raises GrantsUnreadable."""
    try:
        fd = os.open(folder / GRANTS_FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GrantsUnreadable(str(error)) from None
    try:
        content = os.read(fd, MAX_GRANTS_BYTES + 1)
    except OSError as error:
        raise GrantsUnreadable(str(error)) from None
    finally:
        os.close(fd)
    return parse_grants(content)


def parse_grants(content: bytes) -> dict[str, Grant]:
    """Read the file's bytes: grants by attempt name. Raises GrantsUnreadable."""
    if len(content) > MAX_GRANTS_BYTES:
        raise GrantsUnreadable(f"more than {MAX_GRANTS_BYTES} bytes")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise GrantsUnreadable(f"not JSON: {error}") from None
    if not isinstance(value, dict) or value.get("v") != 1 or not isinstance(value.get("attempts"), list):
        raise GrantsUnreadable('not {"v": 1, "attempts": [...]}')
    if len(value["attempts"]) > MAX_GRANTS:
        raise GrantsUnreadable(f"more than {MAX_GRANTS} attempts")
    grants = [_parse_grant(entry) for entry in value["attempts"]]
    return {grant.name: grant for grant in grants}


def _parse_grant(entry: object) -> Grant:
    if not isinstance(entry, dict):
        raise GrantsUnreadable("an attempt is not an object")
    task, attempt, budget = entry.get("task"), entry.get("attempt"), entry.get("budgetUSD")
    if not isinstance(task, str) or not TASK.fullmatch(task):
        raise GrantsUnreadable(f"task is {task!r}")
    if not isinstance(attempt, int) or isinstance(attempt, bool) or not 0 <= attempt < 10**6:
        raise GrantsUnreadable(f"attempt is {attempt!r}")
    if budget is not None and (
        not isinstance(budget, int | float) or isinstance(budget, bool) or not 0 <= budget < math.inf
    ):
        raise GrantsUnreadable(f"budgetUSD is {budget!r}")
    return Grant(task, attempt, None if budget is None else float(budget))
