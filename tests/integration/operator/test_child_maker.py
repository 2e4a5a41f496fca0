"""Making the Tasks that attempts ask for, on a real API server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from support.api_server import ApiServer
from support.operator_process import TASKS, task
from watchbill_coordination.core.commands import Command, SettleChild
from watchbill_coordination.core.requests import ChildOrder
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.state import State
from watchbill_operator.api import Api, connector
from watchbill_operator.children import ChildMaker, ChildWiring, build_child
from watchbill_operator.observations import Observation

NAME = "search-0123abcd"
ORDER = ChildOrder(
    parent=TaskUid("uid-1"),
    parent_name="plan",
    agent=ReplicaName("blue-0"),
    attempt=1,
    request=1,
    spec={"prompt": "look there", "agentRef": "nobody"},
)
DEADLINE_SECONDS = 30.0


@dataclass
class Answers:
    """What came of the wishes."""

    state: State
    settled: list[SettleChild] = field(default_factory=list)
    seen: list[Observation] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, command: Command) -> None:
        """As the loop does: the wish is recorded as settled."""
        assert isinstance(command, SettleChild)
        self.settled.append(command)
        self.state.children.pop(command.name, None)
        self.changed.set()


def settle(
    server: ApiServer, *, is_deposed: Callable[[], bool] = lambda: False, order: ChildOrder = ORDER
) -> tuple[list[SettleChild], list[Observation]]:
    """Run a maker with one wish until it is settled, or deposed; what it said and saw."""

    async def run() -> Answers:
        answers = Answers(State(children={NAME: order}))
        durable = asyncio.Event()
        durable.set()
        api = Api(connector(server.kubeconfig), "default")

        def look() -> bool:
            if is_deposed():
                answers.changed.set()
                return True
            return False

        wiring = ChildWiring(answers.take, answers.seen.append, durable, look)
        making = asyncio.create_task(ChildMaker(api, answers.state, wiring).run())
        async with asyncio.timeout(DEADLINE_SECONDS):
            await answers.changed.wait()
        making.cancel()
        await asyncio.wait([making])
        api.close()
        return answers

    answers = asyncio.run(run())
    return answers.settled, answers.seen


def uid(server: ApiServer) -> str:
    """The Task's uid as the server has it."""
    return str(server.get(f"{TASKS}/{NAME}")["metadata"]["uid"])


def test_a_wish_becomes_a_task(server: ApiServer) -> None:
    """Which is seen at once, and not only when a watch brings it."""
    [settled], [seen] = settle(server)

    assert settled == SettleChild(name=NAME, uid=uid(server))
    assert seen.uid == settled.uid


def test_a_task_that_is_there_already_is_the_one(server: ApiServer) -> None:
    """An operator before us made it and died."""
    server.create(TASKS, build_child(NAME, ORDER, "default"))
    [settled], _ = settle(server)

    assert settled == SettleChild(name=NAME, uid=uid(server))


def test_somebody_elses_task_of_that_name_is_not(server: ApiServer) -> None:
    """The wish is refused; nothing of that Task is touched."""
    server.create(TASKS, task(NAME))
    [settled], seen = settle(server)

    assert settled.uid == ""
    assert NAME in settled.message
    assert seen == []


def test_what_the_schema_forbids_is_refused_in_the_servers_words(server: ApiServer) -> None:
    """The attempt that asked is told them."""
    spec: dict[str, Any] = {"prompt": "x", "agentRef": "nobody", "priority": 5000}
    [settled], _ = settle(server, order=replace(ORDER, spec=spec))

    assert settled.uid == ""
    assert "priority" in settled.message


def test_an_api_that_is_away_puts_a_wish_off(server: ApiServer) -> None:
    """It is made when the server is back."""
    looks = 0

    def start_at_the_second_look() -> bool:
        nonlocal looks
        looks += 1
        if looks == 2:
            server.start()
        return False

    server.stop(signal.SIGKILL)
    [settled], _ = settle(server, is_deposed=start_at_the_second_look)

    assert looks == 2
    assert settled.uid == uid(server)


def test_an_operator_that_was_deposed_makes_nothing(server: ApiServer) -> None:
    """Its successor does."""
    settled, _ = settle(server, is_deposed=lambda: True)

    assert settled == []
    assert not server.exists(f"{TASKS}/{NAME}")
