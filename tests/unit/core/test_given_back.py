"""Attempts that end for a reason that is not their task's, and pools whose credential is of no use."""

from __future__ import annotations

import math

import pytest

from support.deciding import Ledger, declare, finish, give_back, names, register, remove, start_pool, submit
from support.invariants import check_all, check_replay
from watchbill_coordination.core.commands import RemoveAgent
from watchbill_coordination.core.decide_given_back import MAX_GIVE_BACKS
from watchbill_coordination.core.events import Event
from watchbill_coordination.core.specs import AgentName
from watchbill_coordination.core.state import AgentState, Level, Phase
from watchbill_coordination.core.waiting import explain_wait
from watchbill_coordination.core.working_events import AgentParked, AttemptGivenBack


def run_task(**spec: object) -> Ledger:
    """A ledger in which task t runs on the only slot."""
    ledger = start_pool("blue-0")
    ledger.do(submit("t", **spec))
    return ledger


def pool(ledger: Ledger, name: str = "blue") -> AgentState:
    """The pool of that name."""
    return ledger.state.agents[AgentName(name)]


def parked(events: list[Event]) -> list[float]:
    """Until when a pool is parked by these events."""
    return [event.until for event in events if isinstance(event, AgentParked)]


def test_a_task_that_is_given_back_waits_again_at_once() -> None:
    """It is nobody's fault: no retry and no loss is spent, and no delay runs."""
    ledger = run_task()

    events = ledger.do(give_back("t"))

    assert names(events) == ["AttemptGivenBack", "AgentParked", "TaskQueued"]
    task = ledger.task("t")
    assert (task.phase, task.retries, task.losses, task.give_backs) == (Phase.QUEUED, 0, 0, 1)


def test_a_task_that_is_given_back_keeps_its_age() -> None:
    """It is dispatched before one that came later."""
    ledger = run_task()
    ledger.wait(5)
    ledger.do(submit("later"))
    ledger.do(give_back("t", after=10))

    ledger.wait(10)

    assert [ledger.task(uid).phase for uid in ("t", "later")] == [Phase.RUNNING, Phase.QUEUED]
    assert ledger.task("t").attempt == 2


def test_the_locks_of_an_attempt_that_is_given_back_are_free() -> None:
    """Another pool may go on with what it held."""
    ledger = run_task(locks=[{"name": "x"}])
    ledger.do(give_back("t"))

    assert ledger.state.locks == {}
    assert ledger.replica("blue-0").attempts == {}


def test_an_attempt_is_given_back_once_however_often_the_message_comes() -> None:
    """Delivery is at least once."""
    ledger = run_task()
    ledger.do(give_back("t"))

    assert ledger.do(give_back("t")) == []


def test_what_a_lost_agent_gives_back_late_is_refused() -> None:
    """Its word counts no more; the pool is not parked by it either."""
    ledger = run_task()

    events = ledger.do(give_back("t", incarnation="pod-of-blue-0/0"))

    assert names(events) == ["ResultRefused"]
    assert not pool(ledger).is_parked


def test_an_invented_reason_is_not_repeated() -> None:
    """Conditions take CamelCase only, and a message has an end."""
    ledger = run_task()

    events = ledger.do(give_back("t", "no such\nthing", message="x" * 10_000))

    given_back, park = events[:2]
    assert isinstance(given_back, AttemptGivenBack)
    assert isinstance(park, AgentParked)
    assert (given_back.reason, park.reason) == ("GivenBack", "GivenBack")
    assert (len(given_back.message), len(park.message)) == (4096, 300)


def test_a_task_that_is_given_back_over_and_over_fails() -> None:
    """Whatever the agent says, there is an end."""
    ledger = run_task()
    for attempt in range(1, MAX_GIVE_BACKS):
        ledger.do(give_back("t", attempt=attempt, after=1))
        ledger.wait(1)
    assert ledger.task("t").phase is Phase.RUNNING

    events = ledger.do(give_back("t", attempt=MAX_GIVE_BACKS))

    assert names(events) == ["AttemptGivenBack", "TaskFailed", "AgentParked"]
    assert ledger.task("t").reason == "GivenBackRepeatedly"


