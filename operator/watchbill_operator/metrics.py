"""What can be counted: the metrics of the operator, prefix `watchbill_`.

Owns names, labels and buckets. Invariant: no label has a Task's name, so their number is bounded by the Agents.
Counters and histograms are moved by what happens and restart at 0; gauges about tasks, queues and agents are computed
from the state when they are scraped, so they are a projection like any other.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from watchbill_coordination.core.events import (
    AttemptFailed,
    AttemptLost,
    Recorded,
    ResultRefused,
    TaskDispatched,
    TaskSucceeded,
)
from watchbill_coordination.core.state import AgentState, Level, Phase, ReplicaPhase, State, TaskState
from watchbill_coordination.core.working_events import AttemptGivenBack
from watchbill_operator.api import Request
from watchbill_operator.model_metrics import COUNTED, ModelMetrics, build_parking_gauge

disable_created_metrics()  # type: ignore[no-untyped-call]  # else each counter has a series for its birth

SYNC_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 1800.0)

OUTCOMES: dict[type, str] = {
    TaskSucceeded: "succeeded",
    AttemptFailed: "failed",
    AttemptLost: "lost",
    AttemptGivenBack: "given_back",
    ResultRefused: "refused",
}


class Metrics:
    """All metrics of one operator process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.append_seconds = self._histogram("append_seconds", "Writing one batch of records, sync included.")
        self.fsync_seconds = self._histogram("fsync_seconds", "The sync alone.")
        self.queue_wait_seconds = self._histogram("queue_wait_seconds", "From first queued to given.", LATENCY_BUCKETS)
        self.run_seconds = self._histogram("run_seconds", "From given to accepted result.", LATENCY_BUCKETS)
        self.records = Counter("watchbill_log_records", "Records appended.", registry=self.registry)
        self.attempts = Counter("watchbill_attempts", "Attempts by outcome.", ["outcome"], registry=self.registry)
        self.api_calls = Counter(
            "watchbill_api_calls", "API calls.", ["verb", "resource", "code"], registry=self.registry
        )
        self.api_seconds = Histogram(
            "watchbill_api_seconds", "Time of API calls.", ["verb"], buckets=LATENCY_BUCKETS, registry=self.registry
        )
        self.mail_rejected = Counter("watchbill_mail_rejected", "Malformed messages.", registry=self.registry)
        self.volume_full = Gauge("watchbill_volume_full", "1 while new work is held.", registry=self.registry)
        self.model = ModelMetrics(self.registry)

    def derive_from(self, state: Callable[[], State | None], now: Callable[[], float] = time.time) -> None:
        """Add the gauges, computed from the state at each scrape. What it says of use of models was counted before."""
        if known := state():
            self.model.ledger.remember(known)
        self.registry.register(_Derived(state, now))

    def count_call(self, request: Request, code: int, seconds: float) -> None:
        """One API call; code 0 where no answer came. Called from the API's threads."""
        self.api_calls.labels(request.verb, request.kind, str(code)).inc()
        self.api_seconds.labels(request.verb).observe(seconds)

    def count_records(self, records: Iterable[Recorded], state: State) -> None:
        """What a commit brought."""
        for recorded in records:
            self.records.inc()
            if type(recorded.event) in COUNTED:
                self.model.count(recorded.event)
            if outcome := OUTCOMES.get(type(recorded.event)):
                self.attempts.labels(outcome).inc()
            if isinstance(recorded.event, TaskDispatched | TaskSucceeded):
                self._time(recorded, recorded.event, state.tasks.get(recorded.event.task))

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)

    def _time(self, recorded: Recorded, event: TaskDispatched | TaskSucceeded, task: TaskState | None) -> None:
        if task is None:
            return
        if isinstance(event, TaskDispatched) and task.first_queued is not None:
            self.queue_wait_seconds.observe(max(0.0, recorded.at - task.first_queued))
        elif isinstance(event, TaskSucceeded) and task.started_at is not None:
            self.run_seconds.observe(max(0.0, recorded.at - task.started_at))

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...] = SYNC_BUCKETS) -> Histogram:
        return Histogram(f"watchbill_{name}", text, buckets=buckets, registry=self.registry)


