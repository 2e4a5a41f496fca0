"""Laws of what working attempts ask for, in a fleet that mostly works: many requests, few mishaps."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from support.asking_rules import AskingRules
from support.deciding import Ledger, accept, declare, finish, register, remove, submit
from support.invariants import check_all, check_replay
from watchbill_coordination.core.commands import Command, LoseReplica, Rejected

REPLICAS = ("blue-0", "blue-1", "blue-2", "green-0")
LOCKS = st.lists(
    st.builds(dict, name=st.sampled_from(["x", "y"]), mode=st.sampled_from(["Shared", "Exclusive"])), max_size=2
)
OUTCOMES = st.sampled_from(["Succeeded", "Succeeded", "Failed", "Cancelled", "GivenBack"])


class RequestMachine(AskingRules):
    """Attempts ask, end and are replaced; after each step everything must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.objects: dict[str, str] = {}
        self.lives = dict.fromkeys(REPLICAS, 0)
        for pool, replicas in (("blue", 3), ("green", 1)):
            self.do(declare(pool, role=pool, replicas=replicas))
        for replica in REPLICAS:
            self.start(replica)

    def do(self, command: Command) -> None:
        """Do it, and see that doing it again changes nothing."""
        self.ledger.do(command)
        again = self.ledger.decide(command)
        assert isinstance(again, Rejected) or again == [], f"{command} led to {again} again"

    def start(self, replica: str) -> None:
        """The next life of a replica."""
        self.lives[replica] += 1
        self.do(register(replica, f"{replica}/{self.lives[replica]}"))

    @initialize(locks=LOCKS)
    def begin(self, locks: list[dict[str, str]]) -> None:
        """There is work for everybody."""
        for _ in range(3):
            self.create(locks)

    @rule(locks=LOCKS)
    def create(self, locks: list[dict[str, str]]) -> None:
        """A user creates a Task, while not too many wait."""
        if len(self.ledger.state.tasks) > 12:
            return
        uid = f"t{len(self.ledger.records)}"
        self.objects[uid] = uid
        policy = {"initialDelaySeconds": 0, "maxRetries": 3}
        self.do(submit(uid, locks=locks, retryPolicy=policy))

    @rule(data=st.data(), outcome=OUTCOMES, seldom=st.integers(0, 2))
    def end(self, data: st.DataObject, outcome: str, seldom: int) -> None:
        """An attempt is over."""
        slot = self.choose_slot(data)
        if slot is not None and not seldom:
            self.do(accept(slot[0], **slot[1]))
            self.do(finish(slot[0], outcome, **slot[1]))

    @rule(data=st.data(), how=st.sampled_from(["cancel", "delete", "lose", *["nothing"] * 7]))
    def disturb(self, data: st.DataObject, how: str) -> None:
        """A user stops a Task, or its agent dies."""
        slot = self.choose_slot(data)
        if slot is None or how == "nothing":
            return
        uid, who = slot
        task = self.ledger.state.tasks.get(self.ledger.replica(who["replica"]).attempts[uid].task)
        if how == "lose":
            self.do(LoseReplica(agent=who["replica"], incarnation="", reason="PodGone"))
            self.start(who["replica"])
        elif task is not None and how == "delete":
            self.objects.pop(task.name, None)
            self.do(remove(uid))
        elif task is not None:
            spec: dict[str, Any] = {**task.spec.raw, "cancel": True}
            self.do(submit(uid, name=task.name, generation=task.generation + 1, **spec))

    @rule(seconds=st.sampled_from([1.0, 3.0, 61.0]))
    def let_time_pass(self, seconds: float) -> None:
        """Retries fall due."""
        self.ledger.wait(seconds)

    @invariant()
    def everything_holds(self) -> None:
        """All that must hold of any state."""
        check_all(self.ledger)

    def teardown(self) -> None:
        """The log alone leads to the same state."""
        check_replay(self.ledger)
        super().teardown()


TestAnyConversation = RequestMachine.TestCase
TestAnyConversation.settings = settings(
    max_examples=50, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