def test_a_cancelled_task_that_is_given_back_ends() -> None:
    """Nobody wants it any more; the credential is of no use all the same."""
    ledger = run_task()
    ledger.do(submit("t", generation=2, cancel=True))

    assert names(ledger.do(give_back("t"))) == ["TaskCancelled", "AgentParked"]


def test_a_deleted_task_that_is_given_back_frees_its_slot() -> None:
    """There is no result to refuse."""
    ledger = run_task()
    ledger.do(remove("t"))

    assert names(ledger.do(give_back("t"))) == ["AttemptAbandoned", "AgentParked"]


@pytest.mark.parametrize(
    ("reason", "said", "seconds"),
    [
        ("RateLimited", 0.0, 30),
        ("Overloaded", 0.0, 15),
        ("AuthenticationFailed", 0.0, 60),
        ("CredentialMissing", 0.0, 15),
        ("BillingProblem", 0.0, 300),
        ("SomethingNew", 0.0, 30),
        ("RateLimited", 7.5, 7.5),
        ("RateLimited", 0.001, 1),
        ("RateLimited", 1e9, 3600),
        ("RateLimited", math.inf, 3600),
        ("RateLimited", -5.0, 30),
        ("RateLimited", math.nan, 30),
    ],
)
def test_a_pool_is_parked_for_as_long_as_it_is_told_within_bounds(reason: str, said: float, seconds: float) -> None:
    """Or for as long as the reason calls for; no agent's word keeps it from work for ever."""
    ledger = run_task()

    assert parked(ledger.do(give_back("t", reason, after=said))) == [ledger.now + seconds]


def test_a_pool_pauses_longer_when_it_is_in_vain_over_and_over() -> None:
    """A Secret that is made within the hour is found soon; one that is made next morning fails no task."""
    ledger = run_task()
    pauses = []
    for attempt in range(1, MAX_GIVE_BACKS):
        (until,) = parked(ledger.do(give_back("t", "CredentialMissing", attempt=attempt)))
        pauses.append(until - ledger.now)
        ledger.now = until
        ledger.settle()

    assert [round(pauses[place]) for place in (0, 3, 4, 8, 12, 16, 20, 98)] == [15, 15, 30, 60, 120, 240, 300, 300]
    assert sum(pauses) > 7 * 3600
    assert ledger.task("t").phase is Phase.RUNNING


def test_a_parked_pool_gets_no_tasks_until_its_time_is_over() -> None:
    """All of its replicas use one credential."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t"))
    ledger.do(give_back("t", after=20))
    assert names(ledger.do(submit("other"))) == ["TaskSubmitted", "TaskQueued"]
    assert ledger.wait(19.9) == []

    assert names(ledger.wait(0.1)) == ["AgentUnparked", "TaskDispatched", "TaskDispatched"]


def test_what_runs_in_a_parked_pool_goes_on() -> None:
    """It may end well: perhaps only new requests are refused."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(submit("t"))
    ledger.do(submit("other"))
    ledger.do(give_back("t"))

    assert names(ledger.do(finish("other", replica="blue-1"))) == ["TaskSucceeded"]


def test_another_pool_takes_what_a_parked_one_gave_back() -> None:
    """Its credential may be another one."""
    ledger = run_task()
    ledger.do(declare("azure", role="azure", taskTypes=["search"]))
    ledger.do(register("azure-0"))

    ledger.do(give_back("t"))

    assert (ledger.task("t").phase, ledger.task("t").agent) == (Phase.RUNNING, "azure-0")


