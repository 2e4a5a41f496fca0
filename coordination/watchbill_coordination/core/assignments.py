"""What a replica must find in its inbox.

Owns the messages that follow from state: `Assign` for an attempt that its agent has not accepted, `Cancel` for one
that shall stop, `Answer` for each request of one that works, `ChildEnded` for each Task that it submitted and that has
ended, `Drain` for a replica that shall leave. Derived anew at any time: a message that is no longer listed need not be
delivered, and one that is listed twice has the same key both times. What a receiver has had it drops by its request
number or name.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchbill_coordination.core.messages import Answer, Assign, Cancel, ChildEnded, Drain, Message
from watchbill_coordination.core.spending import remaining_budget
from watchbill_coordination.core.state import Attempt, ReplicaPhase, ReplicaState, State, TaskState


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message and the event that caused it."""

    seq: int  #: of that event; delivered in this order
    message: Message

    @property
    def key(self) -> str:
        """The same for the same message, whenever it is derived; another one for another attempt."""
        return f"{self.seq}-{type(self.message).__name__.lower()}-{getattr(self.message, 'attempt', 0)}"


def pending_messages(state: State, replica: ReplicaState) -> list[Outgoing]:
    """The messages that this replica must have in its inbox now, oldest first."""
    if not replica.phase.is_live:
        return []
    messages: list[Outgoing] = []
    for attempt in replica.attempts.values():
        task = state.tasks.get(attempt.task)
        if task is not None and not task.accepted:
            messages.append(Outgoing(attempt.dispatched_seq, build_assign(state, replica, attempt)))
        if task is not None and not attempt.stopping:
            messages += list_answers(attempt, task)
        if attempt.stopping:
            reason = "TaskDeleted" if task is None else "Cancelled"
            cancel = Cancel(task=attempt.task, attempt=attempt.attempt, reason=reason)
            messages.append(Outgoing(attempt.stopping_seq, cancel))
    if replica.phase is ReplicaPhase.DRAINING:
        left = max(0.0, replica.drain_deadline - replica.drained_at)
        messages.append(Outgoing(replica.drain_seq, Drain(deadline_seconds=left)))
    return sorted(messages, key=lambda outgoing: outgoing.seq)


def list_answers(attempt: Attempt, task: TaskState) -> list[Outgoing]:
    """What an attempt that works has been told, and the ends of Tasks that its task submitted."""
    said = [
        Outgoing(
            reply.seq,
            Answer(
                task=task.uid,
                attempt=attempt.attempt,
                request=request,
                granted=reply.granted,
                text=reply.text,
                name=reply.name,
                uid=reply.uid,
                token=reply.token,
            ),
        )
        for request, reply in attempt.requests.replies.items()
    ]
    for name, child in task.children.items():
        if child.ended_seq:
            ended = ChildEnded(
                task=task.uid,
                attempt=attempt.attempt,
                name=name,
                uid=child.uid,
                phase=child.phase,
                text=child.text,
            )
            said.append(Outgoing(child.ended_seq, ended))
    return said


def build_assign(state: State, replica: ReplicaState, attempt: Attempt) -> Assign:
    """The order to run an attempt. KeyError when its task is gone."""
    task: TaskState = state.tasks[attempt.task]
    return Assign(
        task=task.uid,
        attempt=attempt.attempt,
        name=task.name,
        incarnation=replica.incarnation,
        timeout_seconds=task.spec.timeout_seconds,
        prompt=task.spec.raw.get("prompt") or "",
        command=task.spec.raw.get("command") or {},
        context=task.spec.context,
        dependencies=dict(task.bound),
        locks=dict(task.locks),
        work=f"{task.uid}/attempt-{attempt.attempt}",
        task_type=task.spec.task_type,
        output_schema=task.spec.output_schema or {},
        budget_usd=remaining_budget(state, task, attempt.attempt),
        history=task.history,
        depth=task.depth,
        children={name: child.uid for name, child in task.children.items() if child.uid},
        had_previous=task.ran_on.get(attempt.attempt - 1) == replica.name,
    )
