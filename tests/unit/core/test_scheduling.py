"""Who goes next, to whom, and with which locks."""

from __future__ import annotations

from typing import Any

import pytest

from support.deciding import Ledger, declare, finish, register, remove, start_pool, submit
from watchbill_coordination.core.events import Event, TaskDispatched
from watchbill_coordination.core.state import Phase


def dispatched(events: list[Event]) -> list[tuple[str, str]]:
    """(task, replica) of each dispatch, in order."""
    return [(event.task, event.agent) for event in events if isinstance(event, TaskDispatched)]


def exclusive(*names: str) -> list[dict[str, str]]:
    """Locks that nobody else may hold."""
    return [{"name": name, "mode": "Exclusive"} for name in names]


def shared(*names: str) -> list[dict[str, str]]:
    """Locks that can be shared."""
    return [{"name": name, "mode": "Shared"} for name in names]


def is_running(ledger: Ledger, *uids: str) -> list[bool]:
    """Which of the tasks run."""
    return [ledger.task(uid).phase is Phase.RUNNING for uid in uids]


def fill(ledger: Ledger, **specs: dict[str, Any]) -> None:
    """Submit tasks one second after another."""
    for uid, spec in specs.items():
        ledger.do(submit(uid, **spec))
        ledger.now += 1


def test_the_eldest_of_equals_goes_first() -> None:
    """First come, first served."""
    ledger = start_pool("blue-0")
    fill(ledger, busy={}, one={}, two={})

    assert dispatched(ledger.do(finish("busy"))) == [("one", "blue-0")]


def test_the_more_important_of_the_fresh_goes_first() -> None:
    """Priority outweighs a few seconds."""
    ledger = start_pool("blue-0")
    fill(ledger, busy={}, low={"priority": 499}, high={"priority": 500})

    assert dispatched(ledger.do(finish("busy"))) == [("high", "blue-0")]


@pytest.mark.parametrize(("head_start", "first"), [(3599, "high"), (3601, "low")])
def test_after_an_hour_priority_0_overtakes_fresh_1000(head_start: float, first: str) -> None:
    """Linear ageing: nothing starves."""
    ledger = start_pool("blue-0")
    ledger.do(submit("busy", timeoutSeconds=100_000))
    ledger.do(submit("low", priority=0))
    ledger.now += head_start
    ledger.do(submit("high", priority=1000))

    assert dispatched(ledger.do(finish("busy")))[0][0] == first


def test_an_amended_priority_gives_another_place() -> None:
    """The queue follows."""
    ledger = start_pool("blue-0")
    fill(ledger, busy={}, one={}, two={})
    ledger.do(submit("two", generation=2, priority=900))

    assert dispatched(ledger.do(finish("busy"))) == [("two", "blue-0")]


def test_a_priority_amended_there_and_back_dispatches_once() -> None:
    """Old places in the queue are dead."""
    ledger = start_pool("blue-0", "blue-1")
    fill(ledger, busy={}, too={}, t={})
    ledger.do(submit("t", generation=2, priority=900))
    ledger.do(submit("t", generation=3, priority=500))

    assert dispatched(ledger.do(finish("busy"))) == [("t", "blue-0")]
    assert dispatched(ledger.do(finish("too", replica="blue-1"))) == []


def test_the_least_busy_replica_gets_the_task() -> None:
    """Work is spread over the pool, the lowest ordinal first."""
    ledger = start_pool("blue-0", "blue-1", slots=2)

    placed = [dispatched(ledger.do(submit(uid)))[0][1] for uid in ("a", "b", "c", "d")]

    assert placed == ["blue-0", "blue-1", "blue-0", "blue-1"]


def test_the_tenth_replica_comes_after_the_second() -> None:
    """Ordinals are numbers, not text."""
    ledger = Ledger()
    ledger.do(declare(replicas=11))
    ledger.do(register("blue-10"))
    ledger.do(register("blue-2"))

    assert dispatched(ledger.do(submit("t"))) == [("t", "blue-2")]


@pytest.mark.parametrize(
    ("route", "taken"),
    [
        ({"type": "search"}, True),
        ({"type": "codegen"}, False),
        ({"type": "", "role": "blue"}, True),
        ({"type": "", "role": "green"}, False),
        ({"type": "", "agentRef": "blue"}, True),
        ({"type": "", "agentRef": "other"}, False),
        ({"type": "codegen", "agentRef": "blue"}, False),
        ({"type": ""}, True),
    ],
)
def test_a_pool_takes_what_its_spec_says(route: dict[str, str], taken: bool) -> None:
    """Type, role and agentRef must all fit."""
    assert bool(dispatched(start_pool("blue-0").do(submit("t", **route)))) is taken


