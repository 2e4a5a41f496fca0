"""A script that reviews: reads what others left, compares their figures, and gives a verdict in the form asked for.

Owns one session that reads alone. The verdict follows from what stands in the results, so a result without figures, or
figures that contradict each other, are found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from watchbill_local.model.conversation import Conversation, Result
from watchbill_local.model.script import Script, Turn, use
from watchbill_local.model.searching import report

_FILES = re.compile(r"^(\d[\d,]*) files?\b|counts (\d+) files?\b")


def play_review(conversation: Conversation) -> Script:
    """List each result, read its answer, and judge."""
    found = find_results(conversation)
    if not found:
        return {"verdict": "revise", "summary": "The prompt names no results, so there is nothing to review."}
    yield Turn(
        f"{len(found)} results to review. I look what each of them left.",
        tuple(use("Glob", pattern="**/*", path=folder) for folder in found.values()),
    )
    answers = yield Turn(
        "I read their answers.", tuple(use("Read", file_path=f"{folder}/answer.md") for folder in found.values())
    )
    said = {name: strip_numbers(answer) for name, answer in zip(found, answers, strict=False)}
    yield from report(conversation, f"{len(said)} answers read, comparing their figures", 80)
    findings = [finding for name, text in said.items() if (finding := _find_fault(name, text))]
    counts = {name: count for name, text in said.items() if (count := _find_count(text)) is not None}
    if len(set(counts.values())) > 1:
        apart = ", ".join(f"{name} says {count:,}" for name, count in counts.items())
        findings.append({"task": " and ".join(counts), "problem": f"they do not count the same files: {apart}"})
    return build_verdict(said, findings)


def find_results(conversation: Conversation) -> dict[str, str]:
    """The folders with results of other tasks that the prompt names, by the task's name."""
    found = {}
    for mention in conversation.mentions:
        if named := re.search(r"result of (?:the task )?`?([^\s`:,]+)", mention.words):
            found[named[1]] = mention.path.removesuffix("/answer.md").rstrip("/")
    return found


def strip_numbers(read: Result) -> list[str]:
    """The lines of a file that was read, without the numbers before them; empty where it could not be read."""
    return [] if read.is_error else [re.sub(r"^\s*\d+\t", "", line) for line in read.lines]


def build_verdict(said: Mapping[str, Sequence[str]], findings: Sequence[Mapping[str, str]]) -> Mapping[str, object]:
    """Approve what has no fault that matters."""
    good = len(said) - len([finding for finding in findings if finding["task"] in said])
    summary = f"{good} of {len(said)} results say what they found and where; "
    summary += f"remarks: {len(findings)}." if findings else "nothing is missing."
    return {"verdict": "approve" if good == len(said) else "revise", "summary": summary, "findings": list(findings)}


def _find_fault(name: str, text: Sequence[str]) -> dict[str, str] | None:
    if not text:
        return {"task": name, "problem": "there is no answer that I could read"}
    if not any(re.search(r"\d", line) for line in text):
        return {"task": name, "problem": "the answer gives no figure that could be checked"}
    return None


def _find_count(text: Sequence[str]) -> int | None:
    found = _FILES.search(text[0]) if text else None
    return int((found[1] or found[2]).replace(",", "")) if found else None
