"""The small parts that the rules stand on: backoff, heaps, names, copies."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_coordination.core.copying import change
from watchbill_coordination.core.heaps import SMALL, LazyHeap
from watchbill_coordination.core.retry import build_delay, spread
from watchbill_coordination.core.specs import (
    AgentSpec,
    RetryPolicy,
    TaskUid,
    build_agent_record,
    parse_agent_spec,
    parse_replica_name,
    parse_task_spec,
)

T = TaskUid("t")


@given(retries=st.integers(0, 10_000), multiplier=st.floats(1, 1e6), initial=st.floats(0, 3600))
def test_a_delay_is_never_negative_nor_far_over_its_bound(retries: int, multiplier: float, initial: float) -> None:
    """However often it failed, and whatever the policy says."""
    policy = RetryPolicy(initial_delay_seconds=initial, backoff_multiplier=multiplier, max_delay_seconds=300)

    assert 0 <= build_delay(policy, T, attempt=retries + 1, retries=retries) <= 300 * 1.2


def test_delays_grow_by_the_multiplier() -> None:
    """Within the spread of a fifth."""
    policy = RetryPolicy(initial_delay_seconds=10, backoff_multiplier=2, max_delay_seconds=1000)

    delays = [build_delay(policy, T, attempt=1, retries=retries) for retries in range(4)]

    assert delays == pytest.approx([delays[0] * factor for factor in (1, 2, 4, 8)])


@given(attempt=st.integers(1, 1000))
def test_a_spread_is_the_same_on_every_replay(attempt: int) -> None:
    """It looks random and is not."""
    assert -1 <= spread(T, attempt) < 1
    assert spread(T, attempt) == spread(T, attempt)


def test_tasks_that_failed_together_do_not_come_back_together() -> None:
    """Otherwise they would meet again at each attempt."""
    delays = {build_delay(RetryPolicy(), TaskUid(f"t{n}"), attempt=1, retries=0) for n in range(100)}

    assert len(delays) == 100
    assert max(delays) - min(delays) > 1.5


@given(operations=st.lists(st.tuples(st.sampled_from(["push", "kill", "pop"]), st.integers(0, 300)), max_size=400))
def test_a_lazy_heap_agrees_with_a_sorted_list_of_the_living(operations: list[tuple[str, int]]) -> None:
    """The slow twin forgets the dead at once."""
    heap: LazyHeap[tuple[int]] = LazyHeap()
    living: set[int] = set()
    for what, number in operations:
        if what == "push" and number not in living:
            living.add(number)
            heap.push((number,), lambda item: item[0] in living)
        elif what == "kill":
            living.discard(number)
        elif what == "pop" and heap.settle(lambda item: item[0] in living) is not None:
            living.discard(heap.pop()[0])
        top = heap.settle(lambda item: item[0] in living)
        assert top == ((min(living),) if living else None)


@given(items=st.lists(st.integers(0, 100)), bound=st.integers(0, 100))
def test_up_to_yields_exactly_what_is_not_above_the_bound(items: list[int], bound: int) -> None:
    """Without looking at the rest."""
    heap: LazyHeap[tuple[int]] = LazyHeap()
    for item in items:
        heap.push((item,), lambda _: True)

    assert sorted(found for (found,) in heap.up_to((bound,))) == sorted(item for item in items if item <= bound)


def test_dead_items_do_not_pile_up() -> None:
    """A heap whose items die before they come to the top stays small."""
    heap: LazyHeap[tuple[int]] = LazyHeap()
    for number in range(10_000):
        heap.push((number,), lambda item, newest=number: item[0] == newest or item[0] == 0)  # type: ignore[misc]

    assert len(heap) <= 2 * SMALL


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("blue-0", ("blue", 0)),
        ("my-blue-12", ("my-blue", 12)),
        ("blue", None),
        ("-1", None),
        ("blue-", None),
        ("blue-01", None),
        ("blue-x", None),
        ("blue-²", None),
        ("", None),
    ],
)
def test_a_replica_name_is_a_pool_and_an_ordinal(name: str, parsed: tuple[str, int] | None) -> None:
    """Anything else is no replica."""
    assert parse_replica_name(name) == parsed


@given(
    spec=st.builds(
        AgentSpec,
        role=st.sampled_from(["blue", "violet"]),
        replicas=st.integers(0, 100),
        tasks_per_replica=st.integers(1, 8),
        task_types=st.lists(st.sampled_from(["search", "fix"]), unique=True).map(tuple),
        suspend=st.booleans(),
        drain_seconds=st.floats(0, 1000),
    )
)
def test_the_recorded_form_of_an_agent_reads_back(spec: AgentSpec) -> None:
    """What is decided from the log is what was decided from the object."""
    assert parse_agent_spec(build_agent_record(spec)) == spec


def test_an_empty_task_spec_gets_every_default() -> None:
    """A log from before a field existed can be read."""
    spec = parse_task_spec({})

    assert (spec.priority, spec.timeout_seconds, spec.retry, spec.locks) == (500, 3600.0, RetryPolicy(), ())


def test_a_changed_copy_is_what_replace_makes() -> None:
    """The shortcut does the same, faster."""
    policy = RetryPolicy()

    assert change(policy, max_retries=7) == replace(policy, max_retries=7)
    assert policy == RetryPolicy()


def test_a_copy_with_an_unknown_field_is_refused() -> None:
    """A misspelt field must not vanish."""
    with pytest.raises(KeyError):
        change(RetryPolicy(), retries=1)
