"""Answers made comparable, and compared.

Owns what counts as the same answer from two servers. `normalise_answers` puts signs in place of what no two servers
have in common: for uids and resource versions the step in which they were seen first (so an update that must change
nothing is seen to change nothing), times of today, ages, generated names, namespaces. `find_differences` compares two
normalised answers; `judge` holds what was found against the table of known differences.

Invariant: nothing is left out silently. Status codes, reasons, causes, the words of every message and the whole bodies
are compared (but for `managedFields`), and a known difference that is not there any more is a finding like a new one.
Pure; never talks to a server.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from support.differential import Answer
from support.differential_requests import Obj, Step, find_value

_UUID = re.compile(r"\b(?!00000000)[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_GENERATED = re.compile(r"\b(?i:gen[-_])[bcdfghjklmnpqrstvwxz2456789]{5}\b")
_PATCHED = re.compile(r'"\{.*\}(\\n)?"')
_COUNTER = re.compile(r"((?:current|record|object meta):? \(?)\d+")
_RUN = re.compile(r"(.)\1{63,}")
_AGES = ("Age", "Last Seen", "First Seen", "Created At")
_UNORDERED = ("verbs", "resources")
_ABSENT = "(absent)"


class Difference(NamedTuple):
    """One place where two answers differ."""

    path: str  #: such as status, causes/FieldValueInvalid spec.color, body/spec/replicas
    expected: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.path}: expected {_show(self.expected)}, got {_show(self.got)}"


class Normaliser:
    """Signs for what differs from server to server, kept over one scenario."""

    def __init__(self) -> None:
        self._signs: dict[tuple[str, str], str] = {}
        self._step = ""
        self._now = datetime.now(UTC)

    def normalise(self, step: Step, answer: Answer, words: Mapping[str, str]) -> Obj:
        """Return an answer as plain data that is the same on every server which answers alike."""
        self._step = step.id
        if step.watch and answer.status == 200:
            events = [self._clean(json.loads(line), words) for line in answer.text.splitlines()]
            shown = [_select(event, step.show) for event in events if not _is_timed(event)]
            return {"status": answer.status, "events": shown}
        body = answer.json
        result: Obj = {"status": answer.status}
        if answer.warnings:
            result["warnings"] = [self._clean(text, words) for text in answer.warnings]
        if not isinstance(body, dict):
            return {**result, "text": self._clean(answer.text[:400], words)}
        if body.get("kind") == "Status" and body.get("status") == "Failure":
            return {**result, **_restate_failure(self._clean(body, words))}
        cleaned = self._clean(body, words)
        if not answer.content_type.startswith("application/json"):
            result["type"] = answer.content_type
        return {**result, "body": _select(cleaned, step.show)}

    def _clean(self, value: Any, words: Mapping[str, str], key: str = "") -> Any:
        if isinstance(value, list):
            cleaned = [self._clean(each, words) for each in value]
            return sorted(cleaned, key=_show) if key in _UNORDERED else cleaned
        if isinstance(value, dict):
            return self._clean_object(value, words)
        if not isinstance(value, str):
            return value
        if key == "storageVersionHash":  # made from the group, which is another one in each run
            return "<hash>"
        if key == "resourceVersion" and value.isdecimal() and value != "0":
            return self._sign("version", value)
        return self._clean_text(value, words)

    def _clean_object(self, value: Obj, words: Mapping[str, str]) -> Obj:
        value = {key: each for key, each in value.items() if key != "managedFields"}
        is_whole = "items" in value or "rows" in value or value.get("type") == "BOOKMARK"
        if is_whole:  # the version of a list or a bookmark counts what others write, too
            holder = value["object"] if value.get("type") == "BOOKMARK" else value
            holder["metadata"] = {**holder.get("metadata", {}), "resourceVersion": "<any>"}
            if holder["metadata"].get("continue"):
                holder["metadata"]["continue"] = "<token>"
        if "rows" in value:
            columns = enumerate(value.get("columnDefinitions") or ())
            ages = [index for index, each in columns if each["name"] in _AGES or each["type"] == "date"]
            for row in value["rows"] or ():
                row["cells"] = ["<age>" if index in ages else cell for index, cell in enumerate(row["cells"])]
        return {self._clean_text(key, words): self._clean(each, words, key) for key, each in value.items()}

    def _clean_text(self, text: str, words: Mapping[str, str]) -> str:
        for name in ("ns", "group"):
            text = text.replace(words[name], "{" + name + "}")
        text = _UUID.sub(lambda match: self._sign("uid", match[0]), text)
        text = _TIME.sub(self._clean_time, text)
        text = _GENERATED.sub(lambda match: match[0][:4] + "<random>", text)
        text = _COUNTER.sub(r"\1<any>", text)
        return _RUN.sub(lambda match: "{" + f"{match[1]}*{len(match[0])}" + "}", text)

    def _clean_time(self, match: re.Match[str]) -> str:
        """Times of today are the server's; others were sent."""
        distance = abs(datetime.fromisoformat(match[0]) - self._now)
        return "<time>" if distance < timedelta(days=2) else match[0]

    def _sign(self, what: str, value: str) -> str:
        """Return what stands for a value: the step in which it was first seen, and which one it is of those."""
        if (what, value) not in self._signs:
            seen = sum(sign.startswith(f"<{what} of {self._step}") for sign in self._signs.values())
            self._signs[what, value] = f"<{what} of {self._step}{f' {seen + 1}' if seen else ''}>"
        return self._signs[what, value]


