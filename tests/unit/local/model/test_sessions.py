"""Whole sessions of the scripts, with tools that a test plays: what is said follows from what the tools answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.model_sessions import WORKING, Failed, build_request, play

REVIEW = "# Review of the results\n- Result of the task a-1, which came before: /r/1\n- Result of the task b-1: /r/2\n"
GREEN = "...\nRan 3 tests in 0.001s\n\nOK\n"


class Grep:
    """Counts of a folder with so many files of ten lines, in pages."""

    def __init__(self, files: int) -> None:
        self.paths = [f"/data/{n:03}.py" for n in range(files)]

    def __call__(self, arguments: Mapping[str, Any]) -> str:
        at = arguments["offset"]
        page = self.paths[at : at + arguments["head_limit"]]
        listed = "\n".join(f"{path}:10" for path in page)
        return f"{listed}\n\nFound {10 * len(self.paths)} total occurrences across {len(self.paths)} files."


class Bash:
    """Each call gets the next of these answers."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.commands: list[str] = []

    def __call__(self, arguments: Mapping[str, Any]) -> str:
        self.commands.append(arguments["command"])
        return self.answers.pop(0)


def review(*answers: str) -> Mapping[str, Any]:
    """The verdict on two results with these answers."""
    read = iter(answers)
    schema = {"type": "object"}
    tools = {"Glob": lambda _arguments: "/r/1/answer.md", "Read": lambda _arguments: next(read)}
    verdict: Mapping[str, Any] = play(build_request(REVIEW, schema=schema), tools)[1][-1]["input"]
    return verdict


def tally(bash: Bash) -> str:
    """What the builder says last."""
    tools = {"Bash": bash, "Write": lambda _: "created", "Edit": lambda _: "updated", "Read": lambda _: "1\tan answer"}
    return play(build_request("A program that counts\n- To read: /data/a b", tools=WORKING), tools)[0]


def test_the_overview_counts_all_files_of_a_large_folder() -> None:
    """More than one listing shows are listed page by page."""
    said, uses = play(
        build_request("Overview of a folder\n- To read: /data"), {"Grep": Grep(400), "Read": lambda _: "1\t# The data"}
    )

    assert said.startswith("400 files, 4,000 lines of text; mostly 400 .py.")
    assert "What it says of itself: The data" in said
    assert [use["input"]["offset"] for use in uses if use["name"] == "Grep"] == [0, 150, 300]


def test_an_empty_folder_is_told_as_empty() -> None:
    """With figures, so that a reviewer has something to check."""
    said, _ = play(build_request("Overview of a folder\n- To read: /data"), {"Grep": Grep(0)})

    assert said.startswith("0 files, 0 lines")


def test_progress_is_reported_where_there_is_a_tool_for_it() -> None:
    """Under whatever name the server of tools gives it."""
    tools = ("Grep", "Read", "mcp__some__report_progress")
    played = {"Grep": Grep(1), "Read": lambda _: "1\tx", tools[2]: lambda _: "noted"}
    _, uses = play(build_request("Overview of a folder\n- To read: /data", tools=tools), played)

    assert [use["input"]["percent"] for use in uses if use["name"] == tools[2]] == [50]


def test_the_builder_mends_what_its_test_found() -> None:
    """The first run fails, the second is green, and the figure is the program's own."""
    bash = Bash(
        Failed("Exit code 1\nAssertionError: 'Makefile' != '(none)'"),
        GREEN + "py      7 files   10 bytes\ntotal 7 files",
    )
    said = tally(bash)

    assert said.startswith("tally.py counts 7 files")
    assert "'Makefile' != '(none)'" in said
    assert "'/data/a b'" in bash.commands[1]


def test_a_session_that_goes_on_after_its_program_was_mended_comes_to_its_end() -> None:
    """A resumed one finds its test green at once; it has nothing to mend and counts."""
    said = tally(Bash(GREEN, GREEN + "py      7 files   10 bytes\ntotal 7 files"))

    assert said.startswith("tally.py counts 7 files; its test is green.")


def test_the_builder_does_not_call_red_green() -> None:
    """Whatever the script would like to see."""
    said = tally(Bash(Failed("Exit code 1\nAssertionError: x"), Failed("Exit code 127\npython3: not found")))

    assert "could not finish" in said


def test_a_good_result_is_approved() -> None:
    """Both answers have figures."""
    assert review("1\t5 files, 9 lines", "1\t5 files")["verdict"] == "approve"


def test_figures_that_differ_are_found() -> None:
    """They are a remark, by task."""
    [finding] = review("1\t5 files, 9 lines", "1\tcounts 6 files")["findings"]

    assert finding["task"] == "a-1 and b-1"
    assert "a-1 says 5, b-1 says 6" in finding["problem"]


def test_an_answer_that_cannot_be_read_is_a_fault() -> None:
    """And the verdict says so."""
    verdict = review("1\t5 files", Failed("File does not exist."))

    assert verdict["verdict"] == "revise"
    assert verdict["findings"][0]["task"] == "b-1"
