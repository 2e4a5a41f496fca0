"""The conversation of an attempt with the operator, without the files between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchbill_agent import exchange as exchange_module
from watchbill_agent.exchange import AttemptExchange, AttemptStopped, NoAnswer, TooManyRequests
from watchbill_coordination.core.messages import (
    Answer,
    ChildEnded,
    ChildSubmitted,
    LockRequested,
    Message,
    Progress,
)
from watchbill_coordination.core.specs import TaskUid

TASK = TaskUid("t")
WHO: dict[str, Any] = {"incarnation": "pod/1", "task": TASK, "attempt": 1}
SOON = 0.02  #: seconds that a request waits where none is answered


def lock(name: str) -> Callable[[int], Message]:
    return lambda number: LockRequested(**WHO, request=number, name=name)


def child(name: str = "child", prompt: str = "do it") -> Callable[[int], Message]:
    return lambda number: ChildSubmitted(**WHO, request=number, name=name, spec={"prompt": prompt})


def answer(number: int, *, granted: bool = True, name: str = "") -> Answer:
    return Answer(task=TASK, attempt=1, request=number, granted=granted, name=name)


def tell(text: str) -> Progress:
    return Progress(**WHO, text=text)


@settings(deadline=None)
@given(st.permutations(range(1, 7)))
def test_an_answer_goes_to_the_request_of_its_number(order: list[int]) -> None:
    """In whatever order the answers come."""

    async def converse() -> list[Answer]:
        exchange = AttemptExchange(lambda _: None)
        asking = [asyncio.create_task(exchange.ask(lock(f"lock-{n}"))) for n in range(1, 7)]
        await asyncio.sleep(0)
        for number in order:
            exchange.deliver(answer(number, name=f"lock-{number}"))
        return await asyncio.gather(*asking)

    assert [answered.name for answered in asyncio.run(converse())] == [f"lock-{n}" for n in range(1, 7)]


def test_requests_are_posted_in_their_order_with_growing_numbers() -> None:
    """From 1."""
    posted: list[Any] = []

    async def converse() -> None:
        exchange = AttemptExchange(posted.append)
        for name in ("a", "b"):
            asyncio.get_running_loop().call_soon(exchange.deliver, answer(len(posted) + 1))
            await exchange.ask(lock(name))

    asyncio.run(converse())
    assert [(request.request, request.name) for request in posted] == [(1, "a"), (2, "b")]


def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    """A repeated one, and one of a number that was never used."""

    async def converse() -> Answer:
        exchange = AttemptExchange(lambda _: None)
        exchange.deliver(answer(1, granted=False))
        asking = asyncio.create_task(exchange.ask(lock("a")))
        await asyncio.sleep(0)
        exchange.deliver(answer(1))
        exchange.deliver(answer(1, granted=False))
        return await asking

    assert asyncio.run(converse()).granted


def test_a_request_that_is_not_answered_ends() -> None:
    """Its file may be lost, or the operator away for long."""
    with pytest.raises(NoAnswer):
        asyncio.run(AttemptExchange(lambda _: None, answer_seconds=SOON).ask(lock("a")))


def test_whoever_waits_is_told_when_the_attempt_is_to_end() -> None:
    """And whoever asks afterwards."""

    async def converse() -> list[BaseException | Answer]:
        exchange = AttemptExchange(lambda _: None)
        asking = asyncio.create_task(exchange.ask(lock("a")))
        await asyncio.sleep(0)
        exchange.close()
        return await asyncio.gather(asking, exchange.ask(lock("b")), return_exceptions=True)

    assert [type(end) for end in asyncio.run(converse())] == [AttemptStopped, AttemptStopped]


def test_an_attempt_asks_so_often_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator would not answer a higher number."""
    monkeypatch.setattr(exchange_module, "MAX_REQUESTS", 2)
    posted: list[Any] = []

    async def converse() -> None:
        exchange = AttemptExchange(posted.append)
        for _ in range(3):
            asyncio.get_running_loop().call_soon(exchange.deliver, answer(len(posted) + 1))
            await exchange.ask(lock("a"))

    with pytest.raises(TooManyRequests):
        asyncio.run(converse())
    assert len(posted) == 2


def test_a_submission_that_was_not_answered_keeps_its_number() -> None:
    """So the operator does not create the Task twice, whatever became of the first request."""
    posted: list[Any] = []

    async def converse() -> Answer:
        exchange = AttemptExchange(posted.append, answer_seconds=SOON)
        with pytest.raises(NoAnswer):
            await exchange.ask(child())
        with pytest.raises(NoAnswer):
            await exchange.ask(child(prompt="something else"))
        asyncio.get_running_loop().call_soon(exchange.deliver, answer(1, name="child-1"))
        return await exchange.ask(child())

    assert asyncio.run(converse()).name == "child-1"
    assert [request.request for request in posted] == [1, 2, 1]


