"""Tasks that attempts submit while they work."""

from __future__ import annotations

import hashlib

import pytest

from support.asking import answers, ask_child, ask_lock, endings, return_lock, settle
from support.deciding import Ledger, accept, finish, names, remove, start_pool, submit
from watchbill_coordination.core.assignments import pending_messages
from watchbill_coordination.core.children import name_child
from watchbill_coordination.core.commands import Rejected, SubmitTask
from watchbill_coordination.core.messages import Assign
from watchbill_coordination.core.requests import KEPT_CHILDREN, MAX_CHILDREN
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.core.working_events import ChildCreated, ChildRefused, ChildRequested

CHILD = name_child(TaskUid("t"), 1, 1, "part")


def work(**spec: object) -> Ledger:
    """Task t runs on blue-0; blue-1 is free."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t", **spec))
    ledger.do(accept("t"))
    return ledger


def see(uid: str, name: str = CHILD, parent: str = "t", **spec: object) -> SubmitTask:
    """The watch shows the Task that an attempt had asked for."""
    raw = {"type": "search", "prompt": "do a part", **spec}
    return SubmitTask(task=TaskUid(uid), name=name, spec=raw, generation=1, parent=parent)


def refusal(ledger: Ledger, **spec: object) -> str:
    """What is said of such a Task."""
    (event,) = ledger.do(ask_child("t", **spec))
    assert isinstance(event, ChildRefused), event
    return event.message


def test_a_submitted_task_is_to_be_created_under_a_name_of_its_own() -> None:
    """The answer comes when the API server has it."""
    ledger = work()

    (event,) = ledger.do(ask_child("t"))

    assert isinstance(event, ChildRequested)
    digest = hashlib.sha256(b"t/1/1").hexdigest()[:8]
    assert event.name == CHILD == f"part-{digest}"
    assert list(ledger.state.children) == [CHILD]
    assert ledger.state.children[CHILD].spec == {"prompt": "do a part", "type": "search", "priority": 500}
    assert answers(ledger) == {}


def test_the_same_submission_makes_one_task() -> None:
    """Before and after it is answered."""
    ledger = work()
    ledger.do(ask_child("t"))

    assert ledger.do(ask_child("t")) == []
    ledger.do(settle(CHILD, "c"))
    assert ledger.do(ask_child("t")) == []


def test_a_number_whose_answer_is_to_come_is_taken() -> None:
    """Another request of that number would have two answers."""
    ledger = work()
    ledger.do(ask_child("t"))

    assert ledger.do(ask_lock("t", request=1)) == []
    assert ledger.do(return_lock("t", request=1)) == []


def test_a_created_task_is_told_by_name_and_uid() -> None:
    """And need not be created any more."""
    ledger = work()
    ledger.do(ask_child("t"))

    ledger.do(settle(CHILD, "c"))

    told = answers(ledger)[1]
    assert (told.granted, told.name, told.uid) == (True, CHILD, "c")
    assert ledger.state.children == {}
    assert ledger.do(settle(CHILD, "c")) == []


def test_a_task_that_the_api_server_refuses_is_told_in_its_words() -> None:
    """The model can do better."""
    ledger = work()
    ledger.do(ask_child("t"))

    ledger.do(settle(CHILD, message="admission denied:\nno more Tasks"))

    told = answers(ledger)[1]
    assert (told.granted, told.text) == (False, "the API server refused it: admission denied: no more Tasks")
    assert ledger.state.children == {}
    assert ledger.task("t").children == {}


def test_the_sight_of_the_task_settles_it_too() -> None:
    """The watch may be faster than the answer, and the Task may be deleted before that comes."""
    ledger = work()
    ledger.do(ask_child("t"))

    events = ledger.do(see("c"))

    assert [event.uid for event in events if isinstance(event, ChildCreated)] == ["c"]
    ledger.do(remove("c"))
    assert ledger.state.children == {}


def test_a_users_task_of_that_name_settles_nothing() -> None:
    """It is another one's."""
    ledger = work()
    ledger.do(ask_child("t"))

    ledger.do(see("c", parent=""))
    ledger.do(see("d", parent="somebody"))

    assert list(ledger.state.children) == [CHILD]


def test_the_task_is_created_even_when_its_attempt_is_over() -> None:
    """The wish was recorded."""
    ledger = work()
    ledger.do(ask_child("t"))
    ledger.do(finish("t"))

    assert list(ledger.state.children) == [CHILD]
    assert names(ledger.do(settle(CHILD, "c"))) == ["ChildCreated"]


def test_the_task_is_not_created_when_its_parent_is_deleted() -> None:
    """Nobody wants it any more."""
    ledger = work()
    ledger.do(ask_child("t"))

    ledger.do(remove("t"))

    assert ledger.state.children == {}
    assert ledger.do(settle(CHILD, "c")) == []


