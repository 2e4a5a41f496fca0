"""A transcript for people: one session of Claude Code as a page to read.

Owns how a line of a transcript is shown. Pure and total: an agent can write in the folder that transcripts lie in, so
any JSON object gives text, and no character of it reaches the terminal as a command.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeGuard

MAX_LINES = 6  #: of a tool's answer and of the prompt, unless all is asked for
MAX_WIDTH = 160  #: characters of a shortened line
MAX_AMOUNT = 2**53  #: of milliseconds or dollars
INDENT = " " * 10
SUBJECTS = ("command", "file_path", "pattern", "path", "name", "text", "url", "query", "prompt")  #: first one is shown
GOOD, BAD = "✓", "✗"

Line = Mapping[str, Any]


@dataclass(slots=True)
class Page:
    """Shows one attempt, line after line. `is_whole`: nothing is shortened. `is_colored`: for a terminal."""

    is_whole: bool = False
    is_colored: bool = False
    cwd: str = field(default="", init=False)
    uses: dict[str, str] = field(default_factory=dict, init=False)  #: that were not answered yet, by id
    last: str = field(default="", init=False)  #: id of the use that was shown last

    def show(self, line: Line) -> Iterator[str]:
        """The lines of text for one line of the transcript."""
        match line.get("kind"):
            case "task":
                yield from self._show_task(line)
            case "init":
                self.cwd = _text(line.get("cwd"))
                yield self._dim(f"{_clock(line)}  session {_word(line.get('session'))} with {_word(line.get('model'))}")
            case "assistant" | "thinking" | "user" as kind:
                marks = {"assistant": "", "thinking": "(thinks) ", "user": "(is told) "}
                yield from self._show_said(line, marks[kind])
            case "tool_use":
                self.last = _text(line.get("id"))
                self.uses[self.last] = describe_use(line, self.cwd)
                yield self._bold(f"{_clock(line)}  ▸ {self.uses[self.last]}")
            case "tool_result":
                yield from self._show_answer(line)
            case "retry" | "note":
                yield self._dim(f"{_clock(line)}  {_word(describe_note(line))}")
            case "result":
                yield from self._show_result(line)

    def _show_task(self, line: Line) -> Iterator[str]:
        task, attempt, replica, role = (_word(line.get(name)) for name in ("task", "attempt", "replica", "role"))
        goes_on = ", which goes on with the session before" if line.get("continued") else ""
        yield self._bold(f"{task}: attempt {attempt} on {replica} ({role}){goes_on}")
        yield ""
        yield from (self._dim(f"{INDENT}{text}") for text in self._shorten(_text(line.get("prompt"))))
        yield ""

    def _show_said(self, line: Line, mark: str) -> Iterator[str]:
        first, *more = (mark + _text(line.get("text"))).splitlines() or [""]
        yield f"{_clock(line)}  {first}"
        yield from (f"{INDENT}{text}" for text in more)

    def _show_answer(self, line: Line) -> Iterator[str]:
        mark = f"{BAD} " if line.get("error") else ""
        used = self.uses.pop(_text(line.get("id")), "")
        if used and self.last != line.get("id"):  # several tools were used at once
            yield self._dim(f"{INDENT}{used}:")
        self.last = ""
        shown = self._shorten(mark + _text(line.get("text")))
        yield from (f"{INDENT}  {self._red(text) if line.get('error') else self._dim(text)}" for text in shown)

    def _show_result(self, line: Line) -> Iterator[str]:
        is_good = line.get("outcome") == "Succeeded"
        words = " ".join(filter(None, (_word(line.get("outcome")), _word(line.get("reason")))))
        facts = f"{_word(line.get('turns', 0))} turns, {_word(line.get('seconds', 0))} s{_cost(line)}"
        text = f"{GOOD if is_good else BAD} {words} after {facts}"
        yield ""
        yield self._bold(text) if is_good else self._red(text)
        if line.get("message"):
            yield from _text(line.get("message")).splitlines()

    def _shorten(self, text: str) -> list[str]:
        """The first lines of a text, and how many are missing."""
        lines = text.splitlines() or [""]
        if self.is_whole:
            return lines
        shown = [line if len(line) <= MAX_WIDTH else line[: MAX_WIDTH - 1] + "…" for line in lines[:MAX_LINES]]
        left = len(lines) - MAX_LINES
        return [*shown, f"… {left} more line{'s' if left > 1 else ''}"] if left > 0 else shown

    def _bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self.is_colored else text

    def _dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self.is_colored else text

    def _red(self, text: str) -> str:
        return f"\x1b[31m{text}\x1b[0m" if self.is_colored else text


def describe_use(line: Line, cwd: str) -> str:
    """`Bash python3 -m unittest`, `Read src/a.py`: the tool, and what its input is about."""
    given = line.get("input")
    values = given if isinstance(given, Mapping) else {}
    tool = _text(line.get("tool")).removeprefix("mcp__watchbill__")
    subject = next((_text(values[name]) for name in SUBJECTS if values.get(name)), "")
    if not subject and values:
        subject = _plain(json.dumps(values, ensure_ascii=False))
    subject = subject.replace(f"{cwd}/", "") if cwd else subject
    place = _text(values.get("path")) if "pattern" in values else ""
    said = " ".join(f"{tool} {subject}{f' in {place}' if place else ''}".split())
    return said if len(said) <= MAX_WIDTH else said[: MAX_WIDTH - 1] + "…"


def describe_note(line: Line) -> str:
    """What happened beside the conversation."""
    if line.get("kind") == "retry":
        status = line.get("error_status") or "no connection"
        wait = line.get("retry_delay_ms")
        after = f" after {wait / 1000:.1f} s" if _is_amount(wait) else ""
        return _plain(f"the model's API answered {status} ({line.get('error')}): try {line.get('attempt')}{after}")
    given = line.get("data")
    data = given if isinstance(given, Mapping) else {}
    if line.get("text") == "model_fallback" and data.get("fallback_model"):
        former, why = data.get("original_model"), data.get("trigger")
        return _plain(f"{data['fallback_model']} takes over from {former} ({why})")
    return _text(line.get("text") or line.get("note"))


def _cost(line: Line) -> str:
    cost = line.get("costUSD")
    return f", ${cost:.4f}" if _is_amount(cost) else ""


def _is_amount(value: object) -> TypeGuard[int | float]:
    """Whether it is a number that an honest agent could have written: any other may be too large to show."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_AMOUNT


def _clock(line: Line) -> str:
    at = line.get("ts")
    if not isinstance(at, int | float) or not 0 <= at < 2**35:
        return "--:--:--"
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def _text(value: Any) -> str:
    return "" if value is None else _plain(value if isinstance(value, str) else str(value))


def _word(value: Any) -> str:
    """As one line."""
    return " ".join(_text(value).split())


def _plain(text: str) -> str:
    """Without the characters that a terminal obeys; lines and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