def test_a_task_that_nobody_takes_holds_up_nobody() -> None:
    """Each route has a queue of its own."""
    ledger = start_pool("blue-0")
    ledger.do(submit("nobodys", type="codegen", priority=1000))

    assert dispatched(ledger.do(submit("t"))) == [("t", "blue-0")]


def test_the_best_of_all_routes_of_a_pool_goes_first() -> None:
    """Queues are compared by their tops."""
    ledger = start_pool("blue-0")
    fill(ledger, busy={}, search={}, pattern={"type": "pattern", "priority": 900}, any={"type": ""})

    assert dispatched(ledger.do(finish("busy"))) == [("pattern", "blue-0")]


def test_an_exclusive_lock_has_one_holder() -> None:
    """The second one waits for the slot's end, not for a slot."""
    ledger = start_pool("blue-0", "blue-1")
    fill(ledger, a={"locks": exclusive("x")}, b={"locks": exclusive("x")})

    assert is_running(ledger, "a", "b") == [True, False]
    assert dispatched(ledger.do(finish("a"))) == [("b", "blue-0")]


def test_a_shared_lock_has_many_holders() -> None:
    """Readers do not disturb each other."""
    ledger = start_pool("blue-0", "blue-1")
    fill(ledger, a={"locks": shared("x")}, b={"locks": shared("x")})

    assert is_running(ledger, "a", "b") == [True, True]


def test_a_shared_wish_waits_for_an_exclusive_holder() -> None:
    """A reader must not see half of a change."""
    ledger = start_pool("blue-0", "blue-1")
    fill(ledger, a={"locks": exclusive("x")}, b={"locks": shared("x")})

    assert is_running(ledger, "a", "b") == [True, False]


def test_a_lock_named_twice_counts_in_its_stricter_form() -> None:
    """Nobody gets around a lock by asking for it twice."""
    ledger = start_pool("blue-0", "blue-1")
    fill(ledger, a={"locks": exclusive("x") + shared("x")}, b={"locks": shared("x")})

    assert is_running(ledger, "a", "b") == [True, False]


def test_a_task_that_a_lock_holds_up_blocks_no_other() -> None:
    """The free slot goes to the next one."""
    ledger = start_pool("blue-0", "blue-1")
    fill(ledger, a={"locks": exclusive("x")}, b={"locks": exclusive("x")}, c={})

    assert is_running(ledger, "a", "b", "c") == [True, False, True]


def test_locks_are_granted_all_or_none() -> None:
    """A task that waits for one lock keeps no other from its users."""
    ledger = start_pool("blue-0", "blue-1", "blue-2")
    fill(ledger, a={"locks": exclusive("x")}, both={"locks": exclusive("x", "y")}, c={"locks": exclusive("y")})

    assert is_running(ledger, "a", "both", "c") == [True, False, True]


def test_readers_that_come_later_wait_behind_a_writer() -> None:
    """Otherwise a stream of readers would keep it waiting for ever."""
    ledger = start_pool("blue-0", "blue-1", "blue-2")
    fill(ledger, reader={"locks": shared("x")}, writer={"locks": exclusive("x")}, late={"locks": shared("x")})

    assert is_running(ledger, "reader", "writer", "late") == [True, False, False]
    ledger.do(finish("reader"))
    assert is_running(ledger, "writer", "late") == [True, False]


def test_readers_go_on_when_the_writer_that_waited_is_deleted() -> None:
    """Nobody waits behind one that is gone."""
    ledger = start_pool("blue-0", "blue-1", "blue-2")
    fill(ledger, reader={"locks": shared("x")}, writer={"locks": exclusive("x")}, late={"locks": shared("x")})

    assert dispatched(ledger.do(remove("writer"))) == [("late", "blue-1")]


def test_all_waiting_readers_go_on_together() -> None:
    """Each one that gets the lock lets the next one in."""
    ledger = start_pool("blue-0", "blue-1", "blue-2")
    fill(ledger, writer={"locks": exclusive("x")}, a={"locks": shared("x")}, b={"locks": shared("x")})

    ledger.do(finish("writer"))

    assert is_running(ledger, "a", "b") == [True, True]


