"""Which status patch goes first, and which is never sent."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_operator.api import AGENTS, TASKS, ApiError, ConflictError, RefusedError, Request, UnavailableError
from watchbill_operator.patching import (
    CROWD,
    CROWDED_SECONDS,
    POOL_SPACING_SECONDS,
    SETTLE_SECONDS,
    Patcher,
    PatchQueue,
    Rank,
    Target,
    build_patch,
    is_fence,
)

NOW = 1000.0
LATER = NOW + 60.0


def target(name: str = "a") -> Target:
    """A Task."""
    return Target(TASKS, name, f"uid-{name}")


def crowded_queue() -> PatchQueue:
    """A queue of queued tasks, as many as make a crowd."""
    queue = PatchQueue()
    for number in range(CROWD):
        queue.offer(target(str(number)), Rank.WAITING, NOW)
    return queue


def test_the_end_of_a_task_is_told_at_once() -> None:
    """Nothing is waited for."""
    queue = PatchQueue()
    queue.offer(target(), Rank.ENDED, NOW)

    assert queue.take(NOW) == target()


def test_a_task_that_starts_soon_costs_no_queued_patch() -> None:
    """The offer of the Running patch takes the place of the other."""
    queue = PatchQueue()
    queue.offer(target(), Rank.WAITING, NOW)
    queue.offer(target(), Rank.RUNNING, NOW + 0.5)

    assert queue.take(NOW + 0.5 + SETTLE_SECONDS[Rank.RUNNING]) == target()
    queue.done(target(), LATER)
    assert queue.take(LATER) is None


def test_a_task_that_ends_soon_costs_no_running_patch() -> None:
    """Only one patch is left of three offers."""
    queue = PatchQueue()
    for rank in (Rank.WAITING, Rank.RUNNING, Rank.ENDED):
        queue.offer(target(), rank, NOW)

    assert queue.take(NOW) == target()
    queue.done(target(), NOW)
    assert queue.take(LATER) is None


def test_a_queued_task_is_told_of_soon_while_it_is_quiet() -> None:
    """A second is enough to see whether it starts."""
    queue = PatchQueue()
    queue.offer(target(), Rank.WAITING, NOW)

    assert queue.take(NOW + SETTLE_SECONDS[Rank.WAITING] - 0.01) is None
    assert queue.take(NOW + SETTLE_SECONDS[Rank.WAITING]) == target()


def test_in_a_crowd_queued_tasks_wait_their_thirty_seconds() -> None:
    """Writing that a task waits is not worth it while a hundred others wait to be written."""
    queue = crowded_queue()

    assert queue.take(NOW + CROWDED_SECONDS[Rank.WAITING] - 0.01) is None
    assert queue.take(NOW + CROWDED_SECONDS[Rank.WAITING]) == target("0")


def test_in_a_crowd_an_end_overtakes_everybody() -> None:
    """The last patch of a task never waits behind others."""
    queue = crowded_queue()
    queue.offer(target("ended"), Rank.ENDED, NOW)

    assert queue.take(NOW) == target("ended")


def test_a_second_offer_does_not_make_a_patch_younger() -> None:
    """Otherwise a task whose reason changes often would never be told of."""
    queue = PatchQueue()
    queue.offer(target(), Rank.WAITING, NOW)
    queue.offer(target(), Rank.WAITING, NOW + 0.9)

    assert queue.next_due() == NOW + SETTLE_SECONDS[Rank.WAITING]


def test_of_one_object_only_one_patch_is_under_way() -> None:
    """What is offered meanwhile goes when the first has come back."""
    queue = PatchQueue()
    queue.offer(target(), Rank.ENDED, NOW)
    queue.take(NOW)
    queue.offer(target(), Rank.ENDED, NOW)

    assert queue.take(LATER) is None
    queue.done(target(), LATER)
    assert queue.take(LATER) == target()


def test_patches_of_one_agent_keep_a_distance() -> None:
    """Its counts change with every dispatch; once a second is enough."""
    queue = PatchQueue()
    agent = Target(AGENTS, "blue", "uid-blue")
    queue.space(agent, NOW)
    queue.offer(agent, Rank.POOL, NOW)

    assert queue.next_due() == NOW + POOL_SPACING_SECONDS


def test_a_withdrawn_object_is_not_patched() -> None:
    """It is gone."""
    queue = PatchQueue()
    queue.offer(target(), Rank.ENDED, NOW)
    queue.withdraw(target())

    assert queue.take(LATER) is None
    assert queue.next_due() is None


def test_a_patch_names_the_uid_of_its_object() -> None:
    """So it cannot hit another object of the same name."""
    request = build_patch(target(), {"phase": "Running"})

    assert request.body == {"metadata": {"uid": "uid-a"}, "status": {"phase": "Running"}}
    assert request.path == "tasks/a/status"


def test_the_servers_words_for_a_deposed_operator_are_known() -> None:
    """They stand in the CRDs."""
    said = 'Task "a" is invalid: status: Invalid value: "object": epoch never goes down: this write comes from …'

    assert is_fence(said)
    assert not is_fence('Task "a" is invalid: status.phase: Unsupported value: "Happy"')


STEPS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from([*Rank, "take", "done"]), st.floats(0, 5)), max_size=60
)


@given(STEPS)
def test_every_offer_is_followed_by_a_patch_that_is_built_after_it(
    steps: list[tuple[str, Rank | str, float]],
) -> None:
    """Whatever the order of offers and answers, in the end nothing that changed is left unsent."""
    queue = PatchQueue()
    now, unsent = NOW, set[str]()
    for name, step, seconds in steps:
        now += seconds
        if isinstance(step, Rank):
            queue.offer(target(name), step, now)
            unsent.add(name)
        elif step == "take" and (taken := queue.take(now)):
            unsent.discard(taken.name)
        elif step == "done" and queue.under_way:
            queue.done(next(iter(queue.under_way)), now)
    for under_way in list(queue.under_way):
        queue.done(under_way, now)
    while taken := queue.take(now + CROWDED_SECONDS[Rank.WAITING] + 1):
        unsent.discard(taken.name)
        queue.done(taken, now)

    assert unsent == set()


@pytest.mark.parametrize("kind", [UnavailableError, RefusedError, ConflictError])
def test_a_patch_that_did_not_get_there_is_told(kind: type[ApiError]) -> None:
    """Or the same status would be taken for sent, and never be sent again."""

    class Refusing:
        """An API that answers each request with that error."""

        async def send(self, request: Request, *, attempts: int) -> None:
            """Refuse."""
            raise kind(0, request.path)

    async def run() -> list[Target]:
        settled, told = asyncio.Event(), asyncio.Event()
        settled.set()
        failed: list[Target] = []
        patcher = Patcher(cast("Any", Refusing()), lambda _: {}, settled, epoch=1, on_fence=lambda said: None)
        patcher.failed = lambda target: (failed.append(target), told.set())[0]
        patcher.offer(target(), Rank.ENDED)
        running = asyncio.create_task(patcher.run())
        await asyncio.wait_for(told.wait(), 10)
        running.cancel()
        return failed

    assert asyncio.run(run()) == [target()]


def test_progress_is_told_at_most_once_in_a_while() -> None:
    """However often a task says how far it is."""
    queue = PatchQueue()
    for moment in range(5):
        queue.offer(target(), Rank.PROGRESS, NOW + moment)

    assert queue.take(NOW + SETTLE_SECONDS[Rank.PROGRESS] - 0.1) is None
    assert queue.take(NOW + SETTLE_SECONDS[Rank.PROGRESS]) == target()


def test_progress_does_not_put_off_another_patch() -> None:
    """That a task runs is told as soon as before."""
    queue = PatchQueue()
    queue.offer(target(), Rank.RUNNING, NOW)
    queue.offer(target(), Rank.PROGRESS, NOW)

    assert queue.take(NOW + SETTLE_SECONDS[Rank.RUNNING]) == target()


def test_progress_does_not_put_off_what_came_while_a_patch_was_under_way() -> None:
    """The end of a task goes before all."""
    queue = PatchQueue()
    queue.offer(target(), Rank.RUNNING, NOW)
    queue.take(LATER)
    queue.offer(target(), Rank.ENDED, LATER)
    queue.offer(target(), Rank.PROGRESS, LATER)
    queue.done(target(), LATER)

    assert queue.take(LATER) == target()


def test_in_a_crowd_progress_is_not_told() -> None:
    """The patches of others are worth more."""
    queue = crowded_queue()
    queue.offer(target("busy"), Rank.PROGRESS, NOW)

    assert target("busy") not in queue.waiting
