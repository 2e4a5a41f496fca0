"""The status of Tasks: never empty, always a reason and a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from support.deciding import Ledger, accept, declare, finish, register, remove, start_pool, submit
from watchbill_coordination.core.commands import PublishContext, RemoveAgent, ReportProgress, ReportUsage
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.core.usage import Usage
from watchbill_operator.conditions import Finding
from watchbill_operator.task_status import (
    TASK_STATUS_FIELDS,
    build_status_patch,
    build_task_status,
    is_same_status,
)


def status(ledger: Ledger, uid: str = "t1") -> dict[str, Any]:
    """The status of a task at the ledger's time."""
    return build_task_status(ledger.state, ledger.task(uid), ledger.now)


def condition(built: dict[str, Any], kind: str) -> dict[str, Any]:
    """One condition of it."""
    return next(item for item in built["conditions"] if item["type"] == kind)


def waiting(spec: dict[str, Any], ledger: Ledger | None = None) -> dict[str, Any]:
    """The status of a task with that spec, in a pool of one blue replica unless told otherwise."""
    ledger = ledger or start_pool("blue-0")
    ledger.do(submit("t1", **spec))
    return status(ledger)


BAD_INPUT = {
    "a dependency that never comes": ({"dependsOn": ["ghost"]}, "Pending", "DependencyPending", "ghost"),
    "an unknown role": ({"type": "", "role": "purple"}, "Queued", "NoSuchAgent", "purple"),
    "an unknown Agent": ({"type": "", "agentRef": "nobody"}, "Queued", "NoSuchAgent", "nobody"),
    "a type that nobody takes": ({"type": "poetry"}, "Queued", "TypeNotTaken", "poetry"),
    "a type that its Agent does not take": ({"type": "fix", "agentRef": "blue"}, "Queued", "TypeNotTaken", "fix"),
    "context that is not there": ({"context": ["input/0123456789abcdef"]}, "Pending", "ContextMissing", "input/"),
    "suspended": ({"suspend": True}, "Pending", "Suspended", "suspend"),
    "dependent on itself": ({"dependsOn": ["t1"]}, "Failed", "DependencyCycle", "t1"),
}


@pytest.mark.parametrize(("spec", "phase", "reason", "named"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_every_bad_input_ends_in_a_reason_and_a_sentence(
    spec: dict[str, Any], phase: str, reason: str, named: str
) -> None:
    """Each names what is missing."""
    built = waiting(spec)

    assert (built["phase"], built["reason"]) == (phase, reason)
    assert named in built["message"]
    assert built["message"].endswith(".")


@pytest.mark.parametrize(("spec", "phase", "reason", "named"), BAD_INPUT.values(), ids=BAD_INPUT.keys())
def test_the_condition_says_what_the_status_says(spec: dict[str, Any], phase: str, reason: str, named: str) -> None:
    """`kubectl describe` shows conditions, printer columns the fields."""
    built = waiting(spec)
    kind = "Failed" if phase == "Failed" else "Waiting"

    assert condition(built, kind)["reason"] == reason
    assert condition(built, kind)["message"] == built["message"]


def test_a_task_whose_agent_is_deleted_waits_and_says_so() -> None:
    """Its attempt is given up with the replica; it is queued again and tells why nobody takes it."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    ledger.do(RemoveAgent(agent=AgentName("blue"), uid="uid-of-blue"))
    ledger.wait(120)

    assert (status(ledger)["phase"], status(ledger)["reason"]) == ("Queued", "NoSuchAgent")


def test_a_full_pool_is_named() -> None:
    """The second of two tasks waits for the only slot."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t0"))
    built = waiting({}, ledger)

    assert (built["phase"], built["reason"]) == ("Queued", "AgentAtCapacity")
    assert "blue" in built["message"]


