"""The tools that ask the operator: what is sent, and what a model is told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.conversation import PARENT, Conversation, deny, grant
from watchbill_agent.claude import asking_tools
from watchbill_agent.claude.toolbox import Said
from watchbill_coordination.codec.messages import MAX_OUTBOX_BYTES, Header, decode_file, encode_file
from watchbill_coordination.core.messages import ChildSubmitted, LockReleased, LockRequested, Progress
from watchbill_coordination.core.specs import ReplicaName

SOON = 0.02  #: seconds that a request waits where none is answered
WHO: dict[str, Any] = {"incarnation": "pod/1", "task": PARENT, "attempt": 1}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
ARGUMENTS = (
    *("name", "mode", "prompt", "type", "role", "priority", "context", "dependsOn", "outputSchema", "timeoutSeconds"),
    *("text", "percent", "path", "offset", "limit"),
)
HEADER = Header(number=1, agent=ReplicaName("blue-0"), incarnation="pod/1")


def test_a_lock_that_is_granted_is_told_with_its_token(tmp_path: Path) -> None:
    """And until when it is held."""
    talk = Conversation(tmp_path, lambda request: grant(request, token=17))

    said = talk.use_once("acquire_lock", name="repo:src")

    assert talk.said == [LockRequested(**WHO, request=1, name="repo:src", shared=False)]
    assert said == Said(
        "Granted: you hold the lock repo:src (exclusive, fencing token 17) until you release it or this attempt ends."
    )


def test_a_lock_can_be_shared(tmp_path: Path) -> None:
    """The case of the word does not count."""
    talk = Conversation(tmp_path, grant)

    assert "(shared)" in talk.use_once("acquire_lock", name="repo:src", mode="Shared").text
    assert talk.said[0].shared


def test_a_lock_that_is_denied_is_an_error_that_says_who_holds_it(tmp_path: Path) -> None:
    """A model must not go on as if it had it."""
    talk = Conversation(tmp_path, lambda request: deny(request, "repo:src is held by the Task other."))

    assert talk.use_once("acquire_lock", name="repo:src") == Said(
        "Denied: you do not have the lock repo:src. repo:src is held by the Task other.", is_error=True
    )


def test_a_lock_is_given_back(tmp_path: Path) -> None:
    """By name."""
    talk = Conversation(tmp_path, grant)

    assert talk.use_once("release_lock", name="repo:src") == Said("You gave back the lock repo:src.")
    assert talk.said == [LockReleased(**WHO, request=1, name="repo:src")]


def test_a_lock_that_cannot_be_given_back_is_told_with_the_reason(tmp_path: Path) -> None:
    """As the operator gives it."""
    talk = Conversation(tmp_path, lambda request: deny(request, "x is not held by this attempt."))

    assert talk.use_once("release_lock", name="x") == Said("x is not held by this attempt.", is_error=True)


def test_a_submitted_task_has_what_was_given_and_nothing_else(tmp_path: Path) -> None:
    """Paths and names in their full form."""
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "spec.md").touch()
    talk = Conversation(tmp_path, lambda request: grant(request, name="tests-0a1b2c3d"), dependencies={"search": "u"})

    said = talk.use_once(
        "submit_task",
        name="tests",
        prompt="Write tests.",
        type="codegen",
        priority=400,
        context=["./input/spec.md", "input/spec.md"],
        dependsOn=["search"],
        outputSchema={"type": "object"},
    )

    assert talk.said[0].name == "tests"
    assert talk.said[0].spec == {
        "prompt": "Write tests.",
        "type": "codegen",
        "priority": 400,
        "context": ["input/spec.md"],
        "dependsOn": ["search"],
        "outputSchema": {"type": "object"},
    }
    assert said.text.startswith("The Task tests-0a1b2c3d was created")


def test_a_priority_of_zero_is_one(tmp_path: Path) -> None:
    """It is not the same as none."""
    talk = Conversation(tmp_path, grant)
    talk.use_once("submit_task", name="tests", prompt="p", priority=0)

    assert talk.said[0].spec == {"prompt": "p", "priority": 0}


def test_a_task_that_is_refused_is_told_with_the_reason(tmp_path: Path) -> None:
    """As the operator gives it."""
    talk = Conversation(tmp_path, lambda request: deny(request, "An attempt may submit 20 Tasks."))

    assert talk.use_once("submit_task", name="tests", prompt="p") == Said(
        "The Task was not created. An attempt may submit 20 Tasks.", is_error=True
    )


def test_a_task_can_depend_on_one_that_was_submitted_before(tmp_path: Path) -> None:
    """By the name that the model had wished."""
    talk = Conversation(tmp_path, grant)
    talk.end_child("build-it-0a1b2c3d", "u")
    talk.use_once("submit_task", name="tests", prompt="p", dependsOn=["Build it"])

    assert talk.said[0].spec["dependsOn"] == ["build-it-0a1b2c3d"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": "x" * 200_001}, "prompt has 200,001 characters: give at most 200,000"),
        ({"prompt": "\x01" * 180_000}, "bytes, which is too much. Shorten the prompt"),
        ({"prompt": "p", "outputSchema": {"enum": list(range(3000))}}, "Make outputSchema simpler"),
        ({"prompt": "p", "outputSchema": {"maximum": float("nan")}}, "outputSchema is not JSON"),
        ({"prompt": "p", "name": "x" * 101}, "name has 101 characters"),
        ({"prompt": "half \ud83d"}, "prompt holds half of a surrogate pair"),
        ({"prompt": "p", "context": ["half \ud83d"]}, "characters of Unicode"),
        ({"prompt": "p", "priority": 1001}, "priority is 1001: give a number from 0 to 1,000"),
        ({"prompt": "p", "priority": 1.5}, "priority is 1.5: give a whole number"),
        ({"prompt": "p", "timeoutSeconds": 0}, "timeoutSeconds is 0"),
        ({"prompt": "p", "context": ["missing.md"]}, "context names 'missing.md'"),
        ({"prompt": "p", "context": ["../x"]}, "is not a path below shared-context"),
        ({"prompt": "p", "dependsOn": ["other"]}, "dependsOn names 'other', which is no Task of yours. It can name: s"),
        ({"prompt": "p", "outputSchema": "text"}, "outputSchema is 'text': give an object"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_task_that_cannot_be_sent_is_refused_with_the_argument_to_mend(
    tmp_path: Path, arguments: dict[str, Any], words: str
) -> None:
    """Nothing is asked of the operator then."""
    talk = Conversation(tmp_path, grant, dependencies={"s": "u"})

    said = talk.use_once("submit_task", **({"name": "tests"} | arguments))

    assert said.is_error
    assert words in said.text
    assert len(said.text) < 400
    assert not talk.said


def test_progress_is_one_short_line(tmp_path: Path) -> None:
    """Whatever the model says."""
    talk = Conversation(tmp_path)

    assert talk.use_once("report_progress", text="half\ndone " + "x" * 600, percent=50).text == "Noted."
    assert talk.said == [Progress(**WHO, text=("half done " + "x" * 600)[:512], percent=50)]


@pytest.mark.parametrize("percent", [-1, 101, "50", True])
def test_a_percentage_is_a_number_up_to_100(tmp_path: Path, percent: object) -> None:
    """The mailbox takes no other."""
    talk = Conversation(tmp_path)

    assert talk.use_once("report_progress", text="x", percent=percent).is_error
    assert not talk.said


@pytest.mark.parametrize(
    ("tool", "words"),
    [("acquire_lock", "ask for it again"), ("release_lock", "given back"), ("submit_task", "not created twice")],
)
def test_a_request_that_is_not_answered_says_what_is_safe(tmp_path: Path, tool: str, words: str) -> None:
    """The operator may have acted all the same."""
    arguments = {"prompt": "p"} if tool == "submit_task" else {}

    said = Conversation(tmp_path, seconds=SOON).use_once(tool, name="x", **arguments)

    assert said.is_error
    assert words in said.text


def test_a_model_is_told_that_its_attempt_is_being_stopped(tmp_path: Path) -> None:
    """So that it ends its answer."""
    talk = Conversation(tmp_path)

    async def stop_it() -> Said:
        asking = asyncio.create_task(talk.use("acquire_lock", name="x"))
        await asyncio.sleep(0)
        talk.exchange.close()
        return await asking

    said = asyncio.run(stop_it())
    assert said.is_error
    assert "being stopped" in said.text


def test_a_use_that_is_cancelled_leaves_the_conversation_whole(tmp_path: Path) -> None:
    """Its answer comes later and is nobody's; the next request gets its own."""
    talk = Conversation(tmp_path)

    async def cancel_one() -> Said:
        given_up = asyncio.create_task(talk.use("acquire_lock", name="a"))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait({given_up})
        assert given_up.cancelled()
        talk.exchange.deliver(grant(talk.said[0]))
        asking = asyncio.create_task(talk.use("acquire_lock", name="b"))
        await asyncio.sleep(0)
        talk.exchange.deliver(deny(talk.said[1], "held"))
        return await asking

    assert asyncio.run(cancel_one()).text == "Denied: you do not have the lock b. held"


