"""Why is it waiting?

Owns the answer, in one reason and one sentence, for a task that is Pending or Queued. The first thing that must change
is told, not all of them. The place in the queue is no part of the answer: it would change with every dispatch.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchbill_coordination.core.levels import count_ready
from watchbill_coordination.core.scheduling import blocking_lock, build_entry, free_slots, list_members
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.state import AgentState, Level, Phase, ReplicaPhase, State, TaskState

NAMED = 5  #: names that one message lists


@dataclass(frozen=True, slots=True)
class Wait:
    """What a task waits for. `reason` is CamelCase; `holder` is the uid, lock or Agent that it waits for, or empty."""

    reason: str
    message: str
    holder: str = ""


def explain_wait(state: State, task: TaskState, now: float) -> Wait | None:
    """Say what a waiting task waits for first; None for one that runs or is finished."""
    if task.phase is Phase.PENDING:
        return explain_pending(state, task, now)
    return explain_queued(state, task) if task.phase is Phase.QUEUED else None


def explain_pending(state: State, task: TaskState, now: float) -> Wait:
    """Not ready: suspended, or something is missing, or a delay runs."""
    if task.suspended:
        return Wait("Suspended", "spec.suspend is true")
    unbound = [name for name in task.spec.depends_on if name not in task.bound]
    unfinished = [name for name, uid in task.bound.items() if not has_succeeded(state, uid)]
    if unfinished or unbound:
        holder = task.bound[unfinished[0]] if unfinished else unbound[0]
        return Wait("DependencyPending", describe_dependencies(unfinished, unbound), holder)
    missing = [path for path in task.spec.context if path not in state.context]
    if missing:
        return Wait("ContextMissing", f"shared context is not there yet: {enumerate_names(missing)}", missing[0])
    if task.not_before > now:
        why = f"attempt {task.attempt} ended with {task.reason}" if task.reason else f"attempt {task.attempt} failed"
        return Wait("BackingOff", f"{why}; the next one follows a delay")
    return Wait("AwaitingOperator", "its next step is being recorded")


def has_succeeded(state: State, uid: TaskUid) -> bool:
    """Whether a dependency is satisfied, be it deleted since or not."""
    known = state.tasks.get(uid)
    return (known.phase if known is not None else state.outcomes.get(uid)) is Phase.SUCCEEDED


def describe_dependencies(unfinished: list[str], unbound: list[str]) -> str:
    """Whom it waits for, and which of them do not exist."""
    parts = []
    if unfinished:
        parts.append(f"waits for {enumerate_names(unfinished)}")
    if unbound:
        parts.append(f"no Task is called {enumerate_names(unbound)} yet")
    return "; ".join(parts)


def explain_queued(state: State, task: TaskState) -> Wait:
    """Ready: nobody takes it, the lock is held, or all who could do it are busy."""
    pools = [pool for pool in state.agents.values() if not pool.removed and pool.spec.takes(pool.name, task.spec.route)]
    if not pools:
        return explain_nobody(state, task)
    lock = blocking_lock(state, task) if task.spec.locks else None
    if lock is not None:
        return explain_lock(state, task, lock)
    awake = [pool for pool in pools if not pool.spec.suspend]
    if not awake:
        return Wait("AgentSuspended", f"every Agent that takes it is suspended: {join_pools(pools)}", pools[0].name)
    if task.preferred is not None:
        return explain_preference(state, task, task.preferred)
    ready = [pool for pool in awake if has_ready(state, pool)]
    if not ready:
        worst = max(awake, key=lambda pool: list(Level).index(pool.level))
        count = f"{count_ready(state, worst)} of {worst.spec.wanted} replicas are ready"
        told = f" ({worst.level}: {count})" if worst.level is not Level.NORMAL else ""
        return Wait("AgentNotReady", f"no replica of {join_pools(awake)} is ready{told}", awake[0].name)
    usable = [pool for pool in ready if not pool.is_parked]
    if not usable:
        return explain_parked(ready)
    if any(free_slots(pool, replica) > 0 for pool in usable for replica in list_members(state, pool.name)):
        return Wait("AwaitingOperator", "its dispatch is being recorded")
    return Wait("AgentAtCapacity", f"all slots of {join_pools(usable)} are in use", usable[0].name)


def explain_parked(pools: list[AgentState]) -> Wait:
    """The credential of every Agent that could do it is of no use now; the one that ends first is told."""
    first = min(pools, key=lambda pool: pool.parked_until)
    others = f"; {join_pools([pool for pool in pools if pool is not first])} as well" if len(pools) > 1 else ""
    why = f"{first.parked_reason}: {first.parked_message}" if first.parked_message else first.parked_reason
    until = format_clock(first.parked_until)
    return Wait("CredentialParked", f"Agent {first.name} gets no tasks until {until} ({why}){others}", first.name)


def explain_preference(state: State, task: TaskState, name: ReplicaName) -> Wait:
    """For a while only the replica that had its last attempt may take it."""
    replica = state.replicas[name]
    pool = state.agents[replica.agent]
    if pool.is_parked:
        return explain_parked([pool])
    if free_slots(pool, replica) > 0:
        return Wait("AwaitingOperator", "its dispatch is being recorded")
    why = f"waits for {name}, which had attempt {task.attempt}, until {format_clock(task.preferred_until)}"
    return Wait("PreferringAgent", f"{why}; then any other may take it", name)


def format_clock(seconds: float) -> str:
    """A moment as people read it on a clock; nobody waits for it longer than a day."""
    whole = int(seconds) % 86_400
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d} UTC"


def explain_nobody(state: State, task: TaskState) -> Wait:
    """No Agent takes a task of this route."""
    agent_ref, role, task_type = task.spec.route
    known = [pool for pool in state.agents.values() if not pool.removed]
    if agent_ref and not any(pool.name == agent_ref for pool in known):
        return Wait("NoSuchAgent", f"there is no Agent {agent_ref}", agent_ref)
    if role and not any(pool.spec.role == role for pool in known):
        return Wait("NoSuchAgent", f"there is no Agent of role {role}", role)
    if not known:
        return Wait("NoSuchAgent", "there is no Agent")
    asked = " and ".join(
        [f"{what} {value}" for what, value in (("Agent", agent_ref), ("role", role), ("type", task_type)) if value]
    )
    return Wait("TypeNotTaken", f"no Agent fits {asked}: see spec.taskTypes of {join_pools(known)}")


def explain_lock(state: State, task: TaskState, name: str) -> Wait:
    """The lock is held, and perhaps somebody who waits for it goes first."""
    lock = state.locks.get(name)
    holder = next(iter(lock.holders), None) if lock is not None else None
    known = state.tasks.get(holder) if holder is not None else None
    parts = [f"lock {name} is held by {known.name if known is not None else holder}"] if holder is not None else []
    first = first_waiter(state, name)
    if first is not None and build_entry(first) < build_entry(task):
        parts.append(f"{first.name} is before it" if parts else f"lock {name} goes to {first.name} first")
    return Wait("LockHeld", ", and ".join(parts), holder or (first.uid if first is not None else name))


def first_waiter(state: State, name: str) -> TaskState | None:
    """The first of those that a lock holds up."""
    tops = [queue.items[0] for queue in state.index.parked.get(name, {}).values() if queue]
    return state.tasks.get(min(tops).uid) if tops else None


def has_ready(state: State, pool: AgentState) -> bool:
    """Whether any replica of the pool can be given tasks."""
    return any(replica.phase is ReplicaPhase.READY for replica in list_members(state, pool.name))


def join_pools(pools: list[AgentState]) -> str:
    """Names of Agents, for a sentence."""
    return enumerate_names([pool.name for pool in pools])


def enumerate_names(names: list[str]) -> str:
    """A few names, for a sentence."""
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