def test_a_held_lock_is_named_with_its_holder() -> None:
    """The first thing that a person asks."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t0", name="holder", locks=[{"name": "repo"}]))
    built = waiting({"locks": [{"name": "repo"}]}, ledger)

    assert built["reason"] == "LockHeld"
    assert "holder" in built["message"]


def test_a_running_task_names_its_agent_and_when_it_began() -> None:
    """No result and no completion time yet."""
    built = waiting({})

    assert (built["phase"], built["agent"], built["attempts"]) == ("Running", "blue-0", 1)
    assert built["startTime"] == "1970-01-12T13:46:40Z"
    assert "completionTime" not in built
    assert condition(built, "Waiting")["status"] == "False"


def test_that_the_agent_accepted_costs_no_patch() -> None:
    """Dispatched and accepted read the same: one write for Running."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    before = status(ledger)
    ledger.do(accept("t1"))

    assert is_same_status(before, status(ledger))


def test_a_succeeded_task_has_its_result() -> None:
    """And is Complete."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    ledger.now += 2.5
    ledger.do(finish("t1", result="42\n", exit_code=0))
    built = status(ledger)

    assert (built["phase"], built["result"], built["exitCode"]) == ("Succeeded", "42\n", 0)
    assert built["message"] == "Done by blue-0 in 2.5 s."
    assert condition(built, "Complete")["status"] == "True"


def test_a_failed_task_says_why() -> None:
    """Reason and message of its last attempt."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1", retryPolicy={"maxRetries": 0}))
    ledger.do(finish("t1", "Failed", reason="ProgramNotFound", message="no such program: frob", retryable=False))
    built = status(ledger)

    assert (built["phase"], built["reason"]) == ("Failed", "ProgramNotFound")
    assert "frob" in built["message"]
    assert condition(built, "Complete")["status"] == "False"


def test_the_condition_failed_holds_from_the_end_of_a_task_that_failed() -> None:
    """As of a Job; with the reason, and at the log's time."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1", retryPolicy={"maxRetries": 0}))
    ledger.now += 60
    ledger.do(finish("t1", "Failed", reason="NonZeroExit", message="exit code 1"))
    built = status(ledger)
    failed = condition(built, "Failed")

    assert (failed["status"], failed["reason"]) == ("True", "NonZeroExit")
    assert failed["message"] == built["message"]
    assert failed["lastTransitionTime"] == built["completionTime"] == "1970-01-12T13:47:40Z"
    assert condition(built, "Complete")["lastTransitionTime"] == "1970-01-12T13:46:40Z"


def test_a_cancelled_task_has_failed_too() -> None:
    """It ended without success, and whoever waits for that is told."""
    failed = condition(waiting({"cancel": True}), "Failed")

    assert failed["status"] == "True"
    assert failed["reason"]


@pytest.mark.parametrize("is_over", [False, True], ids=["running", "succeeded"])
def test_a_task_that_runs_or_succeeded_has_not_failed(is_over: bool) -> None:
    """False since it was submitted, with a reason and a sentence."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    ledger.now += 60
    if is_over:
        ledger.do(finish("t1"))
    failed = condition(status(ledger), "Failed")

    assert failed["status"] == "False"
    assert failed["reason"] == ("Succeeded" if is_over else "Running")
    assert failed["lastTransitionTime"] == "1970-01-12T13:46:40Z"


def test_a_retry_backs_off() -> None:
    """Pending until then, with the reason of the attempt that failed."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    ledger.do(finish("t1", "Failed", reason="NonZeroExit", message="exit code 1"))
    built = status(ledger)

    assert (built["phase"], built["reason"]) == ("Pending", "BackingOff")
    assert condition(built, "Waiting")["status"] == "True"


def test_a_cancelled_task_is_over() -> None:
    """With a sentence."""
    built = waiting({"cancel": True})

    assert built["phase"] == "Cancelled"
    assert built["message"]
    assert "completionTime" in built


def test_a_status_is_the_same_whenever_it_is_built() -> None:
    """Times are the log's: a deleted status comes back equal, hours later."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    ledger.do(finish("t1", result="x"))
    before = status(ledger)
    ledger.now += 7200

    assert status(ledger) == before


