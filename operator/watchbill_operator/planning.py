"""What is to be done about an Agent's pods.

Owns the plan: which pods are made, which are deleted, which replicas are told to leave or given up. Pure: a function of
the Agent, the state of the log, the observed pods and `now`; nothing is remembered here. Invariants: no pod is touched
but those that the Agent's uid owns, and those of its names that were made by us and that no controller owns any more
(orphans): they go, for their name is needed; a running task is ended by no plan before its replica's drain deadline; a
pod is made only when the log knows of no living replica of that name; after a plan was carried out the next one is
empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from watchbill_coordination.core.commands import Command, DrainReplica, LoseReplica
from watchbill_coordination.core.specs import AgentName, parse_agent_spec
from watchbill_coordination.core.state import ReplicaPhase, ReplicaState, State
from watchbill_operator import pods
from watchbill_operator.conditions import Finding
from watchbill_operator.observed_pods import PodView
from watchbill_operator.pod_backoff import NAME_TAKEN, PodFailures
from watchbill_operator.pod_plan import CreatePod, DeletePod, Plan, merge_plans
from watchbill_operator.pod_settings import PodSettings
from watchbill_operator.pod_template import check_agent_template
from watchbill_operator.pod_trouble import STARVED, STILL_CREATING_SECONDS, build_still_creating

SHORT_GRACE_SECONDS = 5  #: for a pod whose drain deadline has passed or whose agent does not answer
REGISTER_SECONDS = 30.0  #: time that a container which was started again has to register
CLOCK_SKEW_SECONDS = 15.0  #: by which the clocks of two machines may differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a plan looks at besides the Agent: the log's state, all observed pods, earlier failures, settings."""

    state: State
    pods: Mapping[str, PodView]  #: by name, those of the namespace with our labels or our names
    settings: PodSettings
    failures: PodFailures = field(default_factory=PodFailures)


def plan_pods(agent: Mapping[str, Any], around: Surroundings, now: float) -> Plan:
    """What is to be done for an Agent that exists, given in its API form."""
    name, uid = AgentName(agent["metadata"]["name"]), str(agent["metadata"]["uid"])
    refused = check_agent_template(agent, around.settings.claim)
    template = "" if refused else pods.build_template_hash(agent, around.settings)
    pool = _Pool(name, uid, parse_agent_spec(agent["spec"]).wanted, template, around, now)
    return merge_plans([*_plan_wanted(pool), *_plan_unwanted(pool), _plan_rollout(pool)])


def plan_removal(name: AgentName, uid: str, around: Surroundings, now: float) -> Plan:
    """What is to be done for an Agent that is gone: its pods go as their replicas have drained, orphaned ones too."""
    return merge_plans(_plan_unwanted(_Pool(name, uid, 0, "", around, now)))


@dataclass(frozen=True, slots=True)
class _Pool:
    """One Agent, as a plan sees it."""

    name: AgentName
    uid: str
    wanted: int
    template: str  #: hash; empty: no pods can be made
    around: Surroundings
    now: float

    def pod(self, ordinal: int) -> PodView | None:
        """The observed pod of that ordinal."""
        return self.around.pods.get(pods.replica_name(self.name, ordinal))

    def replica(self, ordinal: int) -> ReplicaState | None:
        """What the log knows of that ordinal."""
        return self.around.state.replicas.get(pods.replica_name(self.name, ordinal))

    def owns(self, pod: PodView) -> bool:
        """Whether that pod is this Agent's own."""
        return pod.owner_uid == self.uid

    def is_outdated(self, pod: PodView) -> bool:
        """Whether the Agent would make another pod today."""
        return bool(self.template) and pod.template != self.template


def _plan_wanted(pool: _Pool) -> Iterator[Plan]:
    for ordinal in range(pool.wanted):
        pod, replica = pool.pod(ordinal), pool.replica(ordinal)
        if pod is None:
            yield _plan_absent(pool, ordinal)
        elif pod.is_orphan:
            yield Plan() if pod.is_deleting else _plan_surplus(pool, pod, replica)
        elif not pool.owns(pod):
            yield Plan(findings=(build_name_taken(pod.name),))
        elif pod.is_deleting:
            yield _plan_leaving(pod, replica)
        else:
            yield _plan_present(pool, pod, replica)


