"""Takes secrets out of text before it is written down.

Owns the patterns of well-known tokens, and the rule which variables of the environment hold secrets. Invariant: a
known value is found plain, as JSON writes it inside a string, and in base64 at any offset. Patterns are a net for the
rest and cannot be complete. Pure.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping

REDACTED = "[redacted]"
SHORTEST = 8  #: characters of a value that is worth hiding; shorter ones would tear up ordinary text

SECRET_NAME = re.compile(
    r"(?i)(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|AUTH|COOKIE|DSN)(_|$)|_PASS$|_PAT$"
)
_TOKENS = (
    r"sk-ant-[A-Za-z0-9_-]{8,}",  # Anthropic
    r"sk-[A-Za-z0-9_-]{20,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",  # AWS
    r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}",
    r"\bglpat-[A-Za-z0-9_-]{16,}",
    r"\bxox[abposr]-[A-Za-z0-9-]{10,}",  # Slack
    r"\bAIza[A-Za-z0-9_-]{30,}|\bya29\.[A-Za-z0-9_-]{20,}",  # Google
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",  # JSON Web Token
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
)
_ASSIGNMENTS = (
    r"\b[Bb]earer\s+[A-Za-z0-9._~+/=-]{12,}",
    r"(?i:password|passwd|secret|token|api[_-]?key|access[_-]?key|authorization|credential)s?"
    r"\\?[\"']?\s*[:=]\s*\\?[\"']?(?P<value>[^\s\"'\\,;&<>{}()\[\]]{8,})",
    r"://[^/\s:@]*:(?P<password>[^/\s@]{3,})@",  # in an address
)
TOKEN = re.compile("|".join(_TOKENS))
ASSIGNMENT = re.compile("|".join(_ASSIGNMENTS))


def find_secrets(environment: Mapping[str, str]) -> set[str]:
    """Return the values of an environment whose names say that they are secret."""
    return {value for name, value in environment.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST}


class Redactor:
    """Hides known values, and what looks like a secret."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _find_forms(secret)}
        self._known = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)) or r"(?!)")

    def hide_known(self, text: str) -> str:
        """Hide known values and well-known tokens, and leave all else as it is: for results."""
        return TOKEN.sub(REDACTED, self._known.sub(REDACTED, text))

    def hide(self, text: str) -> str:
        """Hide what looks like a secret too: for transcripts and messages."""
        return ASSIGNMENT.sub(_hide_value, self.hide_known(text))


def _hide_value(match: re.Match[str]) -> str:
    """Keep the name in front of a value, so that a reader sees what was hidden."""
    for group in ("value", "password"):
        if match[group] is not None:
            start, end = (edge - match.start() for edge in match.span(group))
            return match[0][:start] + REDACTED + match[0][end:]
    return REDACTED


def _find_forms(secret: str) -> set[str]:
    """Return what a value looks like plain, in JSON and in base64."""
    if len(secret) < SHORTEST:
        return set()
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    data = secret.encode(errors="surrogateescape")
    for offset in range(3):
        # Characters that bits outside the value have a part in are left out.
        end = (len(data) + offset) // 3 * 4
        middle = base64.b64encode(b"\0" * offset + data).decode()[-(-offset * 8 // 6) : end]
        forms |= {middle, middle.replace("+", "-").replace("/", "_")}
    return {form for form in forms if len(form) >= SHORTEST}