def test_the_late_answer_to_a_submission_is_kept_for_who_asks_again() -> None:
    """The operator does not say it a second time."""
    posted: list[Any] = []

    async def converse() -> Answer:
        exchange = AttemptExchange(posted.append, answer_seconds=SOON)
        with pytest.raises(NoAnswer):
            await exchange.ask(child())
        exchange.deliver(answer(1, name="child-1"))
        assert dict(exchange.children()) == {"child-1": None}
        return await exchange.ask(child())

    assert asyncio.run(converse()).name == "child-1"
    assert len(posted) == 1


def test_an_answer_that_comes_while_its_time_ends_is_not_lost() -> None:
    """Between the moment in which the request is given up and the one in which its sender knows."""

    async def converse() -> Answer:
        exchange = AttemptExchange(lambda _: None)
        asking = asyncio.create_task(exchange.ask(child()))
        await asyncio.sleep(0)
        asking.cancel()
        exchange.deliver(answer(1, name="child-1"))
        await asyncio.wait({asking})
        return await exchange.ask(child())

    assert asyncio.run(converse()).name == "child-1"


def test_a_late_answer_is_given_once() -> None:
    """Whoever submits the same after that wants another Task."""
    posted: list[Any] = []

    async def converse() -> None:
        exchange = AttemptExchange(posted.append, answer_seconds=SOON)
        with pytest.raises(NoAnswer):
            await exchange.ask(child())
        exchange.deliver(answer(1, name="child-1"))
        await exchange.ask(child())
        with pytest.raises(NoAnswer):
            await exchange.ask(child())

    asyncio.run(converse())
    assert [request.request for request in posted] == [1, 2]


def test_the_same_submission_after_an_answer_is_another_one() -> None:
    """Whoever submits the same twice wants two Tasks."""
    posted: list[Any] = []

    async def converse() -> None:
        exchange = AttemptExchange(posted.append)
        for number in (1, 2):
            asyncio.get_running_loop().call_soon(exchange.deliver, answer(number, name=f"child-{number}"))
            await exchange.ask(child())
        assert dict(exchange.children()) == {"child-1": None, "child-2": None}

    asyncio.run(converse())
    assert [request.request for request in posted] == [1, 2]


def test_a_refused_submission_leaves_no_child() -> None:
    """There is no result to ask for."""

    async def converse() -> int:
        exchange = AttemptExchange(lambda _: None)
        asyncio.get_running_loop().call_soon(exchange.deliver, answer(1, granted=False, name="child-1"))
        await exchange.ask(child())
        return len(exchange.children())

    assert asyncio.run(converse()) == 0


def test_the_tasks_of_earlier_attempts_are_known() -> None:
    """They run on, whatever became of the attempt that submitted them."""
    exchange = AttemptExchange(lambda _: None, children=["child-1"])
    assert dict(exchange.children()) == {"child-1": None}

    ended = ChildEnded(task=TASK, attempt=1, name="child-1", uid="u", phase="Failed")
    exchange.deliver(ended)
    assert dict(exchange.children()) == {"child-1": ended}


def test_the_first_end_of_a_child_counts() -> None:
    """Delivery is at least once, and a Task that succeeded may be deleted later."""
    exchange = AttemptExchange(lambda _: None)
    for phase in ("Succeeded", "Succeeded", "Deleted"):
        exchange.deliver(ChildEnded(task=TASK, attempt=1, name="child-1", uid="u", phase=phase))

    ended = exchange.children()["child-1"]
    assert ended is not None
    assert ended.phase == "Succeeded"


def test_of_progress_that_comes_too_fast_the_newest_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first at once, then the newest after a pause."""
    monkeypatch.setattr(exchange_module, "TELL_SECONDS", SOON)
    posted: list[Any] = []

    async def converse() -> None:
        last = asyncio.Event()

        def post(message: Any) -> None:
            posted.append(message)
            if message.text == "c":
                last.set()

        exchange = AttemptExchange(post)
        for text in ("a", "b", "c"):
            exchange.tell(tell(text))
        async with asyncio.timeout(20):
            await last.wait()

    asyncio.run(converse())
    assert [message.text for message in posted] == ["a", "c"]


def test_progress_ends_with_the_attempt() -> None:
    """What waits for its turn is not sent any more."""
    posted: list[Any] = []

    async def converse() -> None:
        exchange = AttemptExchange(posted.append)
        exchange.tell(tell("a"))
        exchange.tell(tell("b"))
        exchange.close()
        exchange.close()
        exchange.tell(tell("c"))

    asyncio.run(converse())
    assert [message.text for message in posted] == ["a"]