def _plan_absent(pool: _Pool, ordinal: int) -> Plan:
    replica = pool.replica(ordinal)
    if is_living(replica):
        return Plan(commands=(_lose(replica, "PodGone", "Its pod is gone."),))
    not_before = pool.around.failures.not_before(pods.replica_name(pool.name, ordinal))
    if not pool.template:
        return Plan()
    findings = _tell_refusal(pool, ordinal)
    if pool.now < not_before:
        return Plan(findings=findings, next_due=not_before)
    return Plan(findings=findings, creates=(CreatePod(ordinal),))


def _tell_refusal(pool: _Pool, ordinal: int) -> tuple[Finding, ...]:
    """Why the pod could not be made the last time, for as long as it is not there."""
    failure = pool.around.failures.by_replica.get(pods.replica_name(pool.name, ordinal))
    return (failure.finding,) if failure is not None and failure.finding is not None else ()


def build_name_taken(pod: str) -> Finding:
    """That a pod which this Agent may not remove has the name of a replica: of another owner, or not made by us."""
    text = f"A pod called {pod} exists and is not this Agent's; that replica is made when it is gone."
    return Finding(NAME_TAKEN, text)


def _plan_leaving(pod: PodView, replica: ReplicaState | None) -> Plan:
    """A pod that somebody is deleting gets no new tasks."""
    if is_living(replica) and replica.phase is ReplicaPhase.READY and is_incarnation_of(replica, pod):
        return Plan(commands=(DrainReplica(agent=replica.name, reason="PodDeleted"),))
    return Plan()


def _plan_present(pool: _Pool, pod: PodView, replica: ReplicaState | None) -> Plan:
    loss = _find_loss(pod, replica)
    if pod.has_ended:
        ended = DeletePod(name=pod.name, uid=pod.uid, reason="PodEnded", grace_seconds=0)
        return Plan(commands=loss, deletes=(ended,))
    if loss:
        return Plan(commands=loss)
    if replica is None or not is_incarnation_of(replica, pod):
        return _plan_delete(pod, "Outdated") if pool.is_outdated(pod) else _plan_creating(pool, pod)
    if replica.phase is ReplicaPhase.DRAINING:
        return _plan_drain(pool, pod, replica)
    if replica.phase is ReplicaPhase.LOST:
        return _plan_lost(pool, pod)
    if not is_living(replica) and pool.is_outdated(pod):
        return _plan_delete(pod, "Outdated")
    return Plan()


def _plan_creating(pool: _Pool, pod: PodView) -> Plan:
    """A pod whose container a node has been making for too long is told of; nothing can be done about it here."""
    if pod.creating_since is None:
        return Plan()
    late_at = pod.creating_since + STILL_CREATING_SECONDS
    return Plan(next_due=late_at) if pool.now < late_at else Plan(findings=(build_still_creating(pod.name),))


def _plan_lost(pool: _Pool, pod: PodView) -> Plan:
    """A given up replica whose pod is there: a container that was started again may register, one that hangs goes."""
    if pod.is_between_runs:
        return _plan_delete(pod, "Outdated") if pool.is_outdated(pod) else Plan()
    if pool.now < pod.started_at + REGISTER_SECONDS:
        return Plan(next_due=pod.started_at + REGISTER_SECONDS)
    return _plan_delete(pod, "Unresponsive", SHORT_GRACE_SECONDS)


def _plan_unwanted(pool: _Pool) -> Iterator[Plan]:
    """Ordinals beyond the wanted ones: pods that are still there, replicas that the log still counts on."""
    for pod in pool.around.pods.values():
        ordinal = pods.parse_ordinal(pool.name, pod.name)
        is_ours = pool.owns(pod) or pod.is_orphan
        if ordinal is not None and ordinal >= pool.wanted and is_ours and not pod.is_deleting:
            yield _plan_surplus(pool, pod, pool.replica(ordinal))
    for name, replica in pool.around.state.replicas.items():
        ordinal = pods.parse_ordinal(pool.name, name)
        is_surplus = ordinal is not None and ordinal >= pool.wanted and replica.agent == pool.name
        if is_surplus and is_living(replica) and name not in pool.around.pods:
            yield Plan(commands=(_lose(replica, "PodGone", "Its pod is gone."),))


