"""Laws of plans: they come to rest, keep their hands off others' pods, and never double a living replica."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from support.deciding import Ledger, declare, finish, register, submit
from support.operator_cases import a_pod, an_agent, surroundings
from watchbill_coordination.core.commands import DrainReplica, LoseReplica, ReleaseReplica
from watchbill_coordination.core.specs import ReplicaName
from watchbill_operator.observed_pods import PodView
from watchbill_operator.planning import is_living, plan_pods
from watchbill_operator.pod_plan import Plan

SIZE = 4
ORDINALS = st.integers(0, SIZE - 1)
OLD, NEW = {"image": "agent:1"}, {"image": "agent:2"}
STEPS = st.one_of(
    st.tuples(st.just("pod"), ORDINALS, st.booleans()),
    st.tuples(st.just("foreign pod"), ORDINALS),
    st.tuples(st.just("register"), ORDINALS),
    st.tuples(st.just("release"), ORDINALS),
    st.tuples(st.just("lose"), ORDINALS),
    st.tuples(st.just("drain"), ORDINALS),
    st.tuples(st.just("pod ends"), ORDINALS),
    st.tuples(st.just("pod vanishes"), ORDINALS),
    st.tuples(st.just("task"), st.integers(0, 9)),
)


class Scene:
    """A log and the pods of one Agent, brought into any state that can occur."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.pods: dict[str, PodView] = {}
        self.foreign: set[str] = set()
        self.made = 0
        self.ledger.do(declare(replicas=SIZE))

    def play(self, step: tuple[Any, ...]) -> None:
        """Let one thing happen; what cannot happen now is left out."""
        kind, number, *more = step
        name = f"blue-{number}"
        pod, replica = self.pods.get(name), self.ledger.state.replicas.get(ReplicaName(name))
        if kind == "task":
            self.ledger.do(submit(f"t{number}"))
        elif kind == "pod" and pod is None:
            self.add(number, NEW if more[0] else OLD)
        elif kind == "foreign pod" and pod is None and not is_living(replica):
            self.pods[name] = a_pod(an_agent(uid="somebody"), number, uid="theirs")
            self.foreign.add(name)
        elif kind == "register" and pod is not None and not pod.has_ended and name not in self.foreign:
            self.ledger.do(register(name, f"{pod.uid}/1"))
        elif kind == "drain":
            self.ledger.do(DrainReplica(agent=ReplicaName(name), reason="Outdated"))
        elif kind in ("release", "lose") and replica is not None:
            command = ReleaseReplica if kind == "release" else LoseReplica
            reason = {} if kind == "release" else {"reason": "HeartbeatStale"}
            self.ledger.do(command(agent=replica.name, incarnation=replica.incarnation, **reason))
        elif kind == "pod ends" and pod is not None and name not in self.foreign:
            self.pods[name] = replace(pod, phase="Failed")
        elif kind == "pod vanishes" and pod is not None:
            del self.pods[name]
            self.foreign.discard(name)

    def add(self, number: int, image: dict[str, str]) -> None:
        """A new pod."""
        self.made += 1
        self.pods[f"blue-{number}"] = a_pod(an_agent(replicas=SIZE, **image), number, uid=f"pod-{self.made}")

    def plan(self, wanted: int) -> Plan:
        """The plan for the newest Agent."""
        agent = an_agent(replicas=wanted, **NEW)
        return plan_pods(agent, surroundings(self.ledger, self.pods.values()), self.ledger.now)

    def carry_out(self, plan: Plan) -> None:
        """Do what it says, and let agents answer: new ones register, running ones finish."""
        for command in plan.commands:
            self.ledger.do(command)
        for delete in plan.deletes:
            assert delete.name not in self.foreign
            assert self.pods[delete.name].uid == delete.uid
            del self.pods[delete.name]
        for create in plan.creates:
            name = f"blue-{create.ordinal}"
            assert name not in self.pods
            assert not is_living(self.ledger.state.replicas.get(ReplicaName(name)))
            self.add(create.ordinal, NEW)
        for name, pod in self.pods.items():
            if name not in self.foreign and not pod.has_ended:
                self.ledger.do(register(name, f"{pod.uid}/1"))
        self.finish_all()

    def finish_all(self) -> None:
        """Every attempt ends."""
        for name, replica in list(self.ledger.state.replicas.items()):
            for uid, attempt in replica.attempts.items():
                self.ledger.do(finish(uid, replica=name, incarnation=replica.incarnation, attempt=attempt.attempt))


@given(steps=st.lists(STEPS, max_size=25), wanted=st.integers(0, SIZE))
@settings(max_examples=250, deadline=None)
def test_plans_come_to_rest_with_what_was_wanted(steps: list[tuple[Any, ...]], wanted: int) -> None:
    """From any state: as many pods as wanted, of the newest template, and then an empty plan."""
    scene = Scene()
    for step in steps:
        scene.play(step)
    scene.ledger.do(declare(replicas=wanted, generation=2))

    for _ in range(60):
        plan = scene.plan(wanted)
        scene.carry_out(plan)
        if plan.is_empty and plan.next_due is None and scene.plan(wanted).is_empty:
            break  # also after the agents that it waited for have answered

    assert scene.plan(wanted).is_empty
    own = {name: pod for name, pod in scene.pods.items() if name not in scene.foreign}
    taken = {name for name in scene.foreign if int(name[-1]) < wanted}
    assert set(own) == {f"blue-{number}" for number in range(wanted)} - taken
    assert {pod.template for pod in own.values()} <= {a_pod(an_agent(**NEW), 0).template}


@given(steps=st.lists(STEPS, max_size=25), wanted=st.integers(0, SIZE))
@settings(max_examples=100, deadline=None)
def test_a_plan_is_the_same_when_made_twice(steps: list[tuple[Any, ...]], wanted: int) -> None:
    """It changes nothing that it looks at."""
    scene = Scene()
    for step in steps:
        scene.play(step)

    assert scene.plan(wanted) == scene.plan(wanted)