def test_a_reader_that_was_queued_for_a_slot_yields_to_a_better_writer() -> None:
    """The writer comes later but is more important, and waits for the lock that a reader holds."""
    ledger = start_pool("blue-0", "blue-1", slots=1)
    ledger.do(declare("green", role="green", taskTypes=["write"]))
    ledger.do(register("green-0"))
    fill(ledger, reader={"locks": shared("x")}, busy={}, late={"locks": shared("x")})
    ledger.do(submit("writer", type="write", priority=1000, locks=exclusive("x")))

    ledger.do(finish("busy", replica="blue-1"))
    assert is_running(ledger, "late", "writer") == [False, False]
    ledger.do(finish("reader"))
    assert is_running(ledger, "late", "writer") == [False, True]


def test_every_grant_has_a_greater_fencing_token() -> None:
    """Whoever guards the resource can tell the newest holder."""
    ledger = start_pool("blue-0")
    ledger.do(submit("a", locks=exclusive("x", "y")))
    first = ledger.task("a").locks
    ledger.do(finish("a"))
    ledger.do(submit("b", locks=exclusive("x")))

    assert sorted(first.values()) == [1, 2]
    assert ledger.task("b").locks == {"x": 3}


def test_the_locks_of_a_deleted_task_are_held_until_its_attempt_is_over() -> None:
    """It may still write."""
    ledger = start_pool("blue-0", "blue-1")
    fill(ledger, a={"locks": exclusive("x")}, b={"locks": exclusive("x")})
    ledger.do(remove("a"))
    assert is_running(ledger, "b") == [False]

    ledger.do(finish("a", "Cancelled"))

    assert is_running(ledger, "b") == [True]


def test_a_writer_that_nobody_can_run_keeps_no_reader_waiting() -> None:
    """A misspelt agentRef must not slow down those who share the lock."""
    ledger = start_pool("blue-0", "blue-1")
    nobodys = {"agentRef": "violet", "priority": 1000, "locks": exclusive("x")}
    fill(ledger, first={"locks": shared("x")}, writer=nobodys, late={"locks": shared("x")})

    assert is_running(ledger, "first", "writer", "late") == [True, False, True]


def start_two_pools() -> Ledger:
    """Two blue slots for `search` and a green one for `write`."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(declare("green", role="green", taskTypes=["write"]))
    ledger.do(register("green-0"))
    return ledger


def test_one_that_is_set_aside_for_another_lock_lets_the_next_one_at_the_first() -> None:
    """A task between two locks keeps nobody from the one that is free."""
    ledger = start_two_pools()
    fill(ledger, holder={"type": "write", "locks": exclusive("x")}, a={}, b={"timeoutSeconds": 9})
    fill(ledger, both={"locks": exclusive("x", "y")}, next={"locks": exclusive("x")})
    fill(ledger, writer={"type": "write", "locks": exclusive("y")})

    ledger.do(finish("holder", replica="green-0"))
    assert is_running(ledger, "writer", "both", "next") == [True, False, False]

    ledger.do(finish("a"))
    assert is_running(ledger, "both", "next") == [False, True]


def test_a_writer_set_aside_by_a_reader_of_another_pool_stops_later_readers() -> None:
    """Whichever queue is looked at first."""
    ledger = start_two_pools()
    ledger.do(declare("red", role="red", taskTypes=["review"]))
    ledger.do(register("red-0"))
    fill(ledger, a={}, b={}, busy={"type": "write"}, review={"type": "review"})
    fill(ledger, late={"locks": shared("x")}, writer={"type": "write", "priority": 1000, "locks": exclusive("x")})
    fill(ledger, first={"type": "review", "locks": shared("x")})
    ledger.do(finish("review", replica="red-0"))
    assert is_running(ledger, "first", "writer", "late") == [True, False, False]

    ledger.do(finish("a"))

    assert is_running(ledger, "late") == [False]


def test_a_writer_that_moves_on_to_its_second_lock_stops_later_readers_there() -> None:
    """Its claim moves with it."""
    ledger = start_two_pools()
    fill(ledger, first={"type": "write", "locks": shared("y")}, holder={"locks": exclusive("x")}, b={})
    fill(ledger, writer={"priority": 1000, "locks": exclusive("x", "y")})
    fill(ledger, late={"type": "pattern", "locks": shared("y")})

    ledger.do(finish("holder"))

    assert is_running(ledger, "first", "writer", "late") == [True, False, False]
