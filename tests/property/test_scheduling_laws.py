"""Laws of the queue: who goes next, whatever came in which order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from support.deciding import Ledger, finish, register, start_pool, submit
from support.invariants import check_all
from watchbill_coordination.core.commands import Command, LoseReplica, Rejected
from watchbill_coordination.core.decide import decide_due
from watchbill_coordination.core.events import TaskDispatched
from watchbill_coordination.core.scheduling import AGEING_STEP, build_entry
from watchbill_coordination.core.state import Phase

ARRIVALS = st.lists(
    st.tuples(st.floats(0, 4000), st.sampled_from([0, 1, 250, 500, 999, 1000])), min_size=2, max_size=25
)


def take_all(ledger: Ledger, arrivals: list[tuple[float, int]], done_after: list[int]) -> list[tuple[str, set[str]]]:
    """Submit tasks in that order, ending some attempts in between; return each choice with those it left waiting."""
    choices: list[tuple[str, set[str]]] = []

    def note(events: list[object]) -> None:
        for event in events:
            if isinstance(event, TaskDispatched):
                waiting = {task.uid for task in ledger.state.tasks.values() if task.phase is Phase.QUEUED}
                choices.append((event.task, set(waiting)))

    for number, (gap, priority) in enumerate(arrivals):
        ledger.now += gap
        note([*ledger.do(submit(f"t{number}", priority=priority, timeoutSeconds=10_000_000))])
        if number in done_after and choices:
            note([*ledger.do(finish(choices[-1][0]))])
    while len(choices) < len(arrivals):
        note([*ledger.do(finish(choices[-1][0]))])
    return choices


@settings(max_examples=60, deadline=None)
@given(arrivals=ARRIVALS, done_after=st.lists(st.integers(0, 24), max_size=8))
def test_a_free_slot_takes_the_smallest_key_of_all_that_wait(
    arrivals: list[tuple[float, int]], done_after: list[int]
) -> None:
    """The choice agrees with a look at every waiting task."""
    ledger = start_pool("blue-0")
    ledger.wait(100)

    choices = take_all(ledger, arrivals, done_after)

    def key(uid: str) -> float:
        task = ledger.task(uid)
        assert task.first_queued is not None
        return task.first_queued - task.priority * AGEING_STEP

    assert all(key(chosen) <= min(map(key, waiting), default=key(chosen)) for chosen, waiting in choices)


PRIORITIES = st.lists(st.sampled_from([0, 499, 500, 1000]), min_size=3, max_size=12)
ENDS = st.lists(
    st.tuples(st.sampled_from(["Succeeded", "Failed", "Cancelled", "lost"]), st.integers(0, 40)), max_size=30
)


def do_watched(ledger: Ledger, command: Command) -> None:
    """Do it, and look at each choice that follows: whoever the slot could have taken instead comes later."""
    answer = ledger.decide(command)
    assert not isinstance(answer, Rejected)
    ledger.take_in(*answer)
    while events := decide_due(ledger.state, ledger.now):
        for event in events:
            if isinstance(event, TaskDispatched):
                others = [task for task in ledger.state.tasks.values() if task.phase is Phase.QUEUED]
                could = [task for task in others if task.preferred in (None, event.agent)]
                assert min(could, key=build_entry).uid == event.task
        ledger.take_in(*events)


@settings(max_examples=60, deadline=None)
@given(priorities=PRIORITIES, ends=ENDS)
def test_a_replica_takes_the_smallest_key_of_those_that_prefer_it_and_those_that_prefer_nobody(
    priorities: list[int], ends: list[tuple[str, int]]
) -> None:
    """Preference decides who may take a task, never who goes first."""
    ledger = start_pool("blue-0", "blue-1")
    retry = {"preferSameAgentSeconds": 30, "initialDelaySeconds": 1, "maxRetries": 9}
    for number, priority in enumerate(priorities):
        ledger.do(submit(f"t{number}", priority=priority, retryPolicy=retry if number % 3 else {}))
    for life, (end, pause) in enumerate(ends):
        replica = ledger.replica(f"blue-{life % 2}")
        for attempt in list(replica.attempts.values()):
            who = {"replica": replica.name, "incarnation": replica.incarnation, "attempt": attempt.attempt}
            lost = LoseReplica(agent=replica.name, incarnation="", reason="PodGone")
            do_watched(ledger, lost if end == "lost" else finish(attempt.task, end, **who))
        ledger.now += pause
        do_watched(ledger, register(replica.name, f"life/{life}"))
    check_all(ledger)


@settings(max_examples=60, deadline=None)
@given(arrivals=ARRIVALS)
def test_nobody_is_overtaken_by_one_that_came_an_hour_later(arrivals: list[tuple[float, int]]) -> None:
    """Whatever the priorities: nothing starves."""
    ledger = start_pool("blue-0")
    ledger.wait(100)

    order = [chosen for chosen, _ in take_all(ledger, arrivals, [])]

    since = {uid: ledger.task(uid).first_queued or 0.0 for uid in order}
    for place, earlier in enumerate(order):
        assert all(since[earlier] - since[later] <= 1000 * AGEING_STEP for later in order[place + 1 :])
