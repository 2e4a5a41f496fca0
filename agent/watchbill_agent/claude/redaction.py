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
_TOKENS = (  # a text that a match holds, in lower case → the pattern, which is slow where nothing is to be found
    ("sk-", r"sk-ant-[A-Za-z0-9_-]{8,}|sk-[A-Za-z0-9_-]{20,}"),  # Anthropic and others
    ("akia", r"\bAKIA[A-Z0-9]{16}\b"),  # AWS
    ("asia", r"\bASIA[A-Z0-9]{16}\b"),
    ("gh", r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"),
    ("glpat-", r"\bglpat-[A-Za-z0-9_-]{16,}"),
    ("xox", r"\bxox[abposr]-[A-Za-z0-9-]{10,}"),  # Slack
    ("aiza", r"\bAIza[A-Za-z0-9_-]{30,}"),  # Google
    ("ya29.", r"\bya29\.[A-Za-z0-9_-]{20,}"),
    ("eyj", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"),  # JSON Web Token
    ("private key", r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"),
)
_ASSIGNED = r"""s?\\?["']?\s{0,9}[:=]\s{0,9}\\?["']?(?P<value>[^\s"'\\,;&<>{}()\[\]]{8,})"""
_NAMES = ("password", "passwd", "secret", "token", "api_key", "api-key", "apikey", "access_key", "access-key",
          "accesskey", "authorization", "credential")  # fmt: skip
_ASSIGNMENTS = (
    ("bearer", r"\b[Bb]earer\s{1,9}(?P<value>[A-Za-z0-9._~+/=-]{12,})"),
    *((name, f"(?i:{name}){_ASSIGNED}") for name in _NAMES),
    ("://", r"://[^/\s:@]{0,100}:(?P<value>[^/\s@]{3,200})@"),  # in an address
)
Patterns = tuple[tuple[str, re.Pattern[str]], ...]
TOKENS: Patterns = tuple((needle, re.compile(pattern)) for needle, pattern in _TOKENS)
ASSIGNMENTS: Patterns = tuple((needle, re.compile(pattern)) for needle, pattern in _ASSIGNMENTS)


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
        return _substitute(TOKENS, self._known.sub(REDACTED, text))

    def hide(self, text: str) -> str:
        """Hide what looks like a secret too: for transcripts and messages."""
        return _substitute(ASSIGNMENTS, self.hide_known(text))


def _substitute(patterns: Patterns, text: str) -> str:
    lower = text.lower()
    for needle, pattern in patterns:
        if needle in lower:
            text = pattern.sub(_hide_value, text)
    return text


def _hide_value(match: re.Match[str]) -> str:
    """Keep the name in front of a value, so that a reader sees what was hidden."""
    if "value" not in match.re.groupindex:
        return REDACTED
    start, end = (edge - match.start() for edge in match.span("value"))
    return match[0][:start] + REDACTED + match[0][end:]


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
