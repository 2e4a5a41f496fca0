"""Shared context, quarantined messages, and the state's memory of both."""

from __future__ import annotations

from support.deciding import Ledger, finish, names, start_pool, submit
from watchbill_coordination.core.commands import PublishContext, RejectMessage, WithdrawContext
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.core.state import Phase
from watchbill_coordination.core.upkeep import REMEMBERED

BAD = RejectMessage(agent=ReplicaName("blue-0"), file="1-finished-00.jsonl", reason="NotJson")


def publish(digest: str = "1") -> PublishContext:
    """notes.md lies below shared-context."""
    return PublishContext(path="notes.md", digest=digest)


def test_the_same_context_is_published_once() -> None:
    """Full reconciles offer it again."""
    ledger = Ledger()
    ledger.do(publish())

    assert ledger.do(publish()) == []


def test_context_with_new_content_is_published_again() -> None:
    """Those who read it later read the new one."""
    ledger = Ledger()
    ledger.do(publish("1"))

    assert names(ledger.do(publish("2"))) == ["ContextPublished"]


def test_a_queued_task_whose_context_is_withdrawn_is_held() -> None:
    """It would find nothing to read."""
    ledger = Ledger()
    ledger.do(publish())
    ledger.do(submit("t", context=["notes.md"]))

    assert names(ledger.do(WithdrawContext(path="notes.md"))) == ["ContextWithdrawn", "TaskHeld"]
    assert ledger.task("t").reason == "ContextMissing"


def test_a_running_task_goes_on_when_its_context_is_withdrawn() -> None:
    """What it opened it has."""
    ledger = start_pool("blue-0")
    ledger.do(publish())
    ledger.do(submit("t", context=["notes.md"]))
    ledger.do(WithdrawContext(path="notes.md"))

    assert ledger.task("t").phase is Phase.RUNNING


def test_withdrawing_what_was_never_there_changes_nothing() -> None:
    """Deletions are seen more than once."""
    assert Ledger().do(WithdrawContext(path="notes.md")) == []


def test_a_quarantined_message_is_recorded_once() -> None:
    """The reader may meet it again after a crash."""
    ledger = start_pool("blue-0")

    assert names(ledger.do(BAD)) == ["MessageRejected"]
    assert ledger.do(BAD) == []


def test_what_is_remembered_of_messages_has_a_limit() -> None:
    """An agent that sends nonsense for ever fills no memory."""
    ledger = start_pool("blue-0")
    for number in range(REMEMBERED + 10):
        ledger.do(finish(f"nobody-{number}"))

    assert len(ledger.state.settled) == REMEMBERED
