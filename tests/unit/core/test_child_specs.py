"""What an agent may ask of a Task of its own making."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_coordination.codec.canonical import encode_canonical
from watchbill_coordination.core.child_specs import MAX_ITEMS, MAX_PROMPT, Refusal, build_child_spec
from watchbill_coordination.core.children import MAX_WISH, name_child
from watchbill_coordination.core.requests import Child
from watchbill_coordination.core.specs import TaskUid, parse_task_spec
from watchbill_coordination.core.state import Phase, TaskState

MEMBERS = ("prompt", "type", "role", "agentRef", "priority", "timeoutSeconds", "context", "dependsOn", "outputSchema")
TEXT = st.text(st.characters(), max_size=20) | st.text("a\ud800\x00", max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def parent(children: tuple[str, ...] = (), **spec: Any) -> TaskState:
    """A Task whose attempt submits others."""
    parsed = parse_task_spec({"type": "search", "prompt": "find it", **spec})
    return TaskState(
        uid=TaskUid("t"),
        name="t",
        spec=parsed,
        phase=Phase.RUNNING,
        generation=1,
        submitted_at=0.0,
        priority=parsed.priority,
        suspended=False,
        children={name: Child(attempt=1, request=number) for number, name in enumerate(children, start=1)},
    )


def build(said: dict[str, Any], by: TaskState | None = None) -> dict[str, Any]:
    """A spec that is acceptable."""
    spec = build_child_spec(said, by or parent())
    assert not isinstance(spec, Refusal), spec.message
    return spec


def refuse(said: dict[str, Any], by: TaskState | None = None) -> str:
    """What is said of one that is not."""
    spec = build_child_spec(said, by or parent())
    assert isinstance(spec, Refusal), spec
    return spec.message


def test_a_prompt_is_enough() -> None:
    """The same kind of agent does it, as urgently as its parent."""
    assert build({"prompt": "go"}, parent(priority=300)) == {"prompt": "go", "type": "search", "priority": 300}


def test_all_that_may_be_said_is_kept() -> None:
    """As the Task schema has it."""
    said = {
        "prompt": "go",
        "type": "codegen",
        "role": "green",
        "priority": 100,
        "timeoutSeconds": 60,
        "context": ["notes.md"],
        "dependsOn": ["other"],
        "outputSchema": {"type": "object"},
    }

    assert build(said, parent(dependsOn=["other"])) == said


def test_a_submitted_task_is_never_more_urgent_than_its_parent() -> None:
    """Otherwise an agent could push everybody aside."""
    assert build({"prompt": "go", "priority": 900}, parent(priority=300))["priority"] == 300


def test_what_a_wish_leaves_empty_counts_as_not_said() -> None:
    """Models fill in every member that they see."""
    said = {"prompt": "go", "role": "", "context": [], "priority": None, "outputSchema": {}}

    assert build(said) == {"prompt": "go", "type": "search", "priority": 500}


@pytest.mark.parametrize("member", ["command", "locks", "cancel", "suspend"])
def test_what_an_agent_cannot_set_is_named(member: str) -> None:
    """With the members that there are."""
    assert refuse({"prompt": "go", member: True}).startswith(
        f"{member}: an agent cannot set it. Leave it out; there are: prompt,"
    )


def test_a_member_that_does_not_exist_is_named() -> None:
    """Perhaps it is misspelt."""
    assert refuse({"prompt": "go", "promptt\n": "x"}).startswith("promptt: there is no such member")


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({}, "prompt:"),
        ({"prompt": ["go"]}, "prompt:"),
        ({"prompt": "x" * (MAX_PROMPT + 1)}, "prompt:"),
        ({"prompt": "half \ud800"}, "prompt:"),
        ({"prompt": "go", "role": "blue", "agentRef": "blue"}, "role, agentRef:"),
        ({"prompt": "go", "role": "Blue"}, "role:"),
        ({"prompt": "go", "type": "-x"}, "type:"),
        ({"prompt": "go", "agentRef": "a" * 53}, "agentRef:"),
        ({"prompt": "go", "priority": 1001}, "priority:"),
        ({"prompt": "go", "priority": True}, "priority:"),
        ({"prompt": "go", "priority": "high"}, "priority:"),
        ({"prompt": "go", "timeoutSeconds": 0.5}, "timeoutSeconds:"),
        ({"prompt": "go", "timeoutSeconds": 10**9}, "timeoutSeconds:"),
        ({"prompt": "go", "context": "notes.md"}, "context:"),
        ({"prompt": "go", "context": ["../secret"]}, "context: ../secret is not one"),
        ({"prompt": "go", "context": [["a"]]}, "context:"),
        ({"prompt": "go", "context": [f"f{n}" for n in range(MAX_ITEMS + 1)]}, "context:"),
        ({"prompt": "go", "dependsOn": ["Other!"]}, "dependsOn:"),
        ({"prompt": "go", "outputSchema": "text"}, "outputSchema:"),
        ({"prompt": "go", "outputSchema": {"x": "y" * 70_000}}, "outputSchema:"),
        ({"prompt": "go", "outputSchema": {"x": 2**53 + 1}}, "outputSchema:"),
        ({"prompt": "go", "outputSchema": {"x": "\ud800"}}, "outputSchema:"),
        ({"prompt": "go", "outputSchema": {"x": float("nan")}}, "outputSchema:"),
    ],
)
def test_what_is_out_of_bounds_is_named(said: dict[str, Any], names: str) -> None:
    """Each refusal begins with the member that has to change."""
    assert refuse(said).startswith(names)


def test_a_schema_of_any_depth_is_refused_and_not_walked() -> None:
    """It comes from an agent."""
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}

    assert refuse({"prompt": "go", "outputSchema": deep}).startswith("outputSchema:")


def test_a_dependency_is_one_of_the_parents_or_was_submitted_by_it() -> None:
    """Others are none of its business; those that it may name are told."""
    by = parent(("mine-1",), dependsOn=["ours"])

    assert build({"prompt": "go", "dependsOn": ["mine-1", "ours"]}, by)["dependsOn"] == ["mine-1", "ours"]
    assert refuse({"prompt": "go", "dependsOn": ["theirs"]}, by).endswith("it may name: mine-1, ours.")


@given(said=st.dictionaries(st.sampled_from([*MEMBERS, "command", "x"]), JSON, max_size=9))
def test_whatever_is_said_leads_to_a_spec_or_a_sentence(said: dict[str, Any]) -> None:
    """Nothing is raised, nothing but the known members comes through, and the log can hold it."""
    spec = build_child_spec(said, parent())

    if isinstance(spec, Refusal):
        assert spec.message
        spec.message.encode()
        return
    assert spec.keys() <= set(MEMBERS)
    assert 0 <= spec["priority"] <= 500
    encode_canonical(spec)
    parse_task_spec(spec)


@given(wish=st.text(max_size=100), attempt=st.integers(1, 9), request=st.integers(1, 1000))
def test_a_name_is_one_that_kubernetes_admits(wish: str, attempt: int, request: int) -> None:
    """Whatever the wish."""
    name = name_child(TaskUid("t"), attempt, request, wish)

    assert len(name) <= MAX_WISH + 9
    assert all(part.isascii() and part.isalnum() and part == part.lower() for part in name.split("-"))


def test_different_requests_have_different_names() -> None:
    """Also when they wish for the same."""
    names = {name_child(TaskUid("t"), attempt, request, "a") for attempt in range(1, 9) for request in range(1, 99)}

    assert len(names) == 8 * 98
