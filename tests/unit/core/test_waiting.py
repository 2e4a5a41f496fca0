"""Why is it waiting?"""

from __future__ import annotations

from typing import Any

import pytest

from support.deciding import Ledger, declare, finish, start_pool, submit
from watchbill_coordination.core.commands import LoseReplica, RemoveAgent
from watchbill_coordination.core.events import TaskSubmitted
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.core.waiting import Wait, explain_wait


def why(ledger: Ledger, uid: str = "t") -> Wait:
    """What the task waits for."""
    wait = explain_wait(ledger.state, ledger.task(uid), ledger.now)
    assert wait is not None
    return wait


@pytest.mark.parametrize(
    ("spec", "wait"),
    [
        ({"suspend": True}, Wait("Suspended", "spec.suspend is true")),
        (
            {"dependsOn": ["never"]},
            Wait("DependencyPending", "no Task is called never yet", "never"),
        ),
        (
            {"dependsOn": ["busy", "never"]},
            Wait("DependencyPending", "waits for busy; no Task is called never yet", "busy"),
        ),
        (
            {"context": ["notes.md"]},
            Wait("ContextMissing", "shared context is not there yet: notes.md", "notes.md"),
        ),
        ({"type": "", "agentRef": "violet"}, Wait("NoSuchAgent", "there is no Agent violet", "violet")),
        ({"role": "violet"}, Wait("NoSuchAgent", "there is no Agent of role violet", "violet")),
        ({"type": "codegen"}, Wait("TypeNotTaken", "no Agent fits type codegen: see spec.taskTypes of blue")),
        (
            {"type": "codegen", "agentRef": "blue"},
            Wait("TypeNotTaken", "no Agent fits Agent blue and type codegen: see spec.taskTypes of blue"),
        ),
        ({}, Wait("AgentAtCapacity", "all slots of blue are in use", "blue")),
        ({"locks": [{"name": "x"}]}, Wait("LockHeld", "lock x is held by busy", "busy")),
    ],
    ids=lambda value: value.reason if isinstance(value, Wait) else "",
)
def test_the_first_thing_that_must_change_is_told(spec: dict[str, Any], wait: Wait) -> None:
    """One reason, one sentence, one holder."""
    ledger = start_pool("blue-0")
    ledger.do(submit("busy", locks=[{"name": "x"}]))
    ledger.do(submit("t", **spec))

    assert why(ledger) == wait


def test_a_task_without_any_agent_says_so() -> None:
    """The first thing that a newcomer forgets."""
    ledger = Ledger()
    ledger.do(submit("t"))

    assert why(ledger) == Wait("NoSuchAgent", "there is no Agent")


def test_a_suspended_agent_is_told() -> None:
    """All who could do it are asleep."""
    ledger = start_pool("blue-0", suspend=True)
    ledger.do(submit("t"))

    assert why(ledger).reason == "AgentSuspended"


def test_an_agent_without_ready_replicas_is_told_with_its_level() -> None:
    """The level says how bad it is."""
    ledger = start_pool("blue-0")
    ledger.wait(100)
    ledger.do(LoseReplica(agent=ReplicaName("blue-0"), incarnation="", reason="PodGone"))
    ledger.do(submit("t"))
    assert why(ledger) == Wait("AgentNotReady", "no replica of blue is ready", "blue")

    ledger.wait(15)

    assert why(ledger).message == "no replica of blue is ready (Critical: 0 of 1 replicas are ready)"


def test_replicas_lost_since_the_level_changed_are_not_counted_as_ready() -> None:
    """The level's own message is as old as the level."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.wait(100)
    ledger.do(LoseReplica(agent=ReplicaName("blue-0"), incarnation="", reason="PodGone"))
    ledger.wait(15)
    ledger.do(LoseReplica(agent=ReplicaName("blue-1"), incarnation="", reason="PodGone"))
    ledger.do(submit("t"))

    assert why(ledger).message == "no replica of blue is ready (Constrained: 0 of 2 replicas are ready)"


def test_a_removed_agent_is_no_agent() -> None:
    """What it ran waits for another one."""
    ledger = start_pool("blue-0")
    ledger.do(submit("busy"))
    ledger.do(RemoveAgent(agent=AgentName("blue"), uid="uid-of-blue"))
    ledger.do(submit("t"))

    assert why(ledger).reason == "NoSuchAgent"


def test_a_delay_is_told_with_what_it_follows() -> None:
    """The time of the next attempt is no part of it: it stands in the log."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))
    ledger.do(finish("t", "Failed", reason="NonZeroExit"))

    assert why(ledger) == Wait("BackingOff", "attempt 1 ended with NonZeroExit; the next one follows a delay")


def test_waiting_behind_one_that_goes_first_is_told() -> None:
    """The lock is free for readers, but a writer is before this one."""
    ledger = start_pool("blue-0", "blue-1", "blue-2")
    ledger.do(submit("reader", locks=[{"name": "x", "mode": "Shared"}]))
    ledger.do(submit("writer", locks=[{"name": "x"}]))
    ledger.now += 1
    ledger.do(submit("t", locks=[{"name": "x", "mode": "Shared"}]))

    assert why(ledger) == Wait("LockHeld", "lock x is held by reader, and writer is before it", "reader")


def test_a_task_that_nobody_looked_at_awaits_the_operator() -> None:
    """Its next step is not recorded yet."""
    ledger = Ledger()
    ledger.take_in(TaskSubmitted(task=TaskUid("t"), name="t", spec={}))

    assert why(ledger).reason == "AwaitingOperator"


def test_a_running_task_waits_for_nothing() -> None:
    """Nor does a finished one."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t"))

    assert explain_wait(ledger.state, ledger.task("t"), ledger.now) is None


def test_many_names_are_shortened() -> None:
    """A condition's message stays readable."""
    ledger = Ledger()
    ledger.do(declare())
    ledger.do(submit("t", dependsOn=[f"n{number}" for number in range(8)]))

    assert why(ledger).message == "no Task is called n0, n1, n2, n3, n4 and 3 more yet"
