"""The pod of an agent that runs Claude Code, on the process node: its broker works, and a hostile agent gets no key."""

from __future__ import annotations

import http.server
import json
import os
import signal
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support import key_thief
from support.node_lab import IMAGE, NodeLab, open_lab
from support.operator_cases import an_agent
from support.waiting import wait_for
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.storage.layout import GRANTS, Layout
from watchbill_operator.pod_settings import PodSettings
from watchbill_operator.pods import build_pod
from watchbill_operator.workspaces import make_workspace

KEY, NEW_KEY = "sk-ant-marked-0123456789", "sk-ant-marked-9876543210"
TASK = "0b1c2d3e-0000-4000-8000-00000000abcd"
ASK = f"""
import http.client, os, socket
os.chdir(os.environ['WATCHBILL_SOCKETS'])
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect('{TASK}-1.sock')
connection = Connection('broker.internal')
body = '{{"model": "claude-haiku-5-5", "max_tokens": 9, "messages": []}}'
fields = {{'x-api-key': 'watchbill-broker', 'content-type': 'application/json'}}
connection.request('POST', '/v1/messages', body, fields)
answer = connection.getresponse()
print('answered', answer.status, answer.read().decode()[:80])
"""
ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-5-5",
    "content": [],
    "usage": {"input_tokens": 3, "output_tokens": 1},
}


