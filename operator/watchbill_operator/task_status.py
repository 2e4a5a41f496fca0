"""The status of a Task, from the state of the log.

Owns the form of `.status` of Tasks and the sentences in it. Pure: every time is one of the log's, so a status that was
deleted comes back equal. Invariant: phase, reason and message are never empty. `now` serves one end: it tells a wait
that is over from one that goes on. Shared context that the operator refused is told from `refused`, as the log does not
know of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watchbill_coordination.core.spending import task_usage
from watchbill_coordination.core.state import Phase, State, TaskState
from watchbill_coordination.core.usage import Usage
from watchbill_coordination.core.waiting import explain_wait
from watchbill_operator.conditions import Finding, build_condition, build_sentence, clip, format_time

VOLUME_FULL = "VolumeFull"  #: condition of Agents, and reason of Tasks that wait for room
TASK_MESSAGE_LIMIT = 4096  #: characters
RESULT_LIMIT = 4096  #: characters
TASK_STATUS_FIELDS = (
    "phase",
    "reason",
    "message",
    "agent",
    "attempts",
    "queuedAt",
    "startTime",
    "completionTime",
    "result",
    "exitCode",
    "usage",
    "conditions",
    "observedGeneration",
    "epoch",
    "lastSeq",
)
FENCE_FIELDS = frozenset({"epoch", "lastSeq"})
NOTHING_REFUSED: Mapping[str, Finding] = {}


def build_task_status(
    state: State,
    task: TaskState,
    now: float,
    refused: Mapping[str, Finding] = NOTHING_REFUSED,
    *,
    held: str = "",
) -> dict[str, Any]:
    """The whole `.status` of that Task; members that do not apply are left out.

    `refused` has the shared context that was offered and cannot be had, by path; `held` says why no new work is started
    at all.
    """
    is_held = bool(held) and task.phase is Phase.QUEUED
    finding = Finding(VOLUME_FULL, build_sentence(held)) if is_held else explain_task(state, task, now, refused)
    status: dict[str, Any] = {
        "phase": task.phase.value,
        "reason": finding.reason,
        "message": clip(finding.message, TASK_MESSAGE_LIMIT),
        "attempts": task.attempt,
        "conditions": _build_conditions(task, finding),
        "observedGeneration": task.generation,
        "epoch": task.epoch,
        "lastSeq": task.last_seq,
    }
    status |= _build_times(task)
    if task.agent and task.phase not in (Phase.PENDING, Phase.QUEUED):
        status["agent"] = task.agent
    if task.phase is Phase.SUCCEEDED and task.result:
        status["result"] = clip(task.result, RESULT_LIMIT)
    if task.exit_code is not None:
        status["exitCode"] = task.exit_code
    if task.usage:
        status["usage"] = build_usage(task_usage(task))
    return status


def build_usage(usage: Usage) -> dict[str, Any]:
    """What the Task used of models, in its API form."""
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "cacheReadTokens": usage.cache_read_tokens,
        "cacheWriteTokens": usage.cache_write_tokens,
        "costUSD": usage.cost_usd,
        "requests": usage.requests,
        "turns": usage.turns,
        "seconds": usage.seconds,
    }


def build_status_patch(status: Mapping[str, Any], fields: tuple[str, ...] = TASK_STATUS_FIELDS) -> dict[str, Any]:
    """The merge patch that makes `.status` equal to this one: members that it lacks are removed."""
    return {"status": {name: status.get(name) for name in fields}}


def is_same_status(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a patch would tell nobody anything: the two differ in the fence alone, or not at all."""
    names = (old.keys() | new.keys()) - FENCE_FIELDS
    return all(old.get(name) == new.get(name) for name in names)


