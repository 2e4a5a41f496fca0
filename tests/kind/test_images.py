"""Each image as a plain container, with what a restricted pod has: what is in it, what is not, and how it ends.

No cluster is needed for these facts; they are here because the images are made where there is an engine.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.kind_cluster import RunCluster
from support.logs import list_types, write_log

pytestmark = pytest.mark.kind

IMAGES = ("operator", "agent", "broker")
UID = 65532  #: of the images; pods of agents have others
AGENT_UID = 12_345
RESTRICTED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", "--tmpfs=/tmp")
SITE = "/opt/watchbill/lib/python3.*/site-packages"
CLAUDE = f"{SITE}/claude_agent_sdk/_bundled/claude"
BUILDERS = "gcc cc c++ g++ clang tcc make cmake cargo go"
SECONDS = 100


@pytest.fixture(scope="module", autouse=True)
def _engine(cluster: RunCluster) -> None:
    """The engine of the run, which has the images by now."""


def run_image(image: str, *arguments: str, options: tuple[str, ...] = (), user: int = UID) -> Any:
    """Run it as a restricted pod would; what it said and how it ended."""
    command = ["docker", "run", "--rm", *RESTRICTED, f"--user={user}:{user}", *options, f"watchbill/{image}:dev"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)


def run_shell(image: str, script: str, *, user: int = UID) -> str:
    """What a script says in that image; it has to succeed."""
    done = run_image(image, "-ec", script, options=("--entrypoint=/bin/sh",), user=user)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def inspect(image: str) -> dict[str, Any]:
    """The engine's description of the image."""
    done = subprocess.run(
        ["docker", "image", "inspect", f"watchbill/{image}:dev"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    described: dict[str, Any] = json.loads(done.stdout)[0]
    return described


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("operator", "watchbill-operator: set WATCHBILL_ROOT to the directory of the coordination volume\n"),
        ("agent", "WATCHBILL_REPLICA is not set\n"),
        ("broker", "WATCHBILL_SOCKETS is not set\n"),
    ],
)
@pytest.mark.parametrize("user", [UID, AGENT_UID])
def test_without_settings_it_ends_with_78_and_one_sentence(image: str, sentence: str, user: int) -> None:
    """Also under a user that no file of the image names."""
    done = run_image(image, user=user)

    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.endswith(sentence)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("image", IMAGES)
def test_it_runs_as_a_user_of_its_own(image: str) -> None:
    """By number, so that Kubernetes can see that it is not root."""
    assert inspect(image)["Config"]["User"] == f"{UID}:{UID}"
    assert run_shell(image, "id -u; id -g; umask; echo $HOME").split() == [str(UID), str(UID), "0022", "/tmp"]


@pytest.mark.parametrize("image", IMAGES)
def test_it_has_no_compiler_and_no_cache_of_pip(image: str) -> None:
    """What builds stays in the stages that build."""
    found = run_shell(image, f"for name in {BUILDERS}; do command -v $name || true; done")
    caches = run_shell(
        image, "ls -d /root/.cache /tmp/.cache /tools /build /wheel /var/lib/apt/lists/*_* 2>/dev/null || true"
    )
    pip = run_shell(image, f"ls -d {SITE}/pip {SITE}/setuptools {SITE}/hatchling 2>/dev/null || true")

    assert (found, caches, pip) == ("", "", "")


@pytest.mark.parametrize("image", IMAGES)
def test_its_labels_say_what_it_is(image: str) -> None:
    """And of which version and revision."""
    labels = inspect(image)["Config"]["Labels"]
    told = {name.rpartition(".")[2]: text for name, text in labels.items() if name.startswith("org.opencontainers.")}

    assert told.keys() == {"title", "description", "version", "revision", "source", "licenses"}
    assert told["title"] == f"watchbill-{image}"
    assert all(told[name] for name in ("description", "version", "revision", "licenses"))
    assert told["version"] != "unknown"


@pytest.mark.parametrize("image", IMAGES)
def test_nothing_of_ours_can_be_changed_by_its_user(image: str) -> None:
    """Even where the root file system is not read-only."""
    assert run_shell(image, "find /opt/watchbill -writable ! -type l | head") == ""


