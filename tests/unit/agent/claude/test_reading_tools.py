"""read_context and task_result: what a model is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.conversation import PARENT, Conversation
from watchbill_agent.claude.reading_tools import find_name
from watchbill_coordination.core.children import name_child


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A shared-context with the result of one Task."""
    result = tmp_path / "results" / "u-dep"
    (result / "src").mkdir(parents=True)
    (result / "answer.md").write_text("It is 42.")
    (result / "output.json").write_text('{"n": 42}')
    (result / "src" / "a.py").write_text("pass")
    (tmp_path / "requirements.md").write_text("Be brief.")
    return tmp_path


def test_a_small_file_is_shown_as_it_is(context: Path) -> None:
    """Nothing around it."""
    said = Conversation(context).use_once("read_context", path="requirements.md")

    assert (said.text, said.is_error) == ("Be brief.", False)


def test_a_long_file_says_how_to_go_on(context: Path) -> None:
    """With the offset of the next part."""
    (context / "long").write_text("x" * 1000)

    said = Conversation(context).use_once("read_context", path="long", limit=300)

    assert said.text == "(long, bytes 0 to 300 of 1,000; go on with offset=300)\n" + "x" * 300


def test_the_last_part_of_a_file_says_so(context: Path) -> None:
    """There is nothing to go on with."""
    (context / "long").write_text("x" * 1000)

    said = Conversation(context).use_once("read_context", path="long", offset=900, limit=300)

    assert said.text == "(long, bytes 900 to 1,000 of 1,000)\n" + "x" * 100


def test_an_answer_is_bounded_whatever_is_asked(context: Path) -> None:
    """A model's context is dear."""
    (context / "long").write_text("x" * 100_000)

    assert len(Conversation(context).use_once("read_context", path="long", limit=10**9).text) < 41_000


def test_a_long_folder_is_listed_in_parts(context: Path) -> None:
    """With the offset of the next names."""
    (context / "many").mkdir()
    for number in range(250):
        (context / "many" / f"{number:03d}").touch()

    first = Conversation(context).use_once("read_context", path="many").text
    second = Conversation(context).use_once("read_context", path="many", offset=200).text

    assert first.splitlines()[-1] == "(50 more: go on with offset=200)"
    assert second.splitlines() == [f"{number:03d}" for number in range(200, 250)]


@pytest.mark.parametrize(("name", "text"), [("empty", "empty is empty."), ("folder", "folder is an empty folder.")])
def test_emptiness_is_said(context: Path, name: str, text: str) -> None:
    """An empty answer would be a riddle."""
    (context / "empty").touch()
    (context / "folder").mkdir()

    assert Conversation(context).use_once("read_context", path=name).text == text


def test_a_path_that_leads_out_is_an_error_for_the_model(context: Path) -> None:
    """It is told what would be right."""
    said = Conversation(context).use_once("read_context", path="/etc/passwd")

    assert said.is_error
    assert "below shared-context" in said.text


def test_the_result_of_a_dependency_is_shown(context: Path) -> None:
    """Its answers, and the names of what else there is."""
    said = Conversation(context, dependencies={"search": "u-dep"}).use_once("task_result", name="search")

    assert not said.is_error
    assert said.text.splitlines() == [
        "The Task search Succeeded. Its result lies in results/u-dep/.",
        "--- output.json",
        '{"n": 42}',
        "--- answer.md",
        "It is 42.",
        "More files, for read_context: src/.",
    ]


def test_the_result_of_an_unknown_task_is_refused_with_the_names_that_may_be_asked(context: Path) -> None:
    """The model can choose among them."""
    said = Conversation(context, dependencies={"search": "u-dep"}).use_once("task_result", name="other")

    assert said.is_error
    assert said.text.endswith("You may ask for: search.")


def test_an_unfinished_task_is_said_to_be_unfinished(context: Path) -> None:
    """And that waiting is not what this tool does."""
    talk = Conversation(context)
    talk.exchange._children["tests-0a1b2c3d"] = None

    said = talk.use_once("task_result", name="tests-0a1b2c3d")

    assert not said.is_error
    assert said.text.startswith("The Task tests-0a1b2c3d has not ended")


def test_a_task_of_its_own_that_ended_is_shown(context: Path) -> None:
    """Also when it is called by the name that the model had wished."""
    talk = Conversation(context)
    talk.end_child("write-tests-0a1b2c3d", "u-dep")

    assert "It is 42." in talk.use_once("task_result", name="write-tests-0a1b2c3d").text
    assert "It is 42." in talk.use_once("task_result", name="Write tests").text


def test_a_task_that_failed_is_told_with_its_reason(context: Path) -> None:
    """A fact, no error of the tool."""
    talk = Conversation(context)
    talk.end_child("tests-0a1b2c3d", "u", "Failed", "DeadlineExceeded: stopped after 60 s.")

    said = talk.use_once("task_result", name="tests-0a1b2c3d")

    assert (said.text, said.is_error) == (
        "The Task tests-0a1b2c3d ended without a result, as Failed: DeadlineExceeded: stopped after 60 s.",
        False,
    )


def test_a_result_that_was_removed_is_said_to_be_gone(context: Path) -> None:
    """Results go with their Tasks."""
    said = Conversation(context, dependencies={"old": "u-old"}).use_once("task_result", name="old")

    assert said.text == "The Task old Succeeded; its result is not kept any more."


@settings(deadline=None)
@given(st.text(min_size=1, max_size=100), st.integers(1, 1000))
def test_a_task_is_found_by_the_name_that_was_wished_for_it(wish: str, request_number: int) -> None:
    """Whatever the operator makes of that."""
    made = name_child(PARENT, 1, request_number, wish)

    assert find_name(wish, (made,)) == made


def test_a_wished_name_that_fits_two_tasks_means_none() -> None:
    """The model has to be exact then."""
    names = ("tests-0a1b2c3d", "tests-11111111")

    assert find_name("tests", names) is None
    assert find_name("tests", names[:1]) == names[0]
    assert find_name(names[1], names) == names[1]
