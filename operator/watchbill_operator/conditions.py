"""Findings and conditions: one CamelCase reason and one sentence each.

Owns the form in which the operator says what is so and why. Pure: times come from the caller, who takes them from the
log or from observed objects, never from a clock, so that a status is the same whenever it is built.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

MESSAGE_LIMIT = 1024  #: characters of a condition's or status's message


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should know about an object."""

    reason: str  #: CamelCase
    message: str  #: a sentence


def build_condition(kind: str, holds: bool, finding: Finding, *, since: float, generation: int) -> dict[str, Any]:
    """A condition in its API form; `since` in seconds since the Unix epoch, `generation` of the spec it is about."""
    return {
        "type": kind,
        "status": "True" if holds else "False",
        "reason": finding.reason,
        "message": clip(finding.message),
        "lastTransitionTime": format_time(since),
        "observedGeneration": generation,
    }


def format_time(seconds: float) -> str:
    """Seconds since the Unix epoch as Kubernetes writes times: UTC, whole seconds."""
    return dt.datetime.fromtimestamp(int(seconds), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> float | None:
    """A time as Kubernetes writes it in seconds since the Unix epoch, or None where it is none."""
    if not isinstance(text, str):
        return None
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def clip(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """The text, or its beginning with a sign that there was more; what is not Unicode (agents write it) is replaced."""
    sound = text.encode("utf-8", "replace").decode()
    return sound if len(sound) <= limit else sound[: limit - 1] + "…"


def build_sentence(text: str) -> str:
    """The text with a capital at its start, unless a field's name stands there, and a full stop at its end.

    Text of several lines, such as the end of a program's output, stays as it is.
    """
    text = text.strip()
    if not text or "\n" in text:
        return text
    first = text.split(" ", 1)[0]
    started = text if "." in first else text[:1].upper() + text[1:]
    return started if started.endswith((".", "!", "?", "…")) else f"{started}."