def explain_task(
    state: State, task: TaskState, now: float, refused: Mapping[str, Finding] = NOTHING_REFUSED
) -> Finding:
    """Why the Task stands where it stands."""
    match task.phase:
        case Phase.PENDING | Phase.QUEUED:
            return _explain_wait(state, task, now, refused)
        case Phase.RUNNING if task.cancel_requested:
            return Finding("Cancelling", f"Attempt {task.attempt} on {task.agent} is being stopped.")
        case Phase.RUNNING:
            return Finding("Running", _tell_progress(task))
        case Phase.SUCCEEDED:
            return Finding("Succeeded", _tell_success(task))
        case Phase.FAILED:
            return Finding(task.reason or "Failed", build_sentence(task.message or "It failed without a message."))
        case Phase.CANCELLED:
            return Finding(task.reason or "Cancelled", build_sentence(task.message or "It was cancelled."))


def _explain_wait(state: State, task: TaskState, now: float, refused: Mapping[str, Finding]) -> Finding:
    wait = explain_wait(state, task, now)
    if wait is None:
        return Finding("AwaitingOperator", "Its next step is being recorded.")
    if wait.reason == "ContextMissing":
        missing = [path for path in task.spec.context if path not in state.context and path in refused]
        if missing:
            told = " ".join(refused[path].message for path in missing)
            return Finding(wait.reason, build_sentence(f"It waits for shared context that was refused: {told}"))
    return Finding(wait.reason, build_sentence(wait.message))


def _tell_progress(task: TaskState) -> str:
    """Who has it and, where its agent says so, how far it is."""
    begun = f"Attempt {task.attempt} is with {task.agent}"
    if task.progress is None:
        return f"{begun}."
    percent = "" if task.progress.percent is None else f"{task.progress.percent} %"
    told = ": ".join(part for part in (percent, task.progress.text) if part)
    return build_sentence(f"{begun}: {told}") if told else f"{begun}."


def _tell_success(task: TaskState) -> str:
    attempts = "" if task.attempt <= 1 else f" at attempt {task.attempt}"
    if task.started_at is None or task.finished_at is None:
        return f"Done by {task.agent}{attempts}."
    return f"Done by {task.agent}{attempts} in {max(0.0, task.finished_at - task.started_at):.1f} s."


def _build_times(task: TaskState) -> dict[str, str]:
    times = {"queuedAt": task.first_queued, "startTime": task.started_at, "completionTime": task.finished_at}
    return {name: format_time(at) for name, at in times.items() if at is not None}


def _build_conditions(task: TaskState, finding: Finding) -> list[dict[str, Any]]:
    """Complete: it Succeeded. Failed: it ended as Failed or Cancelled. Waiting: it is Pending or Queued, for what."""
    has_succeeded = task.phase is Phase.SUCCEEDED
    has_failed = task.phase.is_terminal and not has_succeeded
    outcome = finding if task.phase.is_terminal else Finding(task.phase.value, "It has not ended.")
    failure = Finding("Succeeded", "It succeeded.") if has_succeeded else outcome
    is_waiting = task.phase in (Phase.PENDING, Phase.QUEUED)
    wait = finding if is_waiting else Finding(task.phase.value, "It waits for nothing.")
    generation = task.generation
    ended_at = task.finished_at if task.finished_at is not None else task.submitted_at
    succeeded_at, failed_at = (ended_at if ended else task.submitted_at for ended in (has_succeeded, has_failed))
    return [
        build_condition("Complete", has_succeeded, outcome, since=succeeded_at, generation=generation),
        build_condition("Failed", has_failed, failure, since=failed_at, generation=generation),
        build_condition("Waiting", is_waiting, wait, since=_find_wait_begin(task, ended_at), generation=generation),
    ]


def _find_wait_begin(task: TaskState, ended_at: float) -> float:
    """When it began to wait, or ceased to."""
    if task.phase.is_terminal:
        return ended_at
    changed_at = task.submitted_at if task.attempt == 0 else task.changed_at or task.submitted_at
    return task.started_at or changed_at if task.phase is Phase.RUNNING else changed_at
