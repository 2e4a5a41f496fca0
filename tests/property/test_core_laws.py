"""Laws of the rules: they hold after any sequence of commands, in any order, from anybody."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from support.asking_rules import AskingRules
from support.deciding import Ledger, accept, declare, finish, register, remove, report, submit
from support.invariants import check_all, check_replay
from watchbill_coordination.core.commands import (
    Command,
    DrainReplica,
    LoseReplica,
    PublishContext,
    Rejected,
    ReleaseReplica,
    RemoveAgent,
    WithdrawContext,
)
from watchbill_coordination.core.specs import AgentName, ReplicaName

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
REPLICAS = st.sampled_from(["blue-0", "blue-1", "blue-2", "green-0", "green-1"])
POOLS = st.sampled_from(["blue", "green"])
LOCKS = st.lists(
    st.builds(dict, name=st.sampled_from(["x", "y"]), mode=st.sampled_from(["Shared", "Exclusive"])), max_size=2
)
SECONDS = st.sampled_from([0.0, 1.0, 6.0, 20.0, 61.0, 200.0])
SELDOM = st.sampled_from([False, False, False, False, True])
OUTCOMES = st.sampled_from(["Succeeded", "Failed", "Cancelled", "GivenBack"])
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.sampled_from([0, 500, 1000]),
        "dependsOn": st.lists(NAMES, max_size=2, unique=True),
        "locks": LOCKS,
        "type": st.sampled_from(["search", "search", "search", "codegen", "nobody-does-this"]),
        "context": st.sampled_from([[], [], [], ["notes.md"]]),
        "timeoutSeconds": st.sampled_from([5, 600]),
        "retryPolicy": st.fixed_dictionaries(
            {"maxRetries": st.integers(0, 2), "preferSameAgentSeconds": st.sampled_from([0, 10, 100])}
        ),
    },
)


class CoreMachine(AskingRules):
    """Users, agents and time do what they like; after each step everything must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.specs: dict[str, dict[str, Any]] = {}  # uid → spec of the object
        self.generation: dict[str, int] = {}
        self.objects: dict[str, str] = {}  # name → uid of the present object
        self.made = 0
        self.lives: dict[str, int] = {}
        for pool, role in (("blue", "blue"), ("green", "green")):
            self.do(declare(pool, role=role, replicas=2, tasksPerReplica=2))
            for number in range(2):
                self.start_again(f"{pool}-{number}", 2)

    def do(self, command: Command) -> None:
        """Do it, and see that doing it again changes nothing."""
        self.ledger.do(command)
        again = self.ledger.decide(command)
        assert isinstance(again, Rejected) or again == [], f"{command} led to {again} again"

    def start_again(self, replica: str, slots: int) -> None:
        """The next life of a replica registers."""
        self.lives[replica] = self.lives.get(replica, 0) + 1
        self.do(register(replica, f"{replica}/{self.lives[replica]}", slots))

    @rule(name=NAMES, spec=SPECS, suspend=SELDOM)
    def create(self, name: str, spec: dict[str, Any], suspend: bool) -> None:
        """A user creates a Task where none of that name is."""
        if name in self.objects:
            return
        self.made += 1
        uid = f"{name}{self.made}"
        self.objects[name], self.specs[uid], self.generation[uid] = uid, {**spec, "suspend": suspend}, 1
        self.do(submit(uid, name=name, **self.specs[uid]))

    @rule(
        name=NAMES, change=st.sampled_from([{"suspend": True}, {"suspend": False}, {"priority": 0}, {"cancel": True}])
    )
    def change(self, name: str, change: dict[str, Any]) -> None:
        """A user changes what may change."""
        uid = self.objects.get(name)
        if uid is None or self.specs[uid] == {**self.specs[uid], **change}:
            return
        self.specs[uid] |= change
        self.generation[uid] += 1
        self.do(submit(uid, name=name, generation=self.generation[uid], **self.specs[uid]))

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        """A user deletes a Task."""
        uid = self.objects.pop(name, None)
        if uid is not None:
            self.do(remove(uid))

    @rule(data=st.data())
    def see_a_former_task_late(self, data: st.DataObject) -> None:
        """A watch shows an object that is gone."""
        former = sorted(set(self.specs) - set(self.objects.values()))
        if former:
            uid = data.draw(st.sampled_from(former))
            self.do(submit(uid, name=uid[0], generation=self.generation[uid], **self.specs[uid]))

    @rule(replica=REPLICAS, slots=st.integers(1, 3))
    def start_process(self, replica: str, slots: int) -> None:
        """A new life of a replica begins, whatever became of the former one."""
        self.start_again(replica, slots)

    @rule(replica=REPLICAS)
    def say_hello_again(self, replica: str) -> None:
        """A late copy of a registration comes."""
        life = self.lives.get(replica, 1)
        self.do(register(replica, f"{replica}/{life}"))

    @rule(data=st.data(), count=st.integers(1, 4))
    def work(self, data: st.DataObject, count: int) -> None:
        """Agents do what they were given."""
        for _ in range(count):
            self.end_attempt(data, "Succeeded", 0, True)

    @rule(replica=REPLICAS, how=st.sampled_from(["lose", "release", "drain"]))
    def leave(self, replica: str, how: str) -> None:
        """A replica goes."""
        name, life = ReplicaName(replica), f"{replica}/{self.lives.get(replica, 0)}"
        commands: dict[str, Command] = {
            "lose": LoseReplica(agent=name, incarnation="", reason="PodGone"),
            "release": ReleaseReplica(agent=name, incarnation=life),
            "drain": DrainReplica(agent=name, reason="Outdated"),
        }
        self.do(commands[how])

    @rule(data=st.data(), outcome=OUTCOMES, lateness=st.sampled_from([0, 0, 0, 1]), accepted=st.booleans())
    def hear(self, data: st.DataObject, outcome: str, lateness: int, accepted: bool) -> None:
        """An agent tells of an attempt, of the present one or of one before."""
        self.end_attempt(data, outcome, lateness, accepted)

    def end_attempt(
        self, data: st.DataObject, outcome: str, lateness: int, accepted: bool, reason: str = "Anything"
    ) -> None:
        """Choose a slot and tell of it."""
        slots = [(one, uid) for one in self.ledger.state.replicas.values() for uid in one.attempts]
        if not slots:
            return
        replica, uid = data.draw(st.sampled_from(slots))
        who = {"replica": replica.name, "incarnation": replica.incarnation}
        number = replica.attempts[uid].attempt - lateness
        if accepted:
            self.do(accept(uid, attempt=number, **who))
        after = data.draw(st.sampled_from([0.0, 2.0, 90.0])) if outcome == "GivenBack" else 0.0
        self.do(finish(uid, outcome, attempt=number, reason=reason, retry_after_seconds=after, **who))

    @rule(data=st.data(), reason=st.sampled_from(["RateLimited", "Overloaded"]))
    def give_back(self, data: st.DataObject, reason: str) -> None:
        """Agents cannot go on; at least one of them says so."""
        self.end_attempt(data, "GivenBack", 0, accepted=True, reason=reason)

    @rule(data=st.data(), attempt=st.integers(0, 3), cost=st.sampled_from([0.0, 0.1, 0.4, 1.0, -1.0, math.nan]))
    def spend(self, data: st.DataObject, attempt: int, cost: float) -> None:
        """A ledger tells what an attempt has cost, be it there or not."""
        tried = [task for task in self.ledger.state.tasks.values() if task.agent is not None]
        if tried:
            task = data.draw(st.sampled_from(tried))
            self.do(report(task.uid, replica=task.agent or "", attempt=attempt, cost_usd=cost))

    @rule(replica=REPLICAS, name=NAMES, outcome=OUTCOMES, attempt=st.integers(0, 3))
    def claim_anything(self, replica: str, name: str, outcome: str, attempt: int) -> None:
        """An agent tells of an attempt that it may never have been given."""
        uid = self.objects.get(name, "nobody")
        self.do(finish(uid, outcome, replica=replica, incarnation=f"{replica}/1", attempt=attempt))

    @rule(
        pool=POOLS,
        replicas=st.sampled_from([2, 3, 1, 0]),
        suspend=SELDOM,
        slots=st.integers(1, 2),
        types=st.sampled_from([["search"], ["search", "codegen"], ["search", "codegen"], []]),
    )
    def scale(self, pool: str, replicas: int, suspend: bool, slots: int, types: list[str]) -> None:
        """A pool is made, or changed."""
        known = self.ledger.state.agents.get(AgentName(pool))
        generation = 1 if known is None else known.generation + 1
        spec = {"role": pool, "replicas": replicas, "suspend": suspend, "tasksPerReplica": slots, "taskTypes": types}
        spec["budget"] = {"perTaskUSD": 1.0} if slots == 1 else {}
        self.made += 1
        uid = f"{pool}{self.made}" if known is None or known.removed else known.uid
        self.do(declare(pool, uid=uid, generation=generation, **spec))

    @rule(pool=POOLS, really=SELDOM)
    def remove_pool(self, pool: str, really: bool) -> None:
        """An Agent object is deleted."""
        known = self.ledger.state.agents.get(AgentName(pool))
        if known is not None and really:
            self.do(RemoveAgent(agent=known.name, uid=known.uid))

    @rule(publish=st.booleans())
    def offer_context(self, publish: bool) -> None:
        """Shared context comes and goes."""
        self.do(PublishContext(path="notes.md", digest="1") if publish else WithdrawContext(path="notes.md"))

    @rule(seconds=SECONDS)
    def let_time_pass(self, seconds: float) -> None:
        """What is due happens."""
        self.ledger.wait(seconds)

    @rule()
    def change_writer(self) -> None:
        """Another operator goes on."""
        self.ledger.epoch += 1

    @invariant()
    def everything_holds(self) -> None:
        """All that must hold of any state."""
        check_all(self.ledger)
        assert set(self.ledger.state.tasks) == set(self.objects.values())

    def teardown(self) -> None:
        """The log alone leads to the same state."""
        check_replay(self.ledger)
        super().teardown()


TestAnySequenceOfCommands = CoreMachine.TestCase
TestAnySequenceOfCommands.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
