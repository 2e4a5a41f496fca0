"""Whatever dies or comes twice: an attempt is told one thing, a lock has one owner, an order leads to one Task."""

from __future__ import annotations

from collections import Counter

import pytest

from support.asking_fleet import AskingFleet, count_children
from support.asking_rules import check_conversations
from support.invariants import check_all, check_replay
from support.lock_history import check_lock_history
from watchbill_coordination.core.events import TaskDeleted, TaskSubmitted
from watchbill_coordination.core.working_events import ChildRequested

SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_conversations_survive_the_trouble(seed: int) -> None:
    """Crashes, restarts, late and repeated messages and new operators change no answer and lose no order."""
    fleet = AskingFleet(seed)
    for _ in range(20):
        fleet.live_through(5)
        check_all(fleet.ledger)
        check_conversations(fleet.ledger)

    fleet.come_to_rest()

    check_replay(fleet.ledger)
    check_lock_history(fleet.ledger)
    assert fleet.ledger.state.locks == {}
    assert fleet.ledger.state.children == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_each_order_leads_to_one_task_or_a_refusal(seed: int) -> None:
    """Unless its parent was deleted first."""
    fleet = AskingFleet(seed)
    fleet.live_through(100)
    fleet.come_to_rest()

    events = [recorded.event for recorded in fleet.ledger.records]
    orders = {event.name: event.task for event in events if isinstance(event, ChildRequested)}
    submitted = Counter(event.name for event in events if isinstance(event, TaskSubmitted) and event.name in orders)
    deleted = {event.task for event in events if isinstance(event, TaskDeleted)}
    counts = count_children(fleet)
    orphans = [name for name, parent in orders.items() if parent in deleted]
    assert set(submitted.values()) == {1}
    assert counts["created"] + counts["refused"] >= counts["requested"] - len(orphans)
    assert counts["created"] > 0, "this seed shows nothing"


def test_in_a_quiet_fleet_every_request_is_answered() -> None:
    """Nothing is lost where nothing goes wrong, as long as the attempt lives to hear it."""
    fleet = AskingFleet(1, trouble=0.0)
    for _ in range(60):
        fleet.create()
        fleet.tick()
    answered = sum(len(conversation.told) for conversation in fleet.conversations.values())
    asked = sum(conversation.asked for conversation in fleet.conversations.values())

    assert answered > 0.7 * asked
    for conversation in fleet.conversations.values():
        missing = set(range(1, conversation.asked + 1)) - conversation.told.keys()
        assert all(number > conversation.asked - 2 for number in missing), (missing, conversation.asked)
