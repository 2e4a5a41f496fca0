"""What can be counted of work with models: tokens, money, locks and Tasks that agents ask for, and parked Agents.

Owns these names, labels and buckets. Invariants: no label has a Task's name or a word that an agent chose, so their
number is bounded by the Agents; a report that replaces an earlier one counts for its difference alone. Counters restart
at 0 and are moved by what happens; the gauge is computed from the state at each scrape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric

from watchbill_coordination.core.decide_given_back import PARKED_FOR
from watchbill_coordination.core.events import Event, TaskDeleted
from watchbill_coordination.core.specs import ReplicaName, TaskUid, parse_replica_name
from watchbill_coordination.core.state import State
from watchbill_coordination.core.usage import Usage
from watchbill_coordination.core.working_events import (
    AttemptGivenBack,
    ChildCreated,
    ChildRefused,
    LockDenied,
    LockGranted,
    UsageReported,
)

OTHER = "Other"  #: any reason that has no meaning to the rules
OUTCOMES: dict[type[Event], tuple[str, str]] = {
    LockGranted: ("locks", "granted"),
    LockDenied: ("locks", "denied"),
    ChildCreated: ("children", "created"),
    ChildRefused: ("children", "refused"),
}
#: All that `ModelMetrics.count` looks at.
COUNTED = frozenset({UsageReported, AttemptGivenBack, TaskDeleted, *OUTCOMES})


@dataclass(slots=True)
class UsageLedger:
    """The newest report of each attempt, so that the next one counts for its difference."""

    reports: dict[TaskUid, dict[int, Usage]] = field(default_factory=dict)

    def remember(self, state: State) -> None:
        """Take what was reported before this process led as counted."""
        self.reports = {uid: dict(task.usage) for uid, task in state.tasks.items() if task.usage}

    def take(self, event: UsageReported) -> Usage:
        """What this report brings beyond the one that it replaces; never less than nothing."""
        attempts = self.reports.setdefault(event.task, {})
        before = attempts.get(event.attempt, Usage())
        after = attempts[event.attempt] = Usage(
            input_tokens=event.input_tokens,
            output_tokens=event.output_tokens,
            cache_read_tokens=event.cache_read_tokens,
            cache_write_tokens=event.cache_write_tokens,
            cost_usd=event.cost_usd,
            requests=event.requests,
            turns=event.turns,
            seconds=event.seconds,
        )
        return Usage(
            input_tokens=max(0, after.input_tokens - before.input_tokens),
            output_tokens=max(0, after.output_tokens - before.output_tokens),
            cache_read_tokens=max(0, after.cache_read_tokens - before.cache_read_tokens),
            cache_write_tokens=max(0, after.cache_write_tokens - before.cache_write_tokens),
            cost_usd=max(0.0, after.cost_usd - before.cost_usd),
            requests=max(0, after.requests - before.requests),
            turns=max(0, after.turns - before.turns),
            seconds=max(0.0, after.seconds - before.seconds),
        )


class ModelMetrics:
    """The counters, in the registry of the process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"watchbill_{name}", text, labels, registry=registry)

        self.ledger = UsageLedger()
        self.tokens = counter("tokens", "Tokens of models.", "agent", "kind")
        self.cost = counter("cost_usd", "US dollars by the broker's prices.", "agent")
        self.requests = counter("model_requests", "Answers of models that were paid for.", "agent")
        self.turns = counter("model_turns", "Turns of models.", "agent")
        self.seconds = counter("model_seconds", "Duration of sessions with models.", "agent")
        self.given_back = counter("attempts_given_back", "Attempts given back, by reason.", "agent", "reason")
        self._by_outcome = {
            "locks": counter("locks_requested", "Locks that attempts asked for while they worked.", "outcome"),
            "children": counter("children", "Tasks that attempts asked for.", "outcome"),
        }

    def count(self, event: Event) -> None:
        """What one record brought."""
        if isinstance(event, UsageReported):
            self._count_usage(_agent_of(event.agent), self.ledger.take(event))
        elif isinstance(event, AttemptGivenBack):
            reason = event.reason if event.reason in PARKED_FOR else OTHER
            self.given_back.labels(_agent_of(event.agent), reason).inc()
        elif isinstance(event, TaskDeleted):
            self.ledger.reports.pop(event.task, None)
        elif type(event) in OUTCOMES:
            what, how = OUTCOMES[type(event)]
            self._by_outcome[what].labels(how).inc()

    def _count_usage(self, agent: str, gained: Usage) -> None:
        for kind, tokens in (
            ("input", gained.input_tokens),
            ("output", gained.output_tokens),
            ("cache_read", gained.cache_read_tokens),
            ("cache_write", gained.cache_write_tokens),
        ):
            self.tokens.labels(agent, kind).inc(tokens)
        self.cost.labels(agent).inc(gained.cost_usd)
        self.requests.labels(agent).inc(gained.requests)
        self.turns.labels(agent).inc(gained.turns)
        self.seconds.labels(agent).inc(gained.seconds)


def build_parking_gauge(state: State) -> Iterator[Metric]:
    """Which Agents get no tasks because of their credential."""
    text = "1: it gets no tasks because of its credential."
    family = GaugeMetricFamily("watchbill_agent_parked", text, labels=("agent",))
    for agent in state.agents.values():
        if not agent.removed:
            family.add_metric([agent.name], float(agent.is_parked))
    yield family


def _agent_of(replica: ReplicaName) -> str:
    parsed = parse_replica_name(replica)
    return str(replica) if parsed is None else str(parsed[0])
