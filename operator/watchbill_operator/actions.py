"""What follows from a commit, in the order of urgency: mail, patches, pods, Events, figures.

Owns the order and which touched thing leads to which action. Every action is derived from committed state, so doing it
again changes nothing and one that was lost comes back with the next reconcile. Never changes the state.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

from watchbill_coordination.coordinator.coordinator import Committed, Coordinator
from watchbill_coordination.core.assignments import pending_messages
from watchbill_coordination.core.events import (
    AgentDeclared,
    AgentRemoved,
    AttemptAbandoned,
    ContextPublished,
    ContextWithdrawn,
    Event,
    Recorded,
    ReplicaDraining,
    ReplicaLost,
    ReplicaRegistered,
    ReplicaReleased,
    TaskDeleted,
)
from watchbill_coordination.core.specs import AgentName, ReplicaName, TaskUid
from watchbill_coordination.core.state import Phase, ReplicaPhase
from watchbill_coordination.core.working_events import (
    AgentParked,
    AgentUnparked,
    ChildCreated,
    ChildRefused,
    ChildRequested,
    LockDenied,
    LockGranted,
    LockReturned,
    LockReturnRefused,
    ProgressReported,
    UsageReported,
)
from watchbill_operator.api import EVENTS, Api, ApiError, ConflictError, Request, UnavailableError
from watchbill_operator.fleet import Fleet
from watchbill_operator.grants import GrantsWriter
from watchbill_operator.kube_events import Budget, build_kube_events
from watchbill_operator.mail import Mail
from watchbill_operator.mailroom import Mailroom
from watchbill_operator.metrics import Metrics
from watchbill_operator.observations import MISSHAPEN
from watchbill_operator.outages import Outage
from watchbill_operator.patching import Patcher, Rank
from watchbill_operator.statuses import agent_target, rank_of, task_target

logger = logging.getLogger(__name__)

WAITING_EVENTS = 1000  #: Kubernetes Events that wait to be written; older ones are dropped
ATTEMPTS = 2  #: tries of one Event
REEXPLAINED = 50  #: tasks of one queue that are told at once that their pool was parked; full comparisons tell the rest
PLANNED = (AgentDeclared, AgentRemoved, ReplicaRegistered, ReplicaDraining, ReplicaReleased, ReplicaLost)

PARKING = (AgentParked, AgentUnparked)
#: What a running attempt says and gets: people are told of it when there is nothing else to tell.
CALM = (
    ProgressReported,
    UsageReported,
    LockGranted,
    LockDenied,
    LockReturned,
    LockReturnRefused,
    ChildRequested,
    ChildCreated,
    ChildRefused,
)


class Announcer:
    """Writes Kubernetes Events, one after another, as a courtesy: none of them is ever waited for."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._waiting: deque[Mapping[str, Any]] = deque(maxlen=WAITING_EVENTS)
        self._outage = Outage("Kubernetes Events")
        self._wake = asyncio.Event()

    def post(self, bodies: Iterable[Mapping[str, Any]]) -> None:
        """Write them when there is time."""
        self._waiting.extend(bodies)
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._write(self._waiting.popleft())
                await asyncio.sleep(max(0.0, self._outage.until - time.monotonic()))

    async def _write(self, body: Mapping[str, Any]) -> None:
        """Write one. That which finds no API is lost, so that none stands in the way of the others."""
        request = Request(method="POST", resource=EVENTS, body=body)
        try:
            await self._api.send(request, attempts=min(ATTEMPTS, self._outage.attempts))
        except UnavailableError as error:
            self._outage.fail(error, time.monotonic())
            return
        except ConflictError:
            pass  # written before a restart
        except ApiError as error:
            logger.warning("the Kubernetes Event %s was not written: %s", body["metadata"]["name"], error)
        self._outage.end()