@dataclass(frozen=True, slots=True)
class _Derived(Collector):
    """Gauges that are a function of the state."""

    state: Callable[[], State | None]
    now: Callable[[], float]

    def collect(self) -> Iterator[Metric]:
        state = self.state()
        if state is None:
            return
        yield _gauge("watchbill_log_seq", "The newest record.", [((), state.seq)])
        yield _gauge("watchbill_log_epoch", "The epoch of this writer.", [((), state.epoch)])
        yield from build_task_gauges(state, self.now())
        yield from build_agent_gauges(state)
        yield from build_parking_gauge(state)


def build_task_gauges(state: State, now: float) -> Iterator[Metric]:
    """Tasks by phase; depth and oldest age of the queues by role (or Agent, or type) that is asked for."""
    phases = Tally(dict.fromkeys(Phase, 0))
    roles = sorted({agent.spec.role for agent in state.agents.values() if not agent.removed})
    depth = Tally(dict.fromkeys(roles, 0))  # an empty queue is told as 0, so that no series ends
    oldest = dict.fromkeys(roles, 0.0)
    for task in state.tasks.values():
        phases[task.phase] += 1
        if task.phase is Phase.QUEUED:
            role = queue_of(task, state)
            depth[role] += 1
            oldest[role] = max(oldest.get(role, 0.0), now - (task.first_queued or now))
    yield _gauge("watchbill_tasks", "Tasks by phase.", [((phase.value,), n) for phase, n in phases.items()], "phase")
    yield _gauge("watchbill_queue_depth", "Queued tasks.", [((role,), n) for role, n in depth.items()], "role")
    yield _gauge("watchbill_queue_oldest_seconds", "Age of the oldest.", [((r,), a) for r, a in oldest.items()], "role")


def build_agent_gauges(state: State) -> Iterator[Metric]:
    """Replicas wanted, ready and busy, and the level, of each Agent."""
    ready: Tally[str] = Tally()
    busy: Tally[str] = Tally()
    for replica in state.replicas.values():
        ready[replica.agent] += replica.phase is ReplicaPhase.READY
        busy[replica.agent] += bool(replica.attempts) and replica.phase in (ReplicaPhase.READY, ReplicaPhase.DRAINING)
    agents = [agent for agent in state.agents.values() if not agent.removed]
    levels = list(Level)
    for name, text, value in (
        ("wanted", "Replicas asked for.", lambda agent: agent.spec.replicas),
        ("ready", "Replicas that take tasks.", lambda agent: ready[agent.name]),
        ("busy", "Replicas with a running task.", lambda agent: busy[agent.name]),
    ):
        yield _gauge(f"watchbill_agents_{name}", text, [(_agent_labels(a), value(a)) for a in agents], "agent", "role")
    yield _gauge(
        "watchbill_degradation_level",
        "0 Normal, 1 Constrained, 2 Degraded, 3 Critical.",
        [((agent.name,), levels.index(agent.level)) for agent in agents],
        "agent",
    )


def queue_of(task: TaskState, state: State) -> str:
    """The role whose queue a task stands in; for one that names an Agent, that Agent's role; else none is known."""
    agent = state.agents.get(task.spec.agent_ref)  # type: ignore[call-overload]  # a name of str, AgentName is one
    if agent is not None:
        return str(agent.spec.role)
    return task.spec.role or next((a.spec.role for a in state.agents.values() if _takes(a, task)), "none")


def _takes(agent: AgentState, task: TaskState) -> bool:
    return not agent.removed and agent.spec.takes(agent.name, task.spec.route)


def _agent_labels(agent: AgentState) -> tuple[str, str]:
    return (agent.name, agent.spec.role)


def _gauge(name: str, text: str, samples: Iterable[tuple[tuple[str, ...], float]], *labels: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(list(values), value)
    return family
