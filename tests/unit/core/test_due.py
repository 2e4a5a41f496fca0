"""What falls due with time alone, and when to ask again."""

from __future__ import annotations

from support.deciding import START, Ledger, accept, finish, names, remove, start_pool, submit
from watchbill_coordination.core.commands import DrainReplica
from watchbill_coordination.core.decide import next_due
from watchbill_coordination.core.due import expired_tasks
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.core.state import ReplicaPhase


def run_task(**spec: object) -> Ledger:
    """A ledger, past every grace, in which task t was dispatched to the only slot."""
    ledger = start_pool("blue-0")
    ledger.wait(100)
    ledger.do(submit("t", **spec))
    return ledger


def test_a_quiet_system_is_never_due() -> None:
    """An idle operator sleeps."""
    assert next_due(start_pool("blue-0").state) is None


def test_an_attempt_is_due_15_seconds_after_its_time() -> None:
    """The agent ends it itself; the operator only makes sure."""
    ledger = run_task(timeoutSeconds=60)

    assert next_due(ledger.state) == ledger.now + 75


def test_the_time_of_an_attempt_runs_from_its_acceptance() -> None:
    """A slow start is not the task's fault."""
    ledger = run_task(timeoutSeconds=60)
    ledger.now += 30
    ledger.do(accept("t"))

    assert next_due(ledger.state) == ledger.now + 75


def test_an_agent_that_lets_an_attempt_overrun_is_given_up() -> None:
    """It answers to nobody."""
    ledger = run_task(timeoutSeconds=60)

    assert ledger.wait(74) == []
    assert names(ledger.wait(1)) == ["ReplicaLost", "AttemptLost", "TaskQueued"]


def test_a_finished_attempt_is_no_longer_due() -> None:
    """Its timer went with it."""
    ledger = run_task()
    ledger.do(finish("t"))

    assert next_due(ledger.state) is None


def test_a_new_writer_gives_overdue_agents_time_to_tell() -> None:
    """The attempt may have ended while nobody listened."""
    ledger = run_task(timeoutSeconds=60)
    ledger.now += 1000
    ledger.epoch += 1
    ledger.do(submit("u"))

    assert ledger.wait(29) == []
    assert names(ledger.do(finish("t"))) == ["TaskSucceeded", "TaskDispatched"]


def test_a_new_writer_still_gives_up_those_that_stay_silent() -> None:
    """The time to tell has an end."""
    ledger = run_task(timeoutSeconds=60)
    ledger.now += 1000
    ledger.epoch += 1
    ledger.do(submit("u"))

    assert "ReplicaLost" in names(ledger.wait(30))


def test_a_retry_is_due_at_its_time() -> None:
    """The operator sleeps until then."""
    ledger = run_task()
    ledger.do(finish("t", "Failed"))

    assert next_due(ledger.state) == ledger.task("t").not_before


def test_a_finished_task_expires_after_its_time_to_live() -> None:
    """The operator deletes its object then."""
    ledger = run_task(ttlSecondsAfterFinished=30)
    ledger.do(finish("t"))

    assert expired_tasks(ledger.state, ledger.now + 29) == []
    assert expired_tasks(ledger.state, ledger.now + 30) == ["t"]


def test_an_unfinished_task_does_not_expire() -> None:
    """However long it takes."""
    ledger = run_task(ttlSecondsAfterFinished=0)

    assert expired_tasks(ledger.state, ledger.now + 1e9) == []


def test_a_deleted_task_expires_no_more() -> None:
    """Its object is gone already."""
    ledger = run_task(ttlSecondsAfterFinished=0)
    ledger.do(finish("t"))
    ledger.do(remove("t"))

    assert expired_tasks(ledger.state, ledger.now) == []


def test_an_expiry_to_come_is_due_when_asked_with_the_time() -> None:
    """One that has come is the shell's work and keeps nobody awake."""
    ledger = run_task(ttlSecondsAfterFinished=30)
    ledger.do(finish("t"))

    assert next_due(ledger.state, ledger.now) == ledger.now + 30
    assert next_due(ledger.state, ledger.now + 30) is None


def test_a_clock_that_steps_back_stops_nothing() -> None:
    """The log's time never decreases, and rules go by the later of the two."""
    ledger = start_pool("blue-0")
    ledger.wait(100)
    ledger.now = START - 1000

    assert names(ledger.do(submit("t"))) == ["TaskSubmitted", "TaskQueued", "TaskDispatched"]


def test_a_new_writer_gives_draining_replicas_time_to_leave() -> None:
    """They may have left while nobody listened."""
    ledger = start_pool("blue-0", drainSeconds=5)
    ledger.do(DrainReplica(agent=ReplicaName("blue-0"), reason="Outdated"))
    ledger.now += 1000
    ledger.epoch += 1
    ledger.do(submit("t"))

    assert ledger.replica("blue-0").phase is ReplicaPhase.DRAINING
    assert ledger.wait(29) == []
    assert names(ledger.wait(1)) == ["ReplicaLost"]
