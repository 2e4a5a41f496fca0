"""What agents say about attempts, and which word counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.deciding import Ledger, accept, finish, names, register, start_pool, submit
from watchbill_coordination.core.commands import LoseReplica, Rejected
from watchbill_coordination.core.events import AttemptFailed, ResultRefused, TaskRetryScheduled, TaskSucceeded
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.core.state import Phase


def run_task(**spec: object) -> Ledger:
    """A ledger in which task t runs on the only slot."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t", **spec))
    ledger.do(accept("t"))
    return ledger


def lose(replica: str = "blue-0") -> LoseReplica:
    """The pod is gone."""
    return LoseReplica(agent=ReplicaName(replica), incarnation="", reason="PodGone")


def test_an_accepted_attempt_is_told_once() -> None:
    """A repeated message changes nothing."""
    ledger = run_task()

    assert ledger.do(accept("t")) == []


def test_an_acceptance_from_another_life_is_rejected() -> None:
    """Only the incarnation that was given the attempt can run it."""
    ledger = run_task()

    assert ledger.decide(accept("t", incarnation="pod-of-blue-0/0")) == Rejected("NotCurrent")


def test_a_result_from_another_life_is_refused_even_with_the_right_number() -> None:
    """Uid, attempt and incarnation must all be current."""
    ledger = run_task()

    assert names(ledger.do(finish("t", incarnation="pod-of-blue-0/0"))) == ["ResultRefused"]
    assert ledger.task("t").phase is Phase.RUNNING


def test_a_result_from_another_replica_is_refused() -> None:
    """The directory says who sent it."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t"))

    events = ledger.do(finish("t", replica="blue-1"))

    assert [event.reason for event in events if isinstance(event, ResultRefused)] == ["NotItsAttempt"]


def test_a_result_of_an_unknown_task_is_refused() -> None:
    """It may be an invention."""
    ledger = start_pool("blue-0")

    assert names(ledger.do(finish("nobody"))) == ["ResultRefused"]


def test_a_refusal_is_recorded_once_however_often_the_message_comes() -> None:
    """Delivery is at least once; the log must not grow by repetition."""
    ledger = start_pool("blue-0")
    ledger.do(finish("nobody"))

    assert ledger.do(finish("nobody")) == []


def test_a_repeated_message_about_an_accepted_result_is_no_refusal() -> None:
    """It was answered already."""
    ledger = run_task()
    ledger.do(finish("t"))

    assert ledger.do(finish("t")) == []


def test_the_late_result_of_a_lost_attempt_is_refused() -> None:
    """Another attempt may be running by then."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t"))
    ledger.do(lose())

    assert names(ledger.do(finish("t"))) == ["ResultRefused"]
    assert (ledger.task("t").agent, ledger.task("t").attempt) == ("blue-1", 2)


def test_a_failed_attempt_is_followed_by_another_after_a_delay() -> None:
    """The reason stays on record."""
    ledger = run_task(retryPolicy={"maxRetries": 1, "initialDelaySeconds": 10})

    failed, scheduled = ledger.do(finish("t", "Failed", reason="NonZeroExit", message="exit 3", exit_code=3))

    assert isinstance(failed, AttemptFailed)
    assert isinstance(scheduled, TaskRetryScheduled)
    assert 8 <= scheduled.not_before - ledger.now <= 12
    assert ledger.wait(7.9) == []
    assert names(ledger.wait(4.2)) == ["TaskQueued", "TaskDispatched"]


def test_a_task_fails_with_the_reason_of_its_last_attempt() -> None:
    """The message says how often it was tried."""
    ledger = run_task(retryPolicy={"maxRetries": 1})
    ledger.do(finish("t", "Failed", reason="NonZeroExit", message="exit 3"))
    ledger.wait(10)

    assert names(ledger.do(finish("t", "Failed", attempt=2, reason="Signalled", message="killed"))) == [
        "AttemptFailed",
        "TaskFailed",
    ]
    assert (ledger.task("t").reason, ledger.task("t").message) == ("Signalled", "killed (2 attempts)")


def test_what_is_not_worth_another_attempt_fails_at_once() -> None:
    """A program that does not exist will not exist later."""
    ledger = run_task()

    assert names(ledger.do(finish("t", "Failed", retryable=False))) == ["AttemptFailed", "TaskFailed"]


def test_an_invented_reason_does_not_reach_the_status() -> None:
    """Conditions take CamelCase only; what an agent writes is hostile."""
    ledger = run_task(retryPolicy={"maxRetries": 0})

    ledger.do(finish("t", "Failed", reason="no such thing\n", message="x" * 100_000))

    assert ledger.task("t").reason == "Failed"
    assert len(ledger.task("t").message) <= 4096


def test_a_lost_agent_spends_no_retry() -> None:
    """The task is queued at once, with its age."""
    ledger = run_task()
    first = ledger.task("t").first_queued

    assert names(ledger.do(lose())) == ["ReplicaLost", "AttemptLost", "TaskQueued"]
    assert (ledger.task("t").retries, ledger.task("t").losses, ledger.task("t").first_queued) == (0, 1, first)


def test_a_task_under_which_five_agents_vanish_fails() -> None:
    """It may be what kills them, and each costs its pool a replica until its silence is noticed."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))
    phases = []
    for life in range(5):
        ledger.do(lose())
        phases.append(ledger.task("t").phase)
        ledger.do(register("blue-0", f"life/{life}"))

    assert phases == [Phase.QUEUED] * 4 + [Phase.FAILED]
    assert ledger.task("t").reason == "AgentLostRepeatedly"


def test_a_cancelled_task_ends_when_its_agent_is_lost() -> None:
    """It is not run again only to be stopped."""
    ledger = run_task()
    ledger.do(submit("t", generation=2, cancel=True))

    assert names(ledger.do(lose())) == ["ReplicaLost", "AttemptLost", "TaskCancelled"]


def test_an_attempt_that_the_agent_gave_up_itself_is_run_again() -> None:
    """An agent that shuts down stops what it runs; nobody asked for the task's end."""
    ledger = run_task()

    assert names(ledger.do(finish("t", "Cancelled"))) == ["AttemptLost", "TaskQueued", "TaskDispatched"]
    assert ledger.do(finish("t", "Cancelled")) == []


@pytest.mark.parametrize("uid", ["", "x" * 65, "../../etc", "line\nbreak", "\ud800"])
def test_a_result_of_what_cannot_be_a_task_is_not_even_recorded(uid: str) -> None:
    """The log must not carry whatever an agent likes to write."""
    assert start_pool("blue-0").decide(finish(uid)) == Rejected("NoSuchAttempt")


def test_text_that_no_log_can_hold_is_mended() -> None:
    """Half of a surrogate pair must not keep the attempt from ending."""
    ledger = run_task()

    ledger.do(finish("t", result="a\ud800b"))

    assert ledger.task("t").result == "a?b"


def test_an_impossible_exit_code_is_none() -> None:
    """A status has room for 32 bits."""
    ledger = run_task(retryPolicy={"maxRetries": 0})

    ledger.do(finish("t", "Failed", exit_code=10**40))

    assert ledger.task("t").exit_code is None


@pytest.mark.parametrize(("said", "inline"), [("all of it", True), ("x" * 5000, False), ("half a pair \ud800", False)])
def test_a_result_is_inline_only_where_the_record_holds_all_of_it(said: str, inline: bool) -> None:
    """A text that had to be cut or mended cannot be made again from the record."""
    ledger = run_task()

    events = ledger.do(replace(finish("t"), result=said, inline=True))

    assert [event.inline for event in events if isinstance(event, TaskSucceeded)] == [inline]
