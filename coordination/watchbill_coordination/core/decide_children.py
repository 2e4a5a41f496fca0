"""Tasks that working attempts submit.

Owns what becomes of such a wish: an order to create the Task, or a refusal that a model can act on. An order is durable
and is kept until the API server has the Task or has refused it, also when the attempt that asked for it is over; only
the deletion of the parent drops it. Whichever comes first settles it: the API server's answer, or the sight of the
Task. So each order leads to one Task, whatever dies meanwhile.
"""

from __future__ import annotations

from watchbill_coordination.core.child_specs import Refusal, build_child_spec
from watchbill_coordination.core.children import list_submitted, name_child
from watchbill_coordination.core.commands import SettleChild, SubmitChild, SubmitTask
from watchbill_coordination.core.events import Event
from watchbill_coordination.core.requests import MAX_ANSWER_TEXT, MAX_CHILDREN, MAX_DEPTH, clean_line
from watchbill_coordination.core.specs import parse_task_spec
from watchbill_coordination.core.state import State, TaskState
from watchbill_coordination.core.working_events import ChildCreated, ChildRefused, ChildRequested


def decide_child(command: SubmitChild, task: TaskState, state: State) -> list[Event]:
    """An attempt asks for a Task of its own making."""
    name = name_child(task.uid, command.attempt, command.request, command.name)
    spec = build_child_spec(command.spec, task)
    obstacle = explain_limit(task, command.attempt)
    obstacle = obstacle or (spec.message if isinstance(spec, Refusal) else explain_nobody(spec, state))
    said = {"task": task.uid, "agent": command.agent, "attempt": command.attempt, "request": command.request}
    if obstacle:
        refused = ChildRefused(**said, name="", message=obstacle[:MAX_ANSWER_TEXT])  # type: ignore[arg-type]  # mixed
        return [refused]
    assert not isinstance(spec, Refusal)
    return [ChildRequested(**said, name=name, spec=spec)]  # type: ignore[arg-type]  # each field has its own type


def explain_limit(task: TaskState, attempt: int) -> str:
    """Which limit stands against one more, or nothing."""
    if task.depth >= MAX_DEPTH:
        return (
            f"this Task was submitted by another agent's Task, {task.depth} steps from a user's: Tasks at that depth "
            "submit none. Do the work yourself, or say in your answer what is left to do."
        )
    if len(list_submitted(task, attempt)) >= MAX_CHILDREN:
        return f"this attempt has submitted {MAX_CHILDREN} Tasks, which is the limit. Do what is left yourself."
    return ""


def explain_nobody(spec: dict[str, object], state: State) -> str:
    """Say so when no Agent takes such a Task, and what they take."""
    route = parse_task_spec(spec).route
    pools = [pool for pool in state.agents.values() if not pool.removed]
    if not pools or any(pool.spec.takes(pool.name, route) for pool in pools):
        return ""
    asked = " and ".join(f"{member} {spec[member]}" for member in ("agentRef", "role", "type") if spec.get(member))
    roles = sorted({pool.spec.role for pool in pools})
    types = sorted({name for pool in pools for name in pool.spec.task_types})
    return (
        f"no Agent takes {asked}. There are the roles {', '.join(roles) or '(none)'}; the types {', '.join(types)}; "
        f"the Agents {', '.join(sorted(pool.name for pool in pools))}."
    )


def decide_settle(command: SettleChild, state: State) -> list[Event]:
    """What the API server said; an order that is settled already is not settled again."""
    order = state.children.get(command.name)
    if order is None:
        return []
    if command.uid:
        return [ChildCreated(task=order.parent, name=command.name, uid=command.uid)]
    return [
        ChildRefused(
            task=order.parent,
            agent=order.agent,
            attempt=order.attempt,
            request=order.request,
            name=command.name,
            message=clean_line(f"the API server refused it: {command.message}", MAX_ANSWER_TEXT),
        )
    ]


def settle_by_sight(command: SubmitTask, state: State) -> list[Event]:
    """A Task was seen that an attempt had asked for: it need not be created any more, even if it is deleted next."""
    order = state.children.get(command.name)
    if order is None or order.parent != command.parent:
        return []
    return [ChildCreated(task=order.parent, name=command.name, uid=command.task)]