class Upstream(http.server.BaseHTTPRequestHandler):
    """A model's API that remembers which keys it was shown."""

    keys: list[str] = []  # noqa: RUF012 - each server has a subclass of its own

    def do_POST(self) -> None:
        """Answer with a small message."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.keys.append(self.headers.get("x-api-key", ""))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def an_upstream() -> Iterator[tuple[str, list[str]]]:
    """A model's API on loopback: its address, and the keys that it was shown."""
    handler = type("Remembering", (Upstream,), {"keys": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.keys  # type: ignore[attr-defined]  # set above
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module", params=["namespaces", "user-namespaces", "processes"])
def crew(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeLab]:
    """A node of each level that works here, with the coordination volume of one replica."""
    if os.getuid() != 0 and request.param == "namespaces":
        pytest.skip("mount namespaces without a user namespace need root")
    home = tmp_path_factory.mktemp("a lab")
    make_workspace(Layout(home / "volume"), ReplicaName("green-0"))
    try:
        with open_lab(
            home, "--isolation", request.param, "--volume", f"watchbill-coordination={home / 'volume'}"
        ) as lab:
            spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
            lab.create("persistentvolumeclaims", {"metadata": {"name": "watchbill-coordination"}, "spec": spec})
            yield lab
    except AssertionError as error:
        if "does not work on this machine" in str(error):
            pytest.skip(str(error)[-300:])
        raise


def start_pod(lab: NodeLab, upstream: str, script: str) -> str:
    """Create the pod that the operator would make, but that its agent is this script; returns its name."""
    agent = an_agent("green", role="green", runner={"claude": {"baseURL": upstream}})
    item = build_pod(agent, 0, PodSettings(namespace="default", image=IMAGE))
    del item["metadata"]["ownerReferences"]  # there is no such Agent here
    item["spec"]["terminationGracePeriodSeconds"] = 2
    item["spec"]["containers"][0]["command"] = ["python", "-u", "-c", script]
    lab.create("pods", item)
    return str(item["metadata"]["name"])


def write_key(lab: NodeLab, key: str) -> None:
    """Create the Secret, or replace it."""
    item = {"metadata": {"name": "watchbill-credentials"}, "stringData": {"ANTHROPIC_API_KEY": key}}
    body = {"apiVersion": "v1", "kind": "Secret", **item}
    code, answer = lab.request("PUT", "/api/v1/namespaces/default/secrets/watchbill-credentials", body)
    if code == 404:
        code, answer = lab.request("POST", "/api/v1/namespaces/default/secrets", body)
    assert code in (200, 201), answer


def grant(lab: NodeLab) -> None:
    """Let attempt 1 use the model, as the operator does."""
    folder = lab.home / "volume/agent-workspaces/green-0/grants"
    document = {"v": 1, "attempts": [{"task": TASK, "attempt": 1, "budgetUSD": None}]}
    (folder / "fresh").write_text(json.dumps(document))
    (folder / "fresh").rename(folder / GRANTS)


def sockets_of(lab: NodeLab) -> list[str]:
    """The sockets that the pod's broker serves."""
    return [path.name for path in lab.data.glob("pods/*/volumes/broker/*.sock")]


@contextmanager
def a_running_pod(lab: NodeLab, upstream: str, script: str) -> Iterator[str]:
    """The pod, once its broker serves attempt 1; it is gone afterwards."""
    write_key(lab, KEY)
    grant(lab)
    name = start_pod(lab, upstream, script)
    try:
        lab.wait_phase(name, "Running")
        wait_for(lambda: sockets_of(lab), "the broker serves the attempt")
        yield name
    finally:
        lab.delete(name)
        lab.wait_gone(name)


def wait_said(lab: NodeLab, name: str, words: str, times: int = 1) -> str:
    """What the agent said, once it said these words so often."""
    wait_for(lambda: lab.log(name, container="agent").count(words) >= times, f"the agent says {words!r}")
    return lab.log(name, container="agent")


REPEAT = f"""
import os, time
while True:
    os.spawnvp(os.P_WAIT, 'python', ['python', '-c', {ASK!r}])
    time.sleep(0.2)
"""
THIEF = Path(key_thief.__file__).read_text() + "\n\nimport time\nsteal(alone={})\ntime.sleep(600)\n"


def test_a_hostile_agent_gets_no_key_and_changes_nothing(crew: NodeLab) -> None:
    """By environment, processes, files, mounts, sockets or another user: not where containers are apart."""
    alone = crew.arguments[1] != "processes"
    thief = THIEF.replace("alone={}", f"alone={alone}")
    with an_upstream() as (address, _), a_running_pod(crew, address, thief) as name:
        report = json.loads(wait_said(crew, name, '"changed"'))

    if alone:
        assert report == {"read": [], "changed": []}
    else:  # as the docs say: one user, and no mounts of its own
        assert "file ANTHROPIC_API_KEY" in report["read"]


@pytest.fixture(scope="module")
def talking(crew: NodeLab) -> Iterator[tuple[str, list[str]]]:
    """A pod whose agent asks its model again and again: its name, and the keys that the model was shown."""
    with an_upstream() as (address, keys), a_running_pod(crew, address, REPEAT) as name:
        wait_said(crew, name, "answered 200")
        yield name, keys


def test_the_broker_shows_the_key_to_the_model_alone(crew: NodeLab, talking: tuple[str, list[str]]) -> None:
    """The agent asks without one; its answer comes back."""
    name, keys = talking

    assert keys[0] == KEY
    assert [KEY in crew.log(name, container=container) for container in ("agent", "broker")] == [False, False]


def test_the_key_is_nowhere_on_the_volume(crew: NodeLab, talking: tuple[str, list[str]]) -> None:
    """Neither in the ledger nor in anything else that the pod wrote there."""
    written = {path: path.read_bytes() for path in (crew.home / "volume").rglob("*") if path.is_file()}

    assert talking[1]
    assert f"{TASK}-1.json" in [path.name for path in written if path.parent.name == "ledger"]
    assert [path for path, data in written.items() if KEY.encode() in data or b64encode(KEY.encode()) in data] == []


def test_a_broker_that_is_killed_serves_again(crew: NodeLab, talking: tuple[str, list[str]]) -> None:
    """The node starts it again, alone; the grants and the ledger go on."""
    name, keys = talking
    before = restarts_of(crew, name)

    os.kill(find_broker(crew), signal.SIGKILL)

    wait_for(lambda: restarts_of(crew, name)["broker"] > before["broker"], "the broker is started again")
    seen = len(keys)
    wait_for(lambda: len(keys) > seen, "the model is asked again")
    assert restarts_of(crew, name) == {"agent": before["agent"], "broker": before["broker"] + 1}


def restarts_of(lab: NodeLab, name: str) -> dict[str, int]:
    """How often each container was started again."""
    return {each["name"]: each["restartCount"] for each in lab.get(name)["status"]["containerStatuses"]}


def find_broker(lab: NodeLab) -> int:
    """The pid of the one broker that this node runs."""
    assert lab.node
    [pid] = [pid for pid in descendants(lab.node.pid) if b"watchbill_broker" in read_command(pid)]
    return pid


def descendants(pid: int) -> Iterator[int]:
    """Every process below this one."""
    with suppress(OSError):
        for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
            yield child
            yield from descendants(child)


def read_command(pid: int) -> bytes:
    """A process's words; none where it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def test_a_key_that_is_replaced_is_used_without_a_restart(crew: NodeLab, talking: tuple[str, list[str]]) -> None:
    """`kubectl replace` of the Secret is enough."""
    name, keys = talking
    before = restarts_of(crew, name)

    write_key(crew, NEW_KEY)
    wait_for(lambda: keys[-1] == NEW_KEY, "the broker uses the new key")

    assert restarts_of(crew, name) == before
