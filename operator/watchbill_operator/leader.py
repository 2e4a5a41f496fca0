"""What an elected operator consists of, connected.

Owns the parts that live as long as this process leads, and the way of an observation to the loop. Invariant: every
observation passes `Leader.observe`, whether kopf, a LIST or an answer brought it. Decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time

from watchbill_coordination.coordinator.coordinator import Coordinator
from watchbill_coordination.core.commands import Command
from watchbill_coordination.core.specs import AgentName, TaskUid
from watchbill_coordination.core.state import Phase
from watchbill_coordination.storage.faults import Fenced
from watchbill_operator.actions import Announcer, CommitActions
from watchbill_operator.api import AGENTS, TASKS, Api
from watchbill_operator.children import ChildMaker, ChildWiring
from watchbill_operator.conditions import Finding
from watchbill_operator.config import Config
from watchbill_operator.context_keeper import ContextKeeper
from watchbill_operator.fleet import Fleet, FleetWiring
from watchbill_operator.health import Health
from watchbill_operator.housekeeping import Housekeeping, HouseWiring
from watchbill_operator.loop import Inbox, Loop
from watchbill_operator.mailroom import Mailroom
from watchbill_operator.metrics import Metrics
from watchbill_operator.notices import Subject, build_notice, parse_subject
from watchbill_operator.observations import Observation, parse_agent, parse_task
from watchbill_operator.patching import Patcher, Rank, Target
from watchbill_operator.pod_settings import build_pod_settings
from watchbill_operator.reconcile import Listing, Pace, build_known, load_when_there, plan_removals
from watchbill_operator.statuses import Statuses, rank_of, task_target
from watchbill_operator.usage_keeper import UsageKeeper
from watchbill_operator.workspaces import list_workspaces

logger = logging.getLogger(__name__)


class Leader:
    """All parts of an operator that leads."""

    def __init__(self, config: Config, api: Api, coordinator: Coordinator, *, tell: tuple[Health, Metrics]) -> None:
        self.fenced: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._config = config
        self._api = api
        self._coordinator = coordinator
        self._state = coordinator.state
        self._health, self._metrics = tell
        self._inbox = Inbox()
        self._pace = Pace(config.reconcile_seconds)
        layout = coordinator.layout
        self._mailroom = Mailroom(
            layout, self._state, self._inbox.submit, is_deposed=self._is_deposed, local=config.local_volume
        )
        self.fleet = Fleet(api, layout, build_pod_settings(config), self._wiring())
        self._contexts = ContextKeeper(layout, self._state, self._inbox, self._announce)
        self._contexts.refused_changed = self._offer_waiting
        self._statuses = Statuses(self._state, self.fleet, lambda: self._contexts.refused)
        self._patcher = Patcher(
            api, self._statuses.build, self._inbox.settled, epoch=coordinator.epoch, on_fence=self._on_fence
        )
        self._patcher.failed = self._statuses.forget
        self._announcer = Announcer(api)
        self._actions = CommitActions(
            coordinator, self._mailroom, self.fleet, self._patcher, tell=(self._announcer, self._metrics)
        )
        self._actions.context_changed = self._contexts.committed
        self._actions.held = self._statuses.hold
        self._children = ChildMaker(
            api, self._state, ChildWiring(self._submit, self.observe, self._inbox.settled, self._is_deposed)
        )
        self._actions.children_wanted = self._children.wake
        self._usage = UsageKeeper(layout, self._state, self._submit, self._inbox.settled)
        self._actions.recorded = self._usage.note
        self._house = Housekeeping(api, layout, self._state, self._house_wiring())
        self._loop = Loop(coordinator, self._inbox, self._actions, self._health)

    def observe(self, observation: Observation) -> None:
        """Take in what the API showed."""
        if observation.kind == "Pod":
            agent = self.fleet.observed.see_pod(observation)
            if agent:
                self._inbox.replan(agent)
                self._offer_agent(agent)
        elif not self.fleet.observed.sightings.admit(observation):
            return
        elif observation.kind == "Agent":
            self._observe_agent(observation)
        elif observation.kind == "Task":
            self._observe_task(observation)
        elif observation.kind == "ConfigMap":
            self._contexts.see(observation)

    async def start(self) -> None:
        """Bring log and API together: what is there, what is missing, what was pending when the last leader ended."""
        known = build_known(self._state)
        workspaces = list_workspaces(self._coordinator.layout)
        for replica in workspaces:
            if replica in self._state.replicas:  # what it said meanwhile comes before what became of its pod
                self._mailroom.open(replica)
        listing = await load_when_there(self._api, self._look, self._wait)
        for replica in workspaces:  # one that the log does not know can be heard once its Agent is known
            self._mailroom.open(replica)
        for command in plan_removals(known, listing):
            self._inbox.submit(command)
        for name in [*known.agents, *(agent.name for agent in self._state.agents.values() if agent.removed)]:
            if name not in self.fleet.observed.agents:
                self.fleet.observed.removed.setdefault(name, self._state.agents[name].uid)
            self._inbox.replan(name)
        self._actions.deliver(list(self._state.replicas))
        self._contexts.listed()

    async def run(self) -> None:
        """Run all parts until cancelled or until one fails."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._loop.run(), name="loop")
            group.create_task(self._mailroom.run(), name="mailroom")
            group.create_task(self._patcher.run(), name="patcher")
            group.create_task(self._announcer.run(), name="announcer")
            group.create_task(self._contexts.run(), name="context")
            group.create_task(self._house.run(), name="housekeeping")
            group.create_task(self._children.run(), name="children")
            group.create_task(self._usage.run(), name="usage")
            group.create_task(self._reconcile(), name="reconcile")

    def doubt(self) -> None:
        """A watch begins: what vanished before is told by nobody, so that all is compared soon."""
        self._pace.doubt()

    async def wait_until_there(self) -> None:
        """Wait until every kind can be listed, and take in what there is."""
        await self._load_listing()

    async def stop(self) -> None:
        """Let go of what is under way. The log is the caller's to close."""
        await self.fleet.stop()
        await self._patcher.flush(1.0)
        self._mailroom.shut()
        self._contexts.shut()

    def _wiring(self) -> FleetWiring:
        return FleetWiring(
            submit=self._submit,
            replan=lambda name: self._inbox.replan(name),
            opened=lambda replica: self._mailroom.open(replica),
            changed=self._offer_agent,
            reported=self._report,
            is_deposed=self._is_deposed,
        )

    def _house_wiring(self) -> HouseWiring:
        return HouseWiring(
            submit=self._submit,
            clean=self._actions.clean,
            close=self._mailroom.close,
            pods=lambda: set(self.fleet.observed.pods),
            settled=self._inbox.settled,
            is_deposed=self._is_deposed,
        )

    def _submit(self, command: Command) -> None:
        self._inbox.submit(command)

    def _observe_agent(self, observation: Observation) -> None:
        name = self.fleet.observed.see_agent(observation)
        known = self._state.agents.get(name)
        generation = observation.body["metadata"].get("generation", 1)
        is_news = known is None or known.uid != observation.uid or known.generation != generation
        if is_news or observation.is_leaving:
            for command in parse_agent(observation):
                self._inbox.submit(command)
            self._inbox.replan(name)
            self._offer_agent(name)

    def _observe_task(self, observation: Observation) -> None:
        """Hand a Task over, unless it is only our own status that changed: most events of a busy system are that."""
        known = self._state.tasks.get(TaskUid(observation.uid))
        generation = observation.body["metadata"].get("generation", 1)
        if observation.is_leaving:
            target = Target(TASKS, observation.name, observation.uid)
            self._patcher.queue.withdraw(target)
            self._statuses.forget(target)
        if known is None or observation.is_leaving or known.generation != generation:
            for command in parse_task(observation):
                self._inbox.submit(command)

    def _offer_agent(self, name: AgentName) -> None:
        """The Agent's status may differ now from what was told."""
        body = self.fleet.observed.agents.get(name)
        if body is not None:
            self._patcher.offer(Target(AGENTS, name, body["metadata"]["uid"]), Rank.POOL)

    def _offer_waiting(self, paths: set[str]) -> None:
        """Tasks that wait for this shared context have something else to tell."""
        for task in self._state.tasks.values():
            if task.phase is Phase.PENDING and not paths.isdisjoint(task.spec.context):
                self._patcher.offer(task_target(task), Rank.WAITING)

    def _report(self, name: AgentName, finding: Finding) -> None:
        logger.warning("Agent %s: %s: %s", name, finding.reason, finding.message)
        if body := self.fleet.observed.agents.get(name):
            self._announce(parse_subject("Agent", AGENTS.version, body), finding)

    def _announce(self, subject: Subject, finding: Finding) -> None:
        self._announcer.post([build_notice(subject, finding, time.time())])

    def _on_fence(self, message: str) -> None:
        self._end(f"the API refused a status: {message}")

    def _is_deposed(self) -> bool:
        """Whether another process leads by now; then this one ends, and what it planned before is not done any more.

        Raises OSError.
        """
        try:
            self._coordinator.check_fence()
        except Fenced as fault:
            self._end(str(fault))
            return True
        return False

    def _end(self, reason: str) -> None:
        if not self.fenced.done():
            self.fenced.set_result(reason)

    async def _reconcile(self) -> None:
        """Compare all with all, now and then and soon after a watch begins; what differs is offered again."""
        while True:
            await self._pace.wait()
            known = build_known(self._state)
            gone = [*self.fleet.observed.tell_gone(), *self._contexts.tell_gone()]
            listing = await self._load_listing()
            for observation in gone:
                if observation.uid not in listing.uids:
                    self.observe(observation)
            for command in plan_removals(known, listing):
                self._inbox.submit(command)
            for name in self._state.agents:
                self._inbox.replan(name)
            self._children.mend()
            await self._mend_grants()
            self._pace.note(listing)

    async def _mend_grants(self) -> None:
        """See to it that brokers find what the log says; a volume that cannot be asked is asked the next time."""
        await self._inbox.settled.wait()
        try:
            if not self._is_deposed():
                self._actions.mend_grants()
        except OSError as error:
            logger.warning("the grants were not compared: %s", error)

    async def _load_listing(self) -> Listing:
        """LIST everything as soon as that is possible, and have it looked at."""
        listing = await load_when_there(self._api, self._look, self._wait)
        self._wait("")
        return listing

    async def _look(self, observation: Observation) -> None:
        """Take in an object of a LIST, and offer it if its status is not what the log says."""
        await self._inbox.settled.wait()
        self.observe(observation)
        if observation.kind == "Task":
            task = self._state.tasks.get(TaskUid(observation.uid))
            if task is not None and self._statuses.differs(task_target(task), observation.body):
                self._patcher.offer(task_target(task), rank_of(task))
        elif observation.kind == "Agent":
            target = Target(AGENTS, observation.name, observation.uid)
            if self._statuses.differs(target, observation.body):
                self._patcher.offer(target, Rank.POOL)

    def _wait(self, reason: str) -> None:
        """Say what is waited for, once for each reason; empty: nothing any more."""
        if reason and reason != self._health.waiting_for:
            logger.info("waiting: %s", reason)
        self._health.waiting_for = reason
        self._health.beat()
