"""A credential that a real pod's broker holds, and what its agent's container can see of it: nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.kind_system import KindSystem
from support.local_system import agent, task
from support.played_agent import PlayedAgent
from support.waiting import wait_for
from watchbill_coordination.core.messages import Assign

pytestmark = pytest.mark.kind

THIEF = (Path(__file__).resolve().parents[1] / "support" / "key_thief.py").read_text()
KEY = "sk-ant-" + "marked-0815"
POD = "guarded-0"
SLEEPING = {"spec": {"containers": [{"name": "agent", "command": ["sleep", "900"]}]}}
LISTEN = """import socket
for family, kind in ((socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_INET, socket.SOCK_RAW)):
    try:
        print(socket.socket(family, kind, 6))
    except PermissionError:
        print("refused")
"""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A pod with a broker; in its agent's container somebody sleeps, and this test plays the agent on the volume."""

    system: KindSystem
    order: Assign  #: the attempt that runs

    def run(self, *argv: str, container: str = "agent") -> str:
        """Run a program in one of its containers."""
        return self.system.kubectl("exec", POD, "-c", container, "--", *argv)

    def container(self, name: str) -> Mapping[str, Any]:
        """As the API server has it."""
        spec = (self.system.get("pod", POD) or {})["spec"]
        return next(each for each in spec["containers"] if each["name"] == name)


@pytest.fixture(scope="module")
def guarded(system: KindSystem) -> Iterator[Guarded]:
    """An attempt runs, so that the broker would answer for it."""
    data = {"ANTHROPIC_API_KEY": base64.b64encode(KEY.encode()).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "guarded-key"}, "data": data}
    system.kubectl("create", "-f", "-", stdin=json.dumps(secret))
    runner = {"claude": {"credentialSecret": "guarded-key", "baseURL": "http://127.0.0.1:9"}}
    system.apply(agent("guarded", runner=runner, podTemplate=SLEEPING), task("ask", agentRef="guarded", prompt="x"))
    wait_for(lambda: running(system) == {"agent", "broker"}, "both containers run")
    played = PlayedAgent(system.root, (system.get("pod", POD) or {})["metadata"]["uid"], POD)
    yield Guarded(system, played.take())
    system.kubectl("delete", "agent/guarded", "task/ask", "secret/guarded-key")


def running(system: KindSystem) -> set[str]:
    """The containers of the pod that run."""
    statuses = ((system.get("pod", POD) or {}).get("status") or {}).get("containerStatuses") or ()
    return {each["name"] for each in statuses if "running" in each["state"]}


def test_the_broker_has_the_key(guarded: Guarded) -> None:
    """Else the other tests would find nothing for a bad reason."""
    path = "/watchbill/credentials/ANTHROPIC_API_KEY"

    assert guarded.run("python", "-c", f"print(open({path!r}).read(), end='')", container="broker") == KEY


def test_a_thief_in_the_agents_container_finds_no_key_and_changes_nothing(guarded: Guarded) -> None:
    """Variables, files, processes, sockets, grants, ledger: it reads nothing of worth, and each change is refused."""
    report = json.loads(guarded.run("python", "-c", f"{THIEF}\nsteal(alone=True)\n"))

    assert report == {"read": [], "changed": []}


def test_the_two_containers_see_none_of_each_others_processes(guarded: Guarded) -> None:
    """They share a network and nothing else."""
    show = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"

    assert "watchbill_broker" not in guarded.run("sh", "-c", show)
    assert "watchbill_broker" in guarded.run("sh", "-c", show, container="broker")


def test_nobody_in_the_agents_container_can_listen_to_what_the_broker_sends(guarded: Guarded) -> None:
    """Raw sockets need a right that no container has."""
    assert guarded.run("python", "-c", LISTEN).split() == ["refused", "refused"]


def test_agent_and_broker_run_as_two_users(guarded: Guarded) -> None:
    """Neither is root."""
    users = {name: guarded.run("id", "-u", container=name).strip() for name in ("agent", "broker")}

    assert users["agent"] != users["broker"]
    assert "0" not in users.values()


def test_the_agents_container_sees_one_socket_for_the_attempt_that_runs(guarded: Guarded) -> None:
    """In a folder that it cannot write to; of the Secret, the grants and the ledger it has no mount."""
    mounts = {each["mountPath"]: each.get("readOnly", False) for each in guarded.container("agent")["volumeMounts"]}
    wait_for(lambda: guarded.run("ls", "/watchbill/broker").split(), "the broker listens")

    assert guarded.run("ls", "/watchbill/broker").split() == [f"{guarded.order.task}-1.sock"]
    assert mounts["/watchbill/broker"] is True
    assert {"/watchbill/credentials", "/watchbill/grants", "/watchbill/ledger"}.isdisjoint(mounts)
    assert KEY not in json.dumps(guarded.system.get("pod", POD))