class CommitActions:
    """All actions of one operator."""

    def __init__(
        self,
        coordinator: Coordinator,
        mailroom: Mailroom,
        fleet: Fleet,
        patcher: Patcher,
        *,
        tell: tuple[Announcer, Metrics],
    ) -> None:
        self._coordinator = coordinator
        self._mailroom = mailroom
        self._fleet = fleet
        self._patcher = patcher
        self._announcer, self._metrics = tell
        self._budget = Budget(at=time.time())
        self._grants = GrantsWriter(coordinator.layout, coordinator.state)
        self.held: Callable[[str], None] = lambda trouble: None
        self.context_changed: Callable[[], None] = lambda: None
        self.children_wanted: Callable[[], None] = lambda: None
        self.recorded: Callable[[Iterable[Recorded]], None] = lambda records: None

    def act(self, committed: Committed, mail: list[Mail]) -> None:
        """Do what follows from this commit and from having taken this mail."""
        state = self._coordinator.state
        self.deliver(committed.replicas)
        self._mailroom.acknowledge(mail, ep=self._coordinator.epoch, seq=self._coordinator.committed_seq)
        if not committed.records:
            return
        kinds = {type(recorded.event) for recorded in committed.records}
        stirred = committed.tasks if kinds.isdisjoint(CALM) else _find_stirred(committed.records)
        for uid in committed.tasks:
            if task := state.tasks.get(uid):
                is_calm = uid not in stirred and task.phase is Phase.RUNNING
                self._patcher.offer(task_target(task), Rank.PROGRESS if is_calm else rank_of(task))
        for recorded in committed.records if not kinds.isdisjoint(PARKING) else ():
            self._offer_queued(recorded.event)
        for name in committed.agents:
            if (agent := state.agents.get(name)) and not agent.removed:
                self._patcher.offer(agent_target(agent), Rank.POOL)
        self.plan(self._agents_to_plan(committed))
        self._clean(committed.records)
        if not kinds.isdisjoint((ContextPublished, ContextWithdrawn)):
            self.context_changed()
        if state.children:
            self.children_wanted()
        self.recorded(committed.records)
        self._count(committed)
        bodies, self._budget = build_kube_events(committed.records, state, self._fleet.settings.namespace, self._budget)
        if bodies:
            self._announcer.post(bodies)

    def hold(self, trouble: str) -> None:
        """Tell Agents and queued Tasks that new work is held, or no longer; then deliver what could not be written."""
        state = self._coordinator.state
        self.held(trouble)
        self._metrics.volume_full.set(bool(trouble))
        for agent in state.agents.values():
            if not agent.removed:
                self._patcher.offer(agent_target(agent), Rank.POOL)
        for task in state.tasks.values():
            if task.phase is Phase.QUEUED:
                self._patcher.offer(task_target(task), Rank.WAITING)
        if not trouble:
            self.deliver(list(state.replicas))

    def deliver(self, replicas: Iterable[ReplicaName]) -> None:
        """Write what these replicas must have in their inboxes now, after what their brokers must know before."""
        state, seq = self._coordinator.state, self._coordinator.committed_seq
        for name in replicas:
            self._grants.update(name)
            replica = state.replicas.get(name)
            pending = () if replica is None else pending_messages(state, replica)
            self._mailroom.deliver(name, pending, ep=self._coordinator.epoch, seq=seq)

    def _offer_queued(self, event: Event) -> None:
        """Of the tasks that wait for an Agent that is parked, or no longer, the first ones wait for something else."""
        state = self._coordinator.state
        agent = state.agents.get(event.agent) if isinstance(event, AgentParked | AgentUnparked) else None
        if agent is None or agent.removed:
            return
        lines = [item for queues in state.index.ready.values() for item in queues.items()]
        queued = [queue.items[:REEXPLAINED] for line, queue in lines if agent.spec.takes(agent.name, line.route)]
        for entry in chain.from_iterable(queued):
            if task := state.tasks.get(entry.uid):
                self._patcher.offer(task_target(task), rank_of(task))

    def mend_grants(self) -> None:
        """Compare all grants with what lies on the volume, while this process leads."""
        self._grants.mend()

    def plan(self, agents: set[AgentName]) -> None:
        """Plan the pods of these Agents, each for itself: one that cannot be planned does not stop the others."""
        for name in agents:
            try:
                self._fleet.plan(name, self._coordinator.state, time.time())
            except MISSHAPEN:
                logger.exception("the pods of Agent %s cannot be planned", name)

    def _agents_to_plan(self, committed: Committed) -> set[AgentName]:
        """Agents whose pods may have to change. A dispatch alone changes none, and there are many."""
        state = self._coordinator.state
        draining = {
            replica.agent
            for name in committed.replicas
            if (replica := state.replicas.get(name)) and replica.phase is not ReplicaPhase.READY
        }
        if any(isinstance(recorded.event, PLANNED) for recorded in committed.records):
            return draining | committed.agents
        return draining

    def _clean(self, records: Iterable[Recorded]) -> None:
        """Tell agents that the work of deleted Tasks may go, once nothing of them runs any more."""
        for recorded in records:
            event = recorded.event
            if isinstance(event, TaskDeleted | AttemptAbandoned):
                for replica in self._mailroom.find_work(event.task):
                    self.clean(replica, (event.task,))

    def clean(self, replica: ReplicaName, tasks: tuple[TaskUid, ...]) -> None:
        """Tell an agent that work of these tasks may go, but what is being stopped there."""
        known = self._coordinator.state.replicas.get(replica)
        idle = tuple(task for task in tasks if known is None or task not in known.attempts)
        if idle:
            self._mailroom.clean(replica, idle, ep=self._coordinator.epoch, seq=self._coordinator.committed_seq)

    def _count(self, committed: Committed) -> None:
        self._metrics.count_records(committed.records, self._coordinator.state)
        times = committed.times
        self._metrics.append_seconds.observe(times.write_seconds + times.sync_seconds)
        self._metrics.fsync_seconds.observe(times.sync_seconds)


def _find_stirred(records: Iterable[Recorded]) -> set[str]:
    """The tasks of which something happened that people should learn soon."""
    return {getattr(recorded.event, "task", "") for recorded in records if not isinstance(recorded.event, CALM)}
