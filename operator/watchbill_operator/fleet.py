"""The pods of all Agents: what was observed of them, and carrying out the plans for them.

Owns the observed Agents and pods, and the calls under way for each replica. Invariants: a workspace exists before its
pod is created; at most one call is under way for a pod's name; a pod is deleted with its uid as precondition; an
Agent is planned anew after each answer, so a plan never works on what it does not know yet. Never decides: plans do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from watchbill_coordination.core.commands import Command
from watchbill_coordination.core.specs import AgentName, ReplicaName
from watchbill_coordination.core.state import State
from watchbill_coordination.storage.layout import Layout
from watchbill_operator.api import PODS, Api, ApiError, ConflictError, GoneError, RefusedError, Request
from watchbill_operator.conditions import Finding
from watchbill_operator.observations import Observation, Sightings, parse_observation
from watchbill_operator.observed_pods import PodView, parse_pod
from watchbill_operator.planning import Surroundings, build_name_taken, plan_pods, plan_removal
from watchbill_operator.pod_backoff import PodFailures, evolve_failures, evolve_refused
from watchbill_operator.pod_plan import CreatePod, DeletePod, Plan
from watchbill_operator.pod_settings import PodSettings
from watchbill_operator.pod_trouble import build_refusal
from watchbill_operator.pods import AGENT_LABEL, build_pod, replica_name
from watchbill_operator.workspaces import make_workspace

logger = logging.getLogger(__name__)

DELETE_RETRY_SECONDS = 5.0  #: after a refusal


@dataclass(slots=True)
class Observed:
    """What the API showed of Agents and pods, newest."""

    agents: dict[AgentName, Mapping[str, Any]] = field(default_factory=dict)
    pods: dict[str, PodView] = field(default_factory=dict)
    removed: dict[AgentName, str] = field(default_factory=dict)  #: Agents that are gone and may have pods left → uid
    sightings: Sightings = field(default_factory=Sightings)

    def see_agent(self, observation: Observation) -> AgentName:
        """Note an Agent."""
        name = AgentName(observation.name)
        if not observation.is_leaving:
            self.agents[name] = observation.body
            self.removed.pop(name, None)
            return name
        known = self.agents.get(name)
        if known is None or known["metadata"]["uid"] == observation.uid:
            self.agents.pop(name, None)
            self.removed[name] = observation.uid
        return name

    def see_pod(self, observation: Observation) -> AgentName | None:
        """Note a pod; return the Agent that it belongs to by its label, or None for old news."""
        if not self.sightings.admit(observation):
            return None
        pod = parse_pod(observation.body)
        if not observation.deleted:
            self.pods[pod.name] = pod
        elif (known := self.pods.get(pod.name)) and known.uid == pod.uid:
            del self.pods[pod.name]
        return AgentName(pod.agent)

    def tell_gone(self) -> list[Observation]:
        """Of each Agent and pod that is known now, that it is gone: true for those that a LIST begun later lacks."""
        agents = [Observation("Agent", body, deleted=True) for body in self.agents.values()]
        metadata = [{"name": p.name, "uid": p.uid, "labels": {AGENT_LABEL: p.agent}} for p in self.pods.values()]
        return agents + [Observation("Pod", {"metadata": each}, deleted=True) for each in metadata]


@dataclass(slots=True)
class FleetWiring:
    """What the fleet is connected to. All are called from the event loop."""

    submit: Callable[[Command], None]
    replan: Callable[[AgentName], None]  #: plan this Agent in the next turn of the loop
    opened: Callable[[ReplicaName], None]  #: the workspace exists
    changed: Callable[[AgentName], None]  #: pods or findings of this Agent changed: its status may too
    reported: Callable[[AgentName, Finding], None]  #: something that a person should see
    is_deposed: Callable[[], bool]  #: whether another operator leads: its pods are not ours to touch. Raises OSError


class Fleet:
    """All pods, and the calls that make and delete them."""

    def __init__(self, api: Api, layout: Layout, settings: PodSettings, wiring: FleetWiring) -> None:
        self.observed = Observed()
        self.settings = settings
        self.findings: dict[AgentName, tuple[Finding, ...]] = {}
        self._api = api
        self._layout = layout
        self._wiring = wiring
        self._failures = PodFailures()
        self._calls: dict[str, asyncio.Task[None]] = {}  #: by pod name
        self._timers: dict[AgentName, asyncio.TimerHandle] = {}

    def plan(self, name: AgentName, state: State, now: float) -> None:
        """Plan one Agent against committed state, hand its commands over and start its calls."""
        own = [pod for pod in self.observed.pods.values() if pod.agent == name]
        self._failures = evolve_failures(self._failures, own, now)
        around = Surroundings(state=state, pods=self.observed.pods, settings=self.settings, failures=self._failures)
        body = self.observed.agents.get(name)
        if body is not None:
            plan = plan_pods(body, around, now)
        elif name in self.observed.removed:
            plan = plan_removal(name, self.observed.removed[name], around, now)
        else:
            return
        self._note_findings(name, plan)
        for command in plan.commands:
            self._wiring.submit(command)
        for create in plan.creates:
            self._start(replica_name(name, create.ordinal), self._create(name, create))
        for delete in plan.deletes:
            self._start(delete.name, self._delete(name, delete))
        self._set_timer(name, plan.next_due, now)
        if body is None and not own:
            del self.observed.removed[name]

    async def stop(self) -> None:
        """Let go of the calls that are under way; the next leader observes what came of them."""
        for timer in self._timers.values():
            timer.cancel()
        for call in self._calls.values():
            call.cancel()
        await asyncio.gather(*self._calls.values(), return_exceptions=True)

    def _note_findings(self, name: AgentName, plan: Plan) -> None:
        before = self.findings.get(name, ())
        if before != plan.findings:
            self.findings[name] = plan.findings
            for finding in plan.findings:
                if finding not in before:
                    self._wiring.reported(name, finding)
            self._wiring.changed(name)

    def _set_timer(self, name: AgentName, due: float | None, now: float) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()
        if due is not None:
            delay = max(0.05, due - now)
            self._timers[name] = asyncio.get_running_loop().call_later(delay, self._wiring.replan, name)

    def _start(self, pod: str, call: Coroutine[Any, Any, None]) -> None:
        """Start a call, unless one is under way for that name."""
        if pod in self._calls:
            call.close()
            return
        task = asyncio.create_task(call)
        self._calls[pod] = task

        def ended(_: object) -> None:
            self._calls.pop(pod, None)

        task.add_done_callback(ended)

    async def _create(self, name: AgentName, create: CreatePod) -> None:
        """Make the workspace, then the pod."""
        body = self.observed.agents.get(name)
        if body is None:
            return
        replica = replica_name(name, create.ordinal)
        pod = build_pod(body, create.ordinal, self.settings)
        try:
            if self._wiring.is_deposed():
                return
            make_workspace(self._layout, replica)
            self._wiring.opened(replica)
            self._see(await self._api.send(Request(method="POST", resource=PODS, body=pod)))
        except ConflictError:
            found = await self._look(replica)
            if (
                found is not None and found.agent != name
            ):  # without our labels it is not watched: nobody says when it goes
                self.observed.pods.pop(replica, None)
                self._refused(name, replica, build_name_taken(replica))
        except RefusedError as error:
            self._refused(name, replica, build_refusal(replica, str(error)))
        except (ApiError, OSError) as error:
            self._refused(name, replica, Finding("PodNotCreated", f"The pod {replica} was not made: {error}"))
        self._later(name)

    async def _delete(self, name: AgentName, delete: DeletePod) -> None:
        """Delete exactly that pod; another one of the name, or none, is what was wanted anyway."""
        body: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": delete.uid}}
        if delete.grace_seconds is not None:
            body["gracePeriodSeconds"] = delete.grace_seconds
        try:
            if self._wiring.is_deposed():
                return
            logger.info("pod %s is deleted: %s", delete.name, delete.reason)
            await self._api.send(Request(method="DELETE", resource=PODS, name=delete.name, body=body))
            await self._look(delete.name)
        except (ConflictError, GoneError):
            await self._look(delete.name)
        except (ApiError, OSError) as error:
            logger.warning("pod %s was not deleted: %s", delete.name, error)
            await asyncio.sleep(DELETE_RETRY_SECONDS)
        self._later(name)

    async def _look(self, pod: str) -> PodView | None:
        """See what is there under that name now; the watch may be behind."""
        try:
            body = await self._api.send(Request(method="GET", resource=PODS, name=pod))
        except GoneError:
            self.observed.pods.pop(pod, None)
            return None
        except ApiError as error:
            logger.warning("pod %s was not read: %s", pod, error)
            return None
        self._see(body)
        return parse_pod(body)

    def _see(self, body: Mapping[str, Any]) -> None:
        """Note an answer as if it had come from the watch, which may be behind it or ahead of it."""
        if observation := parse_observation("Pod", body):
            self.observed.see_pod(observation)

    def _refused(self, name: AgentName, replica: ReplicaName, finding: Finding) -> None:
        """Remember that a pod could not be made, so that the next try waits; the next plan says so."""
        self._failures = evolve_refused(self._failures, replica, time.time(), finding)

    def _later(self, name: AgentName) -> None:
        """Plan again, once this call counts as ended."""
        asyncio.get_running_loop().call_soon(self._wiring.replan, name)
        self._wiring.changed(name)
