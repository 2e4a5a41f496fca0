"""Laws of the queue: who goes next, whatever came in which order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from support.deciding import Ledger, finish, start_pool, submit
from watchbill_coordination.core.events import TaskDispatched
from watchbill_coordination.core.scheduling import AGEING_STEP
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