def test_uses_at_the_same_time_get_their_own_answers(tmp_path: Path) -> None:
    """A model may use several tools in one turn."""
    talk = Conversation(tmp_path, lambda request: grant(request, token=request.request))

    async def use_all() -> list[Said]:
        return await asyncio.gather(*(talk.use("acquire_lock", name=f"lock-{n}") for n in range(1, 9)))

    texts = [said.text for said in asyncio.run(use_all())]
    assert all(f"lock-{n} (exclusive, fencing token {n})" in texts[n - 1] for n in range(1, 9))


def test_a_defect_of_a_tool_costs_one_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session goes on."""
    talk = Conversation(tmp_path)
    monkeypatch.setattr(asking_tools, "clean_line", lambda *_: 1 / 0)

    said = talk.use_once("report_progress", text="x")

    assert said.is_error
    assert "ZeroDivisionError" in said.text


@settings(deadline=None)
@given(
    st.sampled_from(["acquire_lock", "release_lock", "submit_task", "report_progress", "read_context", "task_result"]),
    st.fixed_dictionaries({}, optional=dict.fromkeys(ARGUMENTS, ANYTHING)),
)
def test_whatever_a_model_passes_is_answered_and_what_is_sent_keeps_the_limits(
    tool: str, arguments: dict[str, Any]
) -> None:
    """No exception, a short text, and a message that the operator can read."""
    talk = Conversation(Path(__file__).parent, grant)

    said = talk.use_once(tool, **arguments)

    assert isinstance(said.text, str)
    assert len(said.text) < 2000
    assert "defect" not in said.text
    for message in talk.said:
        name, data = encode_file(HEADER, [message])
        assert len(data) <= MAX_OUTBOX_BYTES
        decode_file(name, data, from_operator=False)


def test_the_largest_submission_fits_into_one_file(tmp_path: Path) -> None:
    """A prompt of so many characters that each take four bytes."""
    talk = Conversation(tmp_path, grant)
    talk.use_once("submit_task", name="tests", prompt="\U0001f6a2" * 200_000)

    assert isinstance(talk.said[0], ChildSubmitted)
    name, data = encode_file(HEADER, talk.said)
    assert len(data) <= MAX_OUTBOX_BYTES
    assert decode_file(name, data, from_operator=False).messages == tuple(talk.said)