def _plan_surplus(pool: _Pool, pod: PodView, replica: ReplicaState | None) -> Plan:
    if replica is None or not is_living(replica) or not is_incarnation_of(replica, pod):
        return _plan_delete(pod, "ScaledDown")
    if replica.phase is ReplicaPhase.DRAINING:
        return _plan_drain(pool, pod, replica)
    return Plan()  # the log drains it first: decided from the Agent's own record


def _plan_drain(pool: _Pool, pod: PodView, replica: ReplicaState) -> Plan:
    if not replica.attempts:
        return _plan_delete(pod, "Drained")
    if pool.now < replica.drain_deadline:
        return Plan(next_due=replica.drain_deadline)
    return _plan_delete(pod, "DrainDeadlinePassed", SHORT_GRACE_SECONDS)


def _plan_rollout(pool: _Pool) -> Plan:
    """Of the outdated pods that work, one is told to leave: an idle one first, and only while all others work."""
    candidates: list[ReplicaState] = []
    for ordinal in range(pool.wanted):
        pod, replica = pool.pod(ordinal), pool.replica(ordinal)
        if pod is not None and not pool.owns(pod):
            continue
        is_working = replica is not None and replica.phase is ReplicaPhase.READY
        if pod is None or replica is None or pod.is_deleting or not is_working or not is_incarnation_of(replica, pod):
            return Plan()
        if pool.is_outdated(pod):
            candidates.append(replica)
    if not candidates:
        return Plan()
    chosen = min(candidates, key=lambda replica: len(replica.attempts))
    return Plan(commands=(DrainReplica(agent=chosen.name, reason="Outdated"),))


def _find_loss(pod: PodView, replica: ReplicaState | None) -> tuple[Command, ...]:
    """That the incarnation which the log counts on is gone, as far as this pod proves it."""
    if not is_living(replica):
        return ()
    if not is_incarnation_of(replica, pod):
        return (_lose(replica, "PodGone", "Its pod was replaced."),)
    if pod.has_ended:
        return (_lose(replica, "PodGone", pod.trouble.message if pod.trouble else "Its pod has ended."),)
    if has_restarted(pod, replica):
        why = f": {STARVED}" if pod.was_starved else ""
        return (_lose(replica, "ContainerRestarted", f"Its container was started again{why}."),)
    return ()


def is_living(replica: ReplicaState | None) -> TypeGuard[ReplicaState]:
    """Whether the log counts on it: it may hold tasks."""
    return replica is not None and replica.phase in (ReplicaPhase.READY, ReplicaPhase.DRAINING)


def is_incarnation_of(replica: ReplicaState, pod: PodView) -> bool:
    """Whether the agent process that the log knows ran in this very pod."""
    return replica.incarnation.partition("/")[0] == pod.uid


def has_restarted(pod: PodView, replica: ReplicaState) -> bool:
    """Whether the container ended after the agent process registered: another process is there or is coming.

    The end is told by the node's clock, the registration by ours: an end within the skew of clocks proves nothing, and
    is noticed by the next registration or by the heartbeat.
    """
    return pod.finished_at is not None and pod.finished_at > replica.registered_at + CLOCK_SKEW_SECONDS


def _lose(replica: ReplicaState, reason: str, message: str) -> LoseReplica:
    return LoseReplica(agent=replica.name, incarnation=replica.incarnation, reason=reason, message=message)


def _plan_delete(pod: PodView, reason: str, grace_seconds: int | None = None) -> Plan:
    return Plan(deletes=(DeletePod(name=pod.name, uid=pod.uid, reason=reason, grace_seconds=grace_seconds),))
