"""The quickstart with the real Claude Code, as `make up MODEL=scripted` and `make up RUNNER=claude` run it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.local_system import LocalSystem, task
from support.model_scenarios import Body, Step
from support.model_stub import ModelStub
from support.waiting import wait_for
from watchbill_local.model.conversation import parse_conversation
from watchbill_local.model.scripts import find_reply

pytest.importorskip("claude_agent_sdk")
pytestmark = [
    pytest.mark.claude,
    pytest.mark.timeout(300),
    pytest.mark.local("the scripted model as a process, and a key from the environment of the command"),
]

KEY = "sk-ant-" + "marked-key-4711"
FILES = {
    "README.md": "# A tree\n",
    "pkg/a.py": "def one() -> int:\n    return 1\n",
    "notes.txt": "TODO: two\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small folder whose name holds a space."""
    for name, text in FILES.items():
        path = tmp_path / "a tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "a tree"


@pytest.fixture
def home(make_system: Callable[[Path], LocalSystem], tmp_path: Path) -> Iterator[LocalSystem]:
    """A system that was not started yet, on the control plane of this run."""
    system = make_system(tmp_path / "own home")
    system.prepare()
    try:
        yield system
    finally:
        system.stop()


def results(system: LocalSystem) -> dict[str, str]:
    """Results of the quickstart's Tasks by the stem of their names."""
    tasks = system.list("tasks", "-l", "watchbill.dev/quickstart")
    return {task["metadata"]["name"].rsplit("-", 1)[0]: task["status"]["result"] for task in tasks}


def secret(system: LocalSystem, name: str) -> dict[str, str]:
    """What is in a Secret."""
    data = (system.get("secret", name) or {})["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def play(_number: int, body: Body) -> Step:
    """A stub that answers as the scripted model does."""
    return Step(find_reply(parse_conversation(body)))


def test_the_quickstart_runs_with_the_scripted_model_and_goes_back_to_commands(home: LocalSystem, tree: Path) -> None:
    """Without a key: real sessions with real tools on the folder given. Each choice takes the other's place."""
    done = home.watchbill("start", "--model", "scripted", "--quickstart", str(tree), timeout=200)

    assert done.code == 0, done.err + done.out
    assert done.out.count("Succeeded") == 5
    said = results(home)
    assert said["overview"].startswith("3 files, 4 lines of text")
    assert said["definitions"].startswith("1 definition of functions and types in 1 file")
    assert said["open-ends"].startswith("1 marked line in 1 file: 1 TODO")
    assert said["tally"].startswith("tally.py counts 3 files; its test failed once")
    assert json.loads(said["verdict"])["verdict"] == "approve"
    assert re.search(r"^tally-\w+ +Succeeded +green-\d +[\d.]+ +\$0\.\d*[1-9]", done.out, re.MULTILINE)
    assert "watchbill transcript tally-" in done.out
    assert secret(home, "watchbill-scripted-model") == {"ANTHROPIC_API_KEY": "no-key-is-needed"}

    back = home.watchbill("start", "--quickstart", str(tree))
    assert back.code == 0, back.err + back.out
    assert back.out.count("Succeeded") == 8

    again = home.watchbill("start", "--model", "scripted", "--quickstart", str(tree), timeout=200)
    assert again.code == 0, again.err + again.out
    assert results(home)["tally"] == said["tally"], "the same input has its result in the log already"


def test_the_key_of_the_environment_reaches_the_model_and_no_process(home: LocalSystem) -> None:
    """It is in the Secret, and the broker sends it; no process that was started inherited it."""
    with ModelStub() as stub:
        keyed = replace(home, settings={"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": stub.play("real", play)})
        stub.accept_keys("real", KEY)
        done = keyed.watchbill("start", "--runner", "claude")
        assert done.code == 0, done.err + done.out
        home.apply(task("ask", prompt="Say something."))
        status = home.wait_for_phase("ask", seconds=60)
        sent = stub.requests("real")

    assert status["phase"] == "Succeeded", status
    assert {request.headers["x-api-key"] for request in sent} == {KEY}
    assert secret(home, "watchbill-credentials") == {"ANTHROPIC_API_KEY": KEY}
    assert KEY not in home.kubectl("get", "secret", "watchbill-credentials", "-o", "jsonpath={.metadata}")
    assert KEY not in done.out + done.err
    assert holders(home) == []


def test_a_key_is_asked_for_in_one_sentence(home: LocalSystem) -> None:
    """Before anything starts."""
    done = home.watchbill("start", "--runner", "claude")

    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "set ANTHROPIC_API_KEY" in done.err
    assert "--model scripted" in done.err


def test_a_model_that_was_killed_is_started_again_at_its_port(home: LocalSystem) -> None:
    """The pods know its address and are not replaced."""
    assert home.watchbill("start", "--model", "scripted").code == 0
    pods = {pod["metadata"]["uid"] for pod in home.list("pods")}
    address = (home.home / "model" / "address").read_text()
    killed = home.pid("model")
    home.run("kill", "-9", str(killed))
    wait_for(lambda: not Path(f"/proc/{killed}/cmdline").exists() or is_zombie(killed), "the model is gone")

    assert home.watchbill("start", "--model", "scripted").code == 0

    assert (home.home / "model" / "address").read_text() == address
    assert home.pid("model") != killed
    assert {pod["metadata"]["uid"] for pod in home.list("pods")} == pods


def holders(system: LocalSystem) -> list[str]:
    """Processes of this system with the key in their environment or arguments: those that may be read."""
    ours = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parts = [(process / name).read_bytes() for name in ("environ", "cmdline")]
        except OSError:
            continue
        if KEY.encode() in b"\0".join(parts):
            ours.append(parts[1].decode(errors="replace"))
    return ours


def is_zombie(pid: int) -> bool:
    """Whether it has ended and nobody has asked how."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
