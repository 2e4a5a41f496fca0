"""The figures of an operator."""

from __future__ import annotations

from dataclasses import replace

from watchbill_coordination.core.specs import parse_agent_spec, parse_task_spec
from watchbill_coordination.core.state import AgentState, Phase, State, TaskState
from watchbill_operator.api import TASKS, Request
from watchbill_operator.metrics import Metrics

NOW = 1000.0


def queued(uid: str, age: float, **spec: object) -> TaskState:
    """A Task that has waited so long."""
    return TaskState(
        uid=uid,
        name=uid,
        spec=parse_task_spec(spec),
        phase=Phase.QUEUED,
        generation=1,
        submitted_at=NOW - age,
        priority=500,
        suspended=False,
        first_queued=NOW - age,
    )


def render(state: State) -> str:
    """What Prometheus would see."""
    metrics = Metrics()
    metrics.derive_from(lambda: state, lambda: NOW)
    return metrics.render().decode()


def state_of(*tasks: TaskState) -> State:
    """A state with one Agent and these tasks."""
    agent = AgentState(name="blue", uid="a", generation=1, spec=parse_agent_spec({"role": "blue", "replicas": 3}))
    return State(agents={"blue": agent}, tasks={task.uid: task for task in tasks})


def test_tasks_are_counted_by_phase() -> None:
    """A phase without tasks is there too, as 0."""
    ended = replace(queued("t1", 5, role="blue"), phase=Phase.SUCCEEDED)
    text = render(state_of(ended))

    assert 'watchbill_tasks{phase="Succeeded"} 1.0' in text
    assert 'watchbill_tasks{phase="Failed"} 0.0' in text


def test_a_queue_tells_its_depth_and_its_oldest() -> None:
    """By the role that does the work, however the Task asked for it."""
    text = render(
        state_of(queued("t1", 5, role="blue"), queued("t2", 9, type="search"), queued("t3", 7, agentRef="blue"))
    )

    assert 'watchbill_queue_depth{role="blue"} 3.0' in text
    assert 'watchbill_queue_oldest_seconds{role="blue"} 9.0' in text


def test_a_task_that_nobody_takes_stands_in_no_roles_queue() -> None:
    """A label's values are roles that exist, so their number is bounded."""
    assert 'watchbill_queue_depth{role="none"} 1.0' in render(state_of(queued("t1", 5, type="unheard-of")))


def test_no_figure_has_a_tasks_name() -> None:
    """Their number would grow without bound."""
    assert "secret-name" not in render(state_of(queued("secret-name", 5, role="blue")))


def test_wanted_agents_are_told_before_any_is_ready() -> None:
    """An alert compares the two."""
    text = render(state_of())

    assert 'watchbill_agents_wanted{agent="blue",role="blue"} 3.0' in text
    assert 'watchbill_agents_ready{agent="blue",role="blue"} 0.0' in text


def test_api_calls_are_counted_by_verb_resource_and_code() -> None:
    """As RBAC names them; an unanswered one has code 0."""
    metrics = Metrics()
    metrics.count_call(Request(method="PATCH", resource=TASKS, name="a", subresource="status"), 0, 0.1)

    assert 'watchbill_api_calls_total{code="0",resource="tasks/status",verb="patch"} 1.0' in metrics.render().decode()