def test_hostile_output_is_made_fit_for_the_api() -> None:
    """Lone surrogates are no UTF-8; a long result is cut where the schema wants it."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    ledger.do(finish("t1", result="\ud800" + "x" * 5000))
    result = status(ledger)["result"]

    assert result.encode()
    assert len(result) == 4096


def test_a_patch_removes_what_no_longer_applies() -> None:
    """A task that is queued again after its agent was lost has no agent."""
    patch = build_status_patch(waiting({"type": "poetry"}))["status"]

    assert patch["agent"] is None
    assert set(patch) == set(TASK_STATUS_FIELDS)


def test_the_fence_is_the_records_own() -> None:
    """epoch is the ep of record lastSeq."""
    ledger = Ledger(epoch=7)
    ledger.do(declare())
    ledger.do(register())
    ledger.do(submit("t1"))
    built = status(ledger)
    newest = ledger.records[built["lastSeq"] - 1]

    assert built["epoch"] == newest.ep == 7


def test_context_that_was_refused_is_told_with_its_cause() -> None:
    """The person who waits for it learns what is wrong with it; paths of others are no concern of the task."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1", context=["notes.md", "input/0123456789abcdef"]))
    bad, other = (
        Finding("ArchiveRefused", f"input/{name} is not offered. It has a link.") for name in ("0123456789abcdef", "x")
    )
    refused = {"input/0123456789abcdef": bad, "input/x": other}
    built = build_task_status(ledger.state, ledger.task("t1"), ledger.now, refused)

    assert built["reason"] == "ContextMissing"
    assert built["message"] == f"It waits for shared context that was refused: {bad.message}"


def test_context_that_came_lets_a_task_go_on() -> None:
    """The reason ends with its cause."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1", context=["notes.md"]))
    ledger.do(PublishContext(path="notes.md", digest="0" * 64))

    assert status(ledger)["phase"] == "Running"


def test_a_dependant_of_a_deleted_task_fails_with_the_cause() -> None:
    """Deleted before its end: the wait is over, and says so."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t0", name="first", suspend=True))
    ledger.do(submit("t1", dependsOn=["first"]))
    ledger.do(remove("t0"))

    assert status(ledger)["reason"] == "DependencyDeleted"


def say_progress(ledger: Ledger, text: str, percent: int | None) -> None:
    """Attempt 1 of t1 says how far it is."""
    ledger.do(
        ReportProgress(
            agent=ReplicaName("blue-0"),
            incarnation="pod-of-blue-0/1",
            task=TaskUid("t1"),
            attempt=1,
            text=text,
            percent=percent,
        )
    )


@pytest.mark.parametrize(
    ("text", "percent", "told"),
    [
        ("reads the tests", 40, "Attempt 1 is with blue-0: 40 %: reads the tests."),
        ("reads the tests.", None, "Attempt 1 is with blue-0: reads the tests."),
        ("", 40, "Attempt 1 is with blue-0: 40 %."),
    ],
)
def test_a_running_task_says_how_far_it_is(text: str, percent: int | None, told: str) -> None:
    """In its agent's words."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    say_progress(ledger, text, percent)

    assert status(ledger)["message"] == told


def test_a_task_without_a_model_tells_of_no_usage() -> None:
    """The member is absent, not 0."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))

    assert "usage" not in status(ledger)


def test_the_usage_of_all_attempts_is_told_together() -> None:
    """With all of its members, so that a patch replaces each."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    for attempt, cost in ((1, 0.25), (2, 0.5)):
        usage = Usage(requests=1, input_tokens=10, cost_usd=cost, turns=2, seconds=1.5)
        ledger.do(ReportUsage(agent=ReplicaName("blue-0"), task=TaskUid("t1"), attempt=attempt, usage=usage))
        ledger.do(register("blue-0", f"pod-of-blue-0/{attempt + 1}"))

    assert status(ledger)["usage"] == {
        "inputTokens": 20,
        "outputTokens": 0,
        "cacheReadTokens": 0,
        "cacheWriteTokens": 0,
        "costUSD": 0.75,
        "requests": 2,
        "turns": 4,
        "seconds": 3.0,
    }


def test_a_task_that_waits_for_a_credential_says_so() -> None:
    """Its attempt was given back, and the pool is parked."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t1"))
    ledger.do(finish("t1", "GivenBack", reason="RateLimited", message="429", retry_after_seconds=60))
    built = status(ledger)

    assert (built["phase"], built["reason"]) == ("Queued", "CredentialParked")
    assert "blue" in built["message"]