@pytest.mark.parametrize(
    ("outcome", "phase", "text"),
    [("Succeeded", "Succeeded", ""), ("Failed", "Failed", "NonZeroExit: it broke (1 attempt, not worth another one)")],
)
def test_the_end_of_a_submitted_task_is_told_while_its_parent_works(outcome: str, phase: str, text: str) -> None:
    """With the reason, if it is not a good end."""
    ledger = work()
    ledger.do(ask_child("t"))
    ledger.do(settle(CHILD, "c"))
    ledger.do(see("c"))
    assert endings(ledger) == []

    said = {"reason": "NonZeroExit", "message": "it broke", "retryable": False}
    ledger.do(finish("c", outcome, replica="blue-1", **said))

    (told,) = endings(ledger)
    assert (told.name, told.uid, told.phase, told.text) == (CHILD, "c", phase, text)


def test_the_deletion_of_a_submitted_task_is_told() -> None:
    """It will have no result."""
    ledger = work()
    ledger.do(ask_child("t"))
    ledger.do(see("c"))

    ledger.do(remove("c"))

    assert [told.phase for told in endings(ledger)] == ["Deleted"]


def test_what_is_told_has_one_key_for_each_attempt_and_message() -> None:
    """The same whenever it is derived, and another one for the next attempt."""
    ledger = work(retryPolicy={"initialDelaySeconds": 0})
    ledger.do(ask_child("t"))
    ledger.do(ask_child("t", request=2))
    ledger.do(see("c"))
    ledger.do(finish("c", replica="blue-1"))
    before = [sent.key for sent in pending_messages(ledger.state, ledger.replica("blue-0"))]

    ledger.do(finish("t", "Failed"))
    ledger.wait(1)

    after = [sent.key for sent in pending_messages(ledger.state, ledger.replica("blue-0"))]
    assert len(set(before)) == len(before) == 2
    assert not set(before) & set(after)


def test_a_later_attempt_knows_what_the_former_ones_submitted() -> None:
    """A session that goes on may ask for their results."""
    ledger = work(retryPolicy={"initialDelaySeconds": 0})
    ledger.do(ask_child("t"))
    ledger.do(see("c"))
    ledger.do(finish("t", "Failed"))
    ledger.do(finish("c", replica="blue-1"))
    ledger.wait(1)

    told = [sent.message for sent in pending_messages(ledger.state, ledger.replica("blue-0"))]
    assert [message.children for message in told if isinstance(message, Assign)] == [{CHILD: "c"}]
    assert [ended.attempt for ended in endings(ledger)] == [2]


def test_an_attempt_submits_a_limited_number_of_tasks() -> None:
    """A refused one does not count."""
    ledger = work()
    ledger.do(ask_child("t", request=100, role="purple"))
    for request in range(1, MAX_CHILDREN + 1):
        assert names(ledger.do(ask_child("t", request=request))) == ["ChildRequested"]

    assert "20 Tasks, which is the limit" in refusal(ledger, request=50)


def test_a_task_knows_a_limited_number_of_those_it_submitted() -> None:
    """Over all of its attempts; the oldest are forgotten."""
    ledger = work(retryPolicy={"initialDelaySeconds": 0, "maxRetries": 100})
    for attempt in range(1, 8):
        for request in range(1, MAX_CHILDREN + 1):
            ledger.do(ask_child("t", request=request, attempt=attempt))
        ledger.do(finish("t", "Failed", attempt=attempt))
        ledger.wait(1000)

    assert len(ledger.task("t").children) == KEPT_CHILDREN
    assert len(ledger.state.children) == 7 * MAX_CHILDREN


def test_a_submitted_task_may_submit_and_what_that_submits_may_not() -> None:
    """Two steps from a user's Task are the limit."""
    ledger = start_pool("blue-0", "blue-1", "blue-2")
    ledger.do(submit("t"))
    for uid, replica, parent in (("t", "blue-0", ""), ("c", "blue-1", "t"), ("g", "blue-2", "c")):
        if parent:
            ledger.do(see(uid, uid, parent))
        ledger.do(accept(uid, replica=replica))

    assert names(ledger.do(ask_child("t"))) == ["ChildRequested"]
    assert names(ledger.do(ask_child("c", replica="blue-1"))) == ["ChildRequested"]
    (refused,) = ledger.do(ask_child("g", replica="blue-2"))
    assert isinstance(refused, ChildRefused)
    assert "Do the work yourself" in refused.message


def test_a_route_that_nobody_takes_is_told_with_those_that_somebody_does() -> None:
    """Such a Task would wait for ever."""
    ledger = work()

    said = refusal(ledger, role="purple")

    assert said.startswith("no Agent takes role purple.")
    assert "the roles blue" in said
    assert "the types search, analysis, pattern" in said or "the types analysis, pattern, search" in said


def test_only_the_present_attempt_submits() -> None:
    """As with everything else that it asks."""
    ledger = work()

    assert ledger.decide(ask_child("t", attempt=2)) == Rejected("NotCurrent")
    ledger.do(submit("t", generation=2, cancel=True))
    assert ledger.decide(ask_child("t")) == Rejected("Stopping")


def test_a_refused_task_has_no_name_and_an_answer() -> None:
    """Nothing was ordered."""
    ledger = work()

    said = refusal(ledger, command={"args": ["rm"]})

    assert ledger.state.children == {}
    assert (answers(ledger)[1].granted, answers(ledger)[1].text) == (False, said)
    assert ledger.do(ask_child("t", command={"args": ["rm"]})) == []
