"""The agent's table of what to do about what it observes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_agent.lifecycle import (
    MAX_REMEMBERED,
    AttemptEnded,
    Deliver,
    DrainOverdue,
    Effect,
    Exit,
    InboxRead,
    Life,
    Observation,
    Phase,
    RemoveSent,
    RemoveWork,
    Send,
    StartAttempt,
    StartDrainClock,
    StopAttempt,
    StopSignal,
)
from watchbill_agent.outcome import Outcome
from watchbill_coordination.core.messages import (
    Accepted,
    Ack,
    Answer,
    Assign,
    Cancel,
    ChildEnded,
    Cleanup,
    Drain,
    Finished,
    Registered,
    Released,
)
from watchbill_coordination.core.specs import TaskUid

ME = "pod/1"
A, B = TaskUid("a"), TaskUid("b")
DONE = Outcome(outcome="Succeeded", exit_code=0)
FAILED = Outcome(outcome="Failed", reason="NonZeroExit", exit_code=1)


def assign(task: TaskUid = A, attempt: int = 1, incarnation: str = ME) -> Assign:
    return Assign(task=task, attempt=attempt, name=task, incarnation=incarnation, timeout_seconds=60)


def life(*observations: Observation) -> Life:
    """Return a life that has seen these, after its start."""
    begun = Life(ME, slots=2)
    for observation in (InboxRead(), *observations):
        begun.observe(observation)
    return begun


def kinds(effects: list[Effect]) -> list[type]:
    """Return what each effect is, a message by its own type."""
    return [type(effect.message) if isinstance(effect, Send) else type(effect) for effect in effects]


def test_a_life_begins_with_its_registration() -> None:
    """After the inbox of the former life was looked at, and once."""
    begun = Life(ME, slots=2)

    assert begun.observe(InboxRead()) == [Send(Registered(incarnation=ME, slots=2))]
    assert begun.observe(InboxRead()) == []


def test_an_assignment_is_started_before_it_is_accepted() -> None:
    """Latency counts; the order of the effects is that of the acts."""
    assert kinds(life().observe(assign())) == [StartAttempt, Accepted]


@pytest.mark.parametrize(
    ("before", "observation"),
    [
        ((), assign(incarnation="pod/0")),
        ((assign(),), assign()),
        ((Drain(deadline_seconds=9), assign()), assign(B)),
        ((assign(), StopSignal()), assign(B)),
        ((assign(), StopSignal()), Drain(deadline_seconds=9)),
        ((assign(), Drain(deadline_seconds=9)), Drain(deadline_seconds=1)),
        ((assign(), StopSignal()), StopSignal()),
        ((assign(), Cancel(task=A, attempt=1, reason="Cancelled")), Cancel(task=A, attempt=1, reason="Cancelled")),
        ((), DrainOverdue()),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_some_observations_change_nothing(before: tuple[Observation, ...], observation: Observation) -> None:
    """Meant for others, too late, or said before."""
    present = life(assign(TaskUid("other")), *before)

    assert present.observe(observation) == []


@pytest.mark.parametrize("stale", [assign(), Drain(deadline_seconds=0), Cancel(task=A, attempt=1, reason="Cancelled")])
def test_orders_of_a_former_life_are_not_followed(stale: Observation) -> None:
    """What still holds is said again after the registration."""
    assert Life(ME, slots=2).observe(stale) == []


def test_a_cancellation_stops_the_attempt_and_its_end_is_reported() -> None:
    """By what the runner says."""
    present = life(assign())

    assert present.observe(Cancel(task=A, attempt=1, reason="Cancelled")) == [StopAttempt((A, 1), "Cancelled")]
    assert kinds(present.observe(AttemptEnded((A, 1), Outcome(outcome="Cancelled")))) == [Finished]


def test_a_stop_signal_gives_back_what_does_not_succeed_in_time() -> None:
    """The failed one is not reported, so it costs no retry; the one that succeeded is."""
    present = life(assign(A), assign(B))

    assert kinds(present.observe(StopSignal())) == [StopAttempt, StopAttempt]
    assert kinds(present.observe(AttemptEnded((A, 1), FAILED))) == []
    assert kinds(present.observe(AttemptEnded((B, 1), DONE))) == [Finished, Released, Exit]


def test_a_drain_waits_for_running_attempts() -> None:
    """Then the agent is released."""
    present = life(assign())

    assert present.observe(Drain(deadline_seconds=9)) == [StartDrainClock(9)]
    assert kinds(present.observe(AttemptEnded((A, 1), FAILED))) == [Finished, Released, Exit]


def test_an_idle_agent_leaves_at_once() -> None:
    """Whether drained or signalled."""
    assert kinds(life().observe(Drain(deadline_seconds=9))) == [StartDrainClock, Released, Exit]
    assert kinds(life().observe(StopSignal())) == [Released, Exit]
    assert kinds(Life(ME, slots=1).observe(StopSignal())) == [Released, Exit]


def test_a_drain_that_takes_too_long_stops_what_runs() -> None:
    """The time was given with the order."""
    assert kinds(life(assign(), Drain(deadline_seconds=9)).observe(DrainOverdue())) == [StopAttempt]


def test_acknowledged_files_and_finished_work_are_removed() -> None:
    """But never the work of a task that runs."""
    present = life(assign(A))

    assert present.observe(Ack(names=("x",), seq=3)) == [RemoveSent(("x",))]
    assert present.observe(Cleanup(tasks=(A, B))) == [RemoveWork((B,))]


SAID = [
    Answer(task=A, attempt=1, request=1, granted=True),
    ChildEnded(task=A, attempt=1, name="child", uid="c", phase="Succeeded"),
]


@pytest.mark.parametrize("said", SAID, ids=repr)
def test_what_is_said_to_an_attempt_is_delivered_while_it_works(said: Answer | ChildEnded) -> None:
    """Neither before it started, nor to another attempt, nor once it was asked to stop."""
    present = life(assign())

    assert life().observe(said) == []
    assert life(assign(A, 2)).observe(said) == []
    assert present.observe(said) == [Deliver((A, 1), said)]
    present.observe(Cancel(task=A, attempt=1, reason="Cancelled"))
    assert present.observe(said) == []


def test_a_task_that_is_given_back_is_reported_with_what_it_took() -> None:
    """Turns and seconds count for its usage; the time to wait, for all that use the credential."""
    limited = Outcome(outcome="GivenBack", reason="RateLimited", retry_after_seconds=30.0, turns=3, seconds=12.5)

    (effect,) = life(assign()).observe(AttemptEnded((A, 1), limited))

    assert isinstance(effect, Send)
    assert isinstance(effect.message, Finished)
    report = effect.message
    assert (report.outcome, report.reason) == ("GivenBack", "RateLimited")
    assert (report.retry_after_seconds, report.turns, report.seconds) == (30.0, 3, 12.5)


def test_reports_are_remembered_within_a_limit() -> None:
    """The oldest go first."""
    present = life()
    for attempt in range(1, MAX_REMEMBERED + 3):
        present.observe(assign(A, attempt))
        present.observe(AttemptEnded((A, attempt), DONE))

    assert len(present.reports) == MAX_REMEMBERED
    assert kinds(present.observe(assign(A, MAX_REMEMBERED + 2))) == [Finished]


EVENTS = st.sampled_from(
    [
        assign(A),
        assign(B),
        assign(A, 2),
        assign(B, incarnation="pod/0"),
        Cancel(task=A, attempt=1, reason="Cancelled"),
        Drain(deadline_seconds=1),
        DrainOverdue(),
        StopSignal(),
        InboxRead(),
        "end",
    ]
)


@given(st.lists(EVENTS, max_size=30))
def test_whatever_comes_no_attempt_starts_twice_and_none_is_lost(events: list[Observation | str]) -> None:
    """Each start is followed by one report, or is given back by `released`, after which nothing happens any more."""
    present = Life(ME, slots=2)
    effects: list[Effect] = []
    for event in events:
        if event == "end" and present.attempts:
            effects += present.observe(AttemptEnded(next(iter(present.attempts)), FAILED))
        elif not isinstance(event, str) and present.phase is not Phase.RELEASED:
            effects += present.observe(event)

    started = [(e.assign.task, e.assign.attempt) for e in effects if isinstance(e, StartAttempt)]
    reported = {
        (e.message.task, e.message.attempt) for e in effects if isinstance(e, Send) and isinstance(e.message, Finished)
    }
    assert len(started) == len(set(started))
    assert set(present.attempts) <= set(started)
    if present.phase is Phase.RELEASED:
        assert not present.attempts
        assert kinds(effects)[-2:] == [Released, Exit]
        assert kinds(effects).count(Released) == 1
    elif present.phase in (Phase.SERVING, Phase.DRAINING):
        assert set(started) <= reported | set(present.attempts)