def _restate_failure(status: Obj) -> Obj:
    """Return reason, message, details and causes.

    Causes are a set, since updates are told some of them twice and their order has no meaning; the message of a refusal
    with causes is made of theirs. Of a cause the first line counts (Go's print of a difference follows), and not the
    object that a patch made, whose members Go prints in the order of its structs.
    """
    details = dict(status.get("details") or {})
    causes: dict[str, set[str]] = {}
    for cause in details.pop("causes", None) or ():
        place = f"{cause.get('reason', '')} {cause.get('field', '')}".strip()
        causes.setdefault(place, set()).add(_PATCHED.sub('"{...}"', cause["message"].partition("\n")[0]))
    message = status.get("message", "")
    restated: Obj = {"reason": status.get("reason", ""), "message": message, "details": details}
    if causes:
        restated["message"] = message.partition(" is invalid: ")[0]
        restated["causes"] = {where: sorted(texts) for where, texts in sorted(causes.items())}
    return {key: value for key, value in restated.items() if value}


def _is_timed(event: Obj) -> bool:
    """Is this a bookmark of the server's timer? Whether one falls into the second of a watch is chance on both."""
    return event.get("type") == "BOOKMARK" and not find_value(event, "object.metadata.annotations")


def _select(value: Any, paths: tuple[str, ...]) -> Any:
    """Return what is at the paths, or all of it where none is given."""
    return {path: find_value(value, path) for path in paths} if paths else value


def find_differences(expected: Any, got: Any, path: str = "") -> list[Difference]:
    """Return where two normalised answers differ."""
    if isinstance(expected, dict) and isinstance(got, dict):
        keys = sorted({*expected, *got})
        pairs = [(f"{path}/{key}", expected.get(key, _ABSENT), got.get(key, _ABSENT)) for key in keys]
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        pairs = [(f"{path}/{index}", *pair) for index, pair in enumerate(zip(expected, got, strict=True))]
    else:
        is_same = expected == got and isinstance(expected, bool) is isinstance(got, bool)
        return [] if is_same else [Difference(path.lstrip("/"), expected, got)]
    return [each for place, left, right in pairs for each in find_differences(left, right, place)]


def judge(differences: Iterable[Difference], known: Mapping[str, Any]) -> list[str]:
    """Return what is wrong: differences that are not known, and known ones that are not there or are others.

    `known` maps a path, which stands for all below it, to what the small server answers there; null: to anything.
    """
    left = dict(known)
    findings = []
    for each in differences:
        place = next((path for path in known if each.path == path or each.path.startswith(f"{path}/")), None)
        if place is None or known[place] not in (None, each.got):
            findings.append(f"new difference: {each}")
        left.pop(place or "", None)
    return findings + [f"known difference that is no longer there: {path}" for path in left]


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
