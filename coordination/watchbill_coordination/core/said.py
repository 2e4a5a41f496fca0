"""What an agent said, as far as a log, a status or a prompt can hold it.

Owns the bounds of texts, reasons and numbers that come from an agent. Invariant: whatever comes in, what comes out is
bounded and can be encoded; what was within bounds is unchanged. Never refuses: who may speak is decided elsewhere.
"""

from __future__ import annotations

import re

MAX_TEXT = 4096  #: characters of a result or message that are kept
MAX_NUMBER = 2**31  #: bound of exit codes and attempts
CAMEL_CASE = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
UID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def clean_text(said: str, limit: int = MAX_TEXT) -> str:
    """The first part of a text; what UTF-8 cannot hold (half of a surrogate pair) becomes a question mark."""
    return said[:limit].encode("utf-8", "replace").decode("utf-8")


def clean_reason(said: str, otherwise: str) -> str:
    """A reason that a condition can carry, or `otherwise`."""
    return said if CAMEL_CASE.fullmatch(said) else otherwise


def clean_exit_code(said: int | None) -> int | None:
    """An exit code that a status can hold, or none."""
    return said if said is not None and -MAX_NUMBER <= said < MAX_NUMBER else None