def test_a_parked_pool_is_parked_longer_by_a_later_time_and_never_shorter() -> None:
    """Attempts that run at the same time are given back one after another."""
    ledger = start_pool("blue-0", "blue-1", "blue-2")
    for uid in ("a", "b", "c"):
        ledger.do(submit(uid))
    start = ledger.now

    times = [
        parked(ledger.do(give_back(uid, after=after, replica=f"blue-{place}")))
        for place, (uid, after) in enumerate([("a", 30), ("b", 10), ("c", 60)])
    ]

    assert times == [[start + 30], [], [start + 60]]
    assert names(ledger.wait(59.9)) == []
    assert names(ledger.wait(0.1))[0] == "AgentUnparked"


def test_a_changed_agent_is_parked_no_longer() -> None:
    """Somebody may have mended its credential."""
    ledger = run_task()
    ledger.do(give_back("t", "AuthenticationFailed", after=3600))

    events = ledger.do(declare(generation=2))

    assert names(events) == ["AgentDeclared", "TaskDispatched"]
    assert (pool(ledger).parked_until, pool(ledger).parked_reason) == (0.0, "")


def test_an_agent_that_is_seen_again_unchanged_stays_parked() -> None:
    """Full reconciles show it again and again."""
    ledger = run_task()
    ledger.do(give_back("t"))

    assert ledger.do(declare()) == []
    assert pool(ledger).is_parked


def test_a_parked_pool_stays_so_under_the_next_writer() -> None:
    """The log knows it."""
    ledger = run_task()
    ledger.do(give_back("t", after=100))
    ledger.epoch += 1
    assert ledger.wait(90) == []

    assert names(ledger.wait(10)) == ["AgentUnparked", "TaskDispatched"]
    check_all(ledger)
    check_replay(ledger)


def test_the_level_of_a_parked_pool_is_that_of_its_replicas() -> None:
    """Its capacity is there; only its credential is not."""
    ledger = run_task()
    ledger.do(give_back("t", after=3600))
    ledger.wait(600)

    assert (pool(ledger).is_parked, pool(ledger).level) == (True, Level.NORMAL)


def test_a_pool_that_is_going_is_not_parked() -> None:
    """It gets no tasks anyway."""
    ledger = run_task()
    ledger.do(RemoveAgent(agent=AgentName("blue"), uid="uid-of-blue"))

    assert parked(ledger.do(give_back("t"))) == []


def test_a_task_says_that_it_waits_for_a_credential() -> None:
    """With the Agent, why, and until when; a time of day, so that the sentence does not change by itself."""
    ledger = run_task()
    ledger.do(give_back("t", message="5-hour limit reached", after=65))

    wait = explain_wait(ledger.state, ledger.task("t"), ledger.now)

    assert wait is not None
    assert (wait.reason, wait.holder) == ("CredentialParked", "blue")
    assert wait.message == "Agent blue gets no tasks until 13:47:45 UTC (RateLimited: 5-hour limit reached)"


def test_a_task_that_another_pool_could_do_waits_for_that_one() -> None:
    """Only when every Agent that takes it is parked does it wait for a credential."""
    ledger = run_task()
    ledger.do(declare("azure", role="azure", taskTypes=["search"]))
    ledger.do(register("azure-0"))
    ledger.do(submit("busy"))
    ledger.do(give_back("t"))

    wait = explain_wait(ledger.state, ledger.task("t"), ledger.now)

    assert wait is not None
    assert wait.message == "all slots of azure are in use"


def test_a_reader_does_not_wait_for_a_writer_whose_pool_is_parked() -> None:
    """A waiter that nobody can run keeps no one from the lock."""
    ledger = start_pool("blue-0", "blue-1")
    ledger.do(declare("green", role="green", taskTypes=["write"], tasksPerReplica=2))
    ledger.do(register("green-0", slots=2))
    ledger.do(submit("first", locks=[{"name": "x", "mode": "Shared"}]))
    ledger.do(submit("limited", type="write"))
    ledger.do(submit("writer", type="write", priority=1000, locks=[{"name": "x"}]))
    ledger.do(submit("late", locks=[{"name": "x", "mode": "Shared"}]))
    assert ledger.task("late").phase is Phase.QUEUED

    ledger.do(give_back("limited", replica="green-0"))

    assert ledger.task("late").phase is Phase.RUNNING