@pytest.mark.parametrize("image", IMAGES)
def test_all_of_its_code_is_compiled(image: str) -> None:
    """With a read-only root it would be compiled at every start."""
    script = """
import importlib.util, pathlib, sys
folders = [pathlib.Path(place) for place in sys.path if place.endswith("-packages")]
ours = [file for folder in folders for file in folder.glob("watchbill_*/**/*.py")]
assert ours
print([str(file) for file in ours if not pathlib.Path(importlib.util.cache_from_source(str(file))).exists()])
import asyncio, json
print([module.__name__ for module in (asyncio, json) if not pathlib.Path(module.__cached__).exists()])
"""
    done = run_image(image, "-c", script, options=("--entrypoint=python",))

    assert done.stdout.split("\n")[:2] == ["[]", "[]"], done.stderr


@pytest.mark.parametrize(
    ("image", "packages"),
    [
        ("operator", ["watchbill_cli", "watchbill_coordination", "watchbill_local", "watchbill_operator"]),
        ("agent", ["watchbill_agent", "watchbill_broker", "watchbill_coordination"]),
        ("broker", ["watchbill_broker"]),
    ],
)
def test_it_has_of_ours_what_it_needs(image: str, packages: list[str]) -> None:
    """The broker's can be read alone; the agent's has a broker for installations without an image for it."""
    assert run_shell(image, f"cd {SITE}; ls -d watchbill_*").split() == packages


def test_the_broker_has_two_packages_of_others() -> None:
    """h11 and asyncinotify, and what Python brings."""
    listed = run_shell("broker", f"cd {SITE}; ls -d *.dist-info").split()

    assert [name.split("-")[0] for name in listed] == ["asyncinotify", "h11"]


def test_the_agents_image_has_no_kubernetes_client() -> None:
    """An agent has no token, and nothing that would use one."""
    assert run_shell("agent", f"cd {SITE}; ls -d kopf pykube aiohttp 2>/dev/null || true") == ""


def test_the_real_claude_code_answers_in_the_agents_image() -> None:
    """Under an agent's user, which has no name there, and without a network."""
    wanted, told = run_shell("agent", f"cat {CLAUDE}.version; {CLAUDE} --version", user=AGENT_UID).splitlines()

    assert told == wanted
    assert told.endswith(" (Claude Code)")


def test_what_claude_codes_tools_use_is_in_the_agents_image() -> None:
    """A shell, git and the list of processes work under an agent's user."""
    used = "cd /tmp; git init -q work; cd work; bash -c 'git status --short'; ps -o comm= -p 1"

    tools = "for tool in bash git grep find sed awk; do command -v $tool; done"

    assert run_shell("agent", f"{used}; {tools}", user=AGENT_UID).splitlines() == [
        "sh",
        *(f"/usr/bin/{tool}" for tool in ("bash", "git", "grep", "find", "sed", "awk")),
    ]


def test_the_operators_image_has_the_command() -> None:
    """All its verbs are told without what local systems need."""
    done = run_image("operator", "--help", options=("--entrypoint=watchbill",))

    assert done.returncode == 0
    assert {"verify", "repair", "events", "monitor", "adopt"} <= set(done.stdout.split())


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A log that was written well, as the user of the image finds it on its volume; without projections."""
    write_log(tmp_path, 3, closed=True)
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chown(path, UID, UID)
    tmp_path.chmod(0o755)
    return tmp_path


def run_watchbill(volume: Path, *verb: str) -> Any:
    """A verb of the command, as in the operator's pod."""
    mount = ("--entrypoint=watchbill", f"--volume={volume}:/log", "--env=WATCHBILL_ROOT=/log")
    return run_image("operator", *verb, options=mount)


def test_the_command_mends_a_mounted_volume(volume: Path) -> None:
    """verify finds what is missing, repair brings it back, verify is content."""
    first = run_watchbill(volume, "verify")
    repaired = run_watchbill(volume, "repair", "--yes")
    last = run_watchbill(volume, "verify")

    assert (first.returncode, repaired.returncode, last.returncode) == (1, 0, 0), last.stdout + last.stderr
    assert "3 faults" in first.stdout


def test_the_command_tells_the_events_of_a_mounted_volume(volume: Path) -> None:
    """All of them, in their order."""
    done = run_watchbill(volume, "events", "-o", "json")
    events = [json.loads(line) for line in done.stdout.splitlines()]

    assert [event["type"] for event in events] == list_types(volume)


def test_the_command_shows_a_mounted_volume(volume: Path) -> None:
    """Agents and tasks, of which there are none."""
    done = run_watchbill(volume, "monitor", "--once")

    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "seq 8; tasks: none; agents: none")
