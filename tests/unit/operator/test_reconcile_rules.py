"""What a LIST proves to be gone."""

from __future__ import annotations

from watchbill_coordination.core.commands import RemoveAgent, RemoveTask
from watchbill_operator.observations import Observation
from watchbill_operator.reconcile import Known, Listing, plan_removals


def listing(**uids: str) -> Listing:
    """A LIST with one Task and one Agent of these uids."""
    kinds = {"task": "Task", "agent": "Agent"}
    found = [
        Observation(kinds[kind], {"metadata": {"name": "a", "uid": uid}, "status": {"epoch": 3}})
        for kind, uid in uids.items()
    ]
    result = Listing()
    for observation in found:
        result.note(observation)
    return result


def test_what_the_log_knew_and_the_api_has_not_is_gone() -> None:
    """It was deleted while nobody looked."""
    known = Known(frozenset({"t1", "t2"}), {"blue": "a1"})

    assert plan_removals(known, listing(task="t2")) == [RemoveTask(task="t1"), RemoveAgent(agent="blue", uid="a1")]


def test_what_was_made_after_the_list_began_is_not_missed() -> None:
    """The log did not know it then."""
    assert plan_removals(Known(frozenset(), {}), listing()) == []


def test_an_agent_of_the_same_name_is_another_one() -> None:
    """The uid counts."""
    known = Known(frozenset(), {"a": "old"})

    assert plan_removals(known, listing(agent="new")) == [RemoveAgent(agent="a", uid="old")]


def test_the_highest_epoch_of_all_statuses_is_the_floor() -> None:
    """A volume that was replaced must not begin at 1 again."""
    assert listing(task="t1", agent="a1").highest_epoch == 3
    assert Listing().highest_epoch == 0
