"""A fleet in memory: users, agent processes and mailboxes around the real rules, driven by one seed.

Owns what the world does to the rules: processes die, containers restart, messages come late, twice or after their
sender's death, the operator is replaced at any moment and goes on from its log. Knows no rule itself; time is a number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from support.deciding import Ledger, accept, declare, finish, register, remove, report, submit
from watchbill_coordination.core.assignments import pending_messages
from watchbill_coordination.core.commands import Command, LoseReplica, ReleaseReplica
from watchbill_coordination.core.events import TaskSucceeded
from watchbill_coordination.core.evolve import fold
from watchbill_coordination.core.messages import Assign, Cancel, Drain
from watchbill_coordination.core.specs import AgentName, ReplicaName

POOLS = ("blue", "green")
TYPES = {"blue": "search", "green": "codegen"}
POOL: dict[str, Any] = {"tasksPerReplica": 2, "drainSeconds": 10, "budget": {"perTaskUSD": 1.5}}
TICK = 1.0  #: seconds


@dataclass(slots=True)
class Process:
    """One life of an agent: what runs until when, and what it knows of."""

    replica: str
    incarnation: str
    running: dict[tuple[str, int], float] = field(default_factory=dict)  #: (task, attempt) → when it ends
    seen: set[str] = field(default_factory=set)  #: keys of inbox messages that it handled
    draining: bool = False


@dataclass(slots=True)
class Letter:
    """A message on its way."""

    at: float
    sender: str
    command: Command


class Fleet:
    """One seeded world. `trouble` is the chance of each mishap in each second."""

    def __init__(self, seed: int, trouble: float = 0.05) -> None:
        self.random = Random(seed)
        self.trouble = trouble
        self.ledger = Ledger()
        self.processes: dict[str, Process] = {}
        self.letters: list[Letter] = []
        self.newest: dict[str, float] = {}  # sender → when its newest letter arrives
        self.lives = 0
        self.wanted = dict.fromkeys(POOLS, 2)
        self.objects: dict[str, tuple[str, int, dict[str, Any]]] = {}  # name → uid, generation, spec
        self.finished_well: set[tuple[str, int]] = set()
        for pool in POOLS:
            self.ledger.do(declare(pool, role=pool, replicas=2, **POOL))

    def tick(self) -> None:
        """One second of everybody's life."""
        self.ledger.wait(TICK)
        self.start_processes()
        for process in list(self.processes.values()):
            self.read_inbox(process)
            self.work(process)
        self.deliver()
        if self.happens():
            self.replace_operator()

    def happens(self) -> bool:
        """Whether a mishap comes now."""
        return self.random.random() < self.trouble

    def live_through(self, seconds: int, users: bool = True) -> None:
        """Many seconds, with users who create and change things."""
        for _ in range(seconds):
            if users:
                self.disturb()
            self.tick()

    # Users.

    def disturb(self) -> None:
        """Somebody does something."""
        action = self.random.choice([self.create, self.create, self.create, self.change, self.delete, self.scale])
        action()

    def create(self) -> None:
        """A Task, perhaps under a name that was used before, perhaps waiting for another one."""
        name = f"t{self.random.randrange(30)}"
        if name in self.objects:
            return
        uid = f"{name}.{len(self.ledger.records)}"
        pool = self.random.choice(POOLS)
        others = self.random.sample(sorted(self.objects), k=min(len(self.objects), self.random.randrange(3)))
        spec: dict[str, Any] = {
            "type": TYPES[pool],
            "priority": self.random.choice([0, 500, 500, 1000]),
            "dependsOn": others if self.random.random() < 0.4 else [],
            "locks": self.choose_locks(),
            "timeoutSeconds": 60,
            "retryPolicy": {
                "maxRetries": 2,
                "initialDelaySeconds": 3,
                "preferSameAgentSeconds": self.random.choice([0, 0, 20]),
            },
        }
        self.apply(name, uid, 1, spec)

    def choose_locks(self) -> list[dict[str, str]]:
        """None, one or two of three names."""
        names = self.random.sample(["x", "y", "z"], k=self.random.choice([0, 0, 1, 1, 2]))
        return [{"name": name, "mode": self.random.choice(["Shared", "Exclusive"])} for name in names]

    def apply(self, name: str, uid: str, generation: int, spec: dict[str, Any]) -> None:
        """What `kubectl apply` does."""
        self.objects[name] = (uid, generation, spec)
        self.ledger.do(submit(uid, name=name, generation=generation, **spec))

    def change(self) -> None:
        """Priority, suspend or cancel."""
        if self.objects:
            name = self.random.choice(sorted(self.objects))
            uid, generation, spec = self.objects[name]
            wish = self.random.choice([{"suspend": True}, {"suspend": False}, {"priority": 900}, {"cancel": True}])
            self.apply(name, uid, generation + 1, {**spec, **wish})

    def delete(self) -> None:
        """Whatever its task does."""
        if self.objects and self.random.random() < 0.5:
            name = self.random.choice(sorted(self.objects))
            self.ledger.do(remove(self.objects.pop(name)[0]))

    def scale(self) -> None:
        """Between one and three replicas."""
        pool = self.random.choice(POOLS)
        self.wanted[pool] = self.random.choice([1, 2, 2, 3])
        generation = self.ledger.state.agents[AgentName(pool)].generation + 1
        self.ledger.do(declare(pool, generation=generation, role=pool, replicas=self.wanted[pool], **POOL))

    # Agents.

    def start_processes(self) -> None:
        """A pod for every replica that is wanted and has none."""
        for pool in POOLS:
            for number in range(self.wanted[pool]):
                name = f"{pool}-{number}"
                if name not in self.processes:
                    self.start(name)

    def start(self, name: str) -> None:
        """A new life, which says hello."""
        self.lives += 1
        self.processes[name] = Process(name, f"pod-{name}/{self.lives}")
        self.send(register(name, self.processes[name].incarnation, slots=2), name)

    def send(self, command: Command, sender: str) -> None:
        """Put a message on its way: late when things go wrong, and sometimes twice.

        Letters of one mailbox keep their order, as files with numbers do; only their copies come whenever they like.
        """
        at = self.ledger.now + (self.random.uniform(0, 20) if self.happens() else 0)
        at = self.newest[sender] = max(at, self.newest.get(sender, 0.0))
        self.letters.append(Letter(at, sender, command))
        if self.happens():
            self.letters.append(Letter(at + self.random.uniform(0, 120), sender, command))

    def read_inbox(self, process: Process) -> None:
        """Take what the operator wants this replica to have."""
        replica = self.ledger.state.replicas.get(ReplicaName(process.replica))
        if replica is None or replica.incarnation != process.incarnation:
            return
        for outgoing in pending_messages(self.ledger.state, replica):
            if outgoing.key in process.seen:
                continue
            process.seen.add(outgoing.key)
            self.handle(process, outgoing.message)

    def handle(self, process: Process, message: Any) -> None:
        """Begin, stop or leave."""
        who = {"replica": process.replica, "incarnation": process.incarnation}
        match message:
            case Assign(task=task, attempt=attempt):
                process.running[task, attempt] = self.ledger.now + self.random.uniform(0, 15)
                self.send(accept(task, attempt=attempt, **who), process.replica)
            case Cancel(task=task, attempt=attempt):
                process.running.pop((task, attempt), None)
                self.send(finish(task, "Cancelled", attempt=attempt, **who), process.replica)
            case Drain():
                process.draining = True

    def work(self, process: Process) -> None:
        """What is done is reported; some processes die, with or without a word."""
        for (task, attempt), end in list(process.running.items()):
            if end <= self.ledger.now:
                del process.running[task, attempt]
                self.end(process, task, attempt)
        if process.draining and not process.running:
            self.send(
                ReleaseReplica(agent=ReplicaName(process.replica), incarnation=process.incarnation), process.replica
            )
            del self.processes[process.replica]
        elif self.happens():
            self.die(process)

    def end(self, process: Process, task: str, attempt: int) -> None:
        """An attempt ends, and its ledger is read; sometimes the provider does not serve its credential."""
        outcome = self.random.choice(["Succeeded", "Succeeded", "Succeeded", "Failed"])
        if self.happens():
            outcome = "GivenBack"
        if outcome == "Succeeded":
            self.finished_well.add((task, attempt))
        cost = self.random.choice([0.0, 0.1, 0.7])
        self.send(report(task, replica=process.replica, attempt=attempt, cost_usd=cost), process.replica)
        after = self.random.uniform(0, 60)
        said = {"incarnation": process.incarnation, "reason": "RateLimited", "retry_after_seconds": after}
        self.send(finish(task, outcome, replica=process.replica, attempt=attempt, **said), process.replica)

    def die(self, process: Process) -> None:
        """The container restarts at once, or the pod is gone and the operator sees it later."""
        del self.processes[process.replica]
        if self.random.random() < 0.5:
            self.start(process.replica)
            return
        name = ReplicaName(process.replica)
        self.send(LoseReplica(agent=name, incarnation=process.incarnation, reason="PodGone"), "kubelet")

    # The operator.

    def deliver(self) -> None:
        """Hand over what has arrived, the mailboxes in any order."""
        arrived = [letter for letter in self.letters if letter.at <= self.ledger.now]
        self.letters = [letter for letter in self.letters if letter.at > self.ledger.now]
        turn = {letter.sender: self.random.random() for letter in arrived}
        for letter in sorted(arrived, key=lambda letter: (turn[letter.sender], letter.at)):
            self.ledger.do(letter.command)
        for replica in list(self.ledger.state.replicas.values()):
            process = self.processes.get(replica.name)
            if replica.phase.is_live and process is None and self.random.random() < 0.2:
                self.ledger.do(LoseReplica(agent=replica.name, incarnation="", reason="PodGone"))
            if not replica.phase.is_live and process is not None and replica.incarnation == process.incarnation:
                del self.processes[replica.name]

    def replace_operator(self) -> None:
        """Another one takes over: all it has is the log."""
        self.ledger.state = fold(self.ledger.records)
        self.ledger.epoch += 1

    # The end.

    def come_to_rest(self, patience: int = 4000) -> None:
        """No more mishaps and no more users; what is suspended goes on. Fails when somebody still waits then."""
        self.trouble = 0.0
        for name, (uid, generation, spec) in list(self.objects.items()):
            self.apply(name, uid, generation + 1, {**spec, "suspend": False})
        for _ in range(patience):
            if all(task.phase.is_terminal for task in self.ledger.state.tasks.values()) and not self.letters:
                return
            self.tick()
        waiting = [task for task in self.ledger.state.tasks.values() if not task.phase.is_terminal]
        raise AssertionError(f"{len(waiting)} tasks never end: {waiting[:3]}")

    def winners(self) -> set[tuple[str, int]]:
        """The attempts whose results were accepted."""
        events = [record.event for record in self.ledger.records]
        return {(event.task, event.attempt) for event in events if isinstance(event, TaskSucceeded)}
