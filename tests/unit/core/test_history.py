"""What the next attempt is told of those before it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from support.deciding import Ledger, finish, give_back, register, start_pool, submit
from watchbill_coordination.core.assignments import pending_messages
from watchbill_coordination.core.commands import LoseReplica, ReportProgress
from watchbill_coordination.core.history import MAX_SENTENCE, MAX_SENTENCES
from watchbill_coordination.core.messages import Assign
from watchbill_coordination.core.specs import ReplicaName, TaskUid


def run_task() -> Ledger:
    """A ledger in which task t runs on the only slot."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t", retryPolicy={"maxRetries": 100, "initialDelaySeconds": 1, "maxDelaySeconds": 1}))
    return ledger


def fail(ledger: Ledger, attempt: int, message: str) -> None:
    """An attempt fails, and the next one begins."""
    ledger.do(finish("t", "Failed", attempt=attempt, reason="NonZeroExit", message=message))
    ledger.wait(2)


def test_a_first_attempt_has_no_history() -> None:
    """There is nothing to tell."""
    assert run_task().task("t").history == ()


def test_each_attempt_that_ended_otherwise_than_well_is_told_in_a_sentence() -> None:
    """Failed, given back, lost: which one, where, and why."""
    ledger = run_task()
    fail(ledger, 1, "exit 3")
    ledger.do(give_back("t", "Overloaded", attempt=2, message="529\n  overloaded", after=1))
    ledger.wait(1)
    ledger.do(LoseReplica(agent=ReplicaName("blue-0"), incarnation="", reason="PodGone"))

    assert ledger.task("t").history == (
        "Attempt 1 on blue-0 ended: NonZeroExit: exit 3",
        "Attempt 2 on blue-0 ended: Overloaded: 529 overloaded",
        "Attempt 3 on blue-0 ended: PodGone",
    )


def test_the_last_progress_is_told_with_its_attempt() -> None:
    """How far it had come is what helps most."""
    ledger = run_task()
    progress = ReportProgress(
        agent=ReplicaName("blue-0"), incarnation="pod-of-blue-0/1", task=TaskUid("t"), attempt=1, text="tests are green"
    )
    ledger.do(progress)
    fail(ledger, 1, "exit 3")
    fail(ledger, 2, "exit 4")

    assert ledger.task("t").history == (
        "Attempt 1 on blue-0 ended: NonZeroExit: exit 3 (it had reported: tests are green)",
        "Attempt 2 on blue-0 ended: NonZeroExit: exit 4",
    )


def test_only_the_newest_few_are_told() -> None:
    """A prompt has no room for more."""
    ledger = run_task()
    for attempt in range(1, 8):
        fail(ledger, attempt, f"exit {attempt}")

    assert [sentence[-6:] for sentence in ledger.task("t").history] == [f"exit {number}" for number in range(3, 8)]


def test_the_next_attempt_is_told() -> None:
    """With its order to run, oldest first."""
    ledger = run_task()
    fail(ledger, 1, "exit 3")
    ledger.do(LoseReplica(agent=ReplicaName("blue-0"), incarnation="", reason="PodGone"))
    ledger.do(register("blue-0", "another-pod/1"))

    orders = [outgoing.message for outgoing in pending_messages(ledger.state, ledger.replica("blue-0"))]

    assert [order.history for order in orders if isinstance(order, Assign)] == [ledger.task("t").history]


@given(st.lists(st.text(max_size=400), min_size=1, max_size=7))
def test_history_is_bounded_lines_whatever_agents_say(messages: list[str]) -> None:
    """It goes into a prompt, a log and a status."""
    ledger = run_task()
    for attempt, message in enumerate(messages, start=1):
        fail(ledger, attempt, message)

    history = ledger.task("t").history
    assert len(history) == min(len(messages), MAX_SENTENCES)
    assert all(len(sentence) <= MAX_SENTENCE and len(sentence.splitlines()) == 1 for sentence in history)
    assert "".join(history).encode()
