"""A pod of two containers: what they share, what they do not, and Secrets that change while they run."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import Any

import pytest

from support.node_lab import IMAGE, NodeLab, open_lab, pod
from support.waiting import wait_for

LEVELS = ["namespaces", "user-namespaces", "processes"]
SOCKETS = {"name": "sockets", "mountPath": "/run/sockets"}
SERVE = """
import os, socket
os.chdir('/run/sockets')
with socket.socket(socket.AF_UNIX) as server:
    server.bind('s'); os.chmod('s', 0o666); server.listen()
    while True:
        with server.accept()[0] as client:
            client.sendall(b'from %d' % os.getuid())
"""
ASK = """
import os, signal, socket, time
os.chdir('/run/sockets')
deadline = time.monotonic() + 90
while time.monotonic() < deadline:
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect('s'); print(client.recv(100).decode()); break
    except OSError:
        time.sleep(0.05)
try:
    open('planted', 'w').close(); print('planted')
except OSError as error:
    print(error.strerror)
print('asked')
signal.pause()
"""


@pytest.fixture(scope="module", params=LEVELS)
def each_level(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeLab]:
    """A node of each level that works here."""
    if os.getuid() != 0 and request.param == "namespaces":
        pytest.skip("mount namespaces without a user namespace need root")
    try:
        with open_lab(tmp_path_factory.mktemp("a lab"), "--isolation", request.param) as lab:
            yield lab
    except AssertionError as error:
        if "does not work on this machine" in str(error):
            pytest.skip(str(error)[-300:])
        raise


def level_of(lab: NodeLab) -> str:
    """The level that it was started with."""
    return lab.arguments[1]


def is_apart(lab: NodeLab) -> bool:
    """Whether containers have mounts of their own there."""
    return level_of(lab) != "processes"


def a_container(name: str, script: str, *mounts: dict[str, Any], uid: int) -> dict[str, Any]:
    """A restricted container that runs a Python script as that user."""
    context = {"runAsNonRoot": True, "runAsUser": uid, "runAsGroup": uid, "capabilities": {"drop": ["ALL"]}}
    command = ["python", "-u", "-c", script]
    return {
        "name": name,
        "image": IMAGE,
        "command": command,
        "volumeMounts": [*mounts],
        "securityContext": {**context, "readOnlyRootFilesystem": True},
    }


def run_pod(lab: NodeLab, *containers: dict[str, Any], volumes: list[dict[str, Any]]) -> str:
    """Create a pod of these containers; returns its name."""
    item: dict[str, Any] = pod(containers=[*containers], volumes=volumes, terminationGracePeriodSeconds=1)
    lab.create("pods", item)
    return str(item["metadata"]["name"])


def wait_log(lab: NodeLab, name: str, words: str, container: str) -> str:
    """What a container said, once it said these words."""
    lab.wait_until(name, lambda item: item["status"].get("phase") == "Running", "running")
    wait_for(lambda: words in lab.log(name, container=container), f"{container} of {name} says {words!r}")
    return lab.log(name, container=container)


def write_secret(lab: NodeLab, name: str, **data: str) -> None:
    """Create or replace a Secret, as `kubectl create` and `kubectl replace` do."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    item = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}
    code, answer = lab.request("PUT", f"/api/v1/namespaces/default/secrets/{name}", item)
    if code == 404:
        code, answer = lab.request("POST", "/api/v1/namespaces/default/secrets", item)
    assert code in (200, 201), answer


def test_containers_meet_at_a_socket_that_one_of_them_cannot_change(each_level: NodeLab) -> None:
    """One binds it in a shared emptyDir, the other connects through a read-only mount; each has a user of its own."""
    name = run_pod(
        each_level,
        a_container("main", ASK, {**SOCKETS, "readOnly": True}, uid=10_001),
        a_container("beside", SERVE, SOCKETS, uid=10_002),
        volumes=[{"name": "sockets", "emptyDir": {}}],
    )

    said = wait_log(each_level, name, "asked", "main").split("\n")

    apart = ["from 10002", "Read-only file system", "asked"]
    assert said[:3] == (apart if is_apart(each_level) else [f"from {os.getuid()}", "planted", "asked"])


def test_a_container_sees_neither_processes_nor_mounts_of_the_other(each_level: NodeLab) -> None:
    """/proc holds its own few, and the other's volume is nowhere."""
    if not is_apart(each_level):
        pytest.skip("plain processes are not apart")
    look = """
import os, signal
pids = [pid for pid in os.listdir('/proc') if pid.isdigit()]
print(any(b'MARKED' in open(f'/proc/{pid}/cmdline', 'rb').read() for pid in pids if pid != str(os.getpid())))
print(os.path.exists('/run/hidden'), 'hidden' in open('/proc/self/mountinfo').read(), 'looked')
signal.pause()
"""
    hold = "# MARKED\nimport signal; open('/run/hidden/here', 'w').close(); print('there'); signal.pause()"
    name = run_pod(
        each_level,
        a_container("main", look, uid=10_001),
        a_container("beside", hold, {"name": "hidden", "mountPath": "/run/hidden"}, uid=10_002),
        volumes=[{"name": "hidden", "emptyDir": {}}],
    )

    wait_log(each_level, name, "there", "beside")

    assert wait_log(each_level, name, "looked", "main") == "False\nFalse False looked\n"


FOLLOW = """
import os, time
os.chdir('/run/keys')
before = None
while True:
    now = {name: open(name).read() for name in sorted(os.listdir('.')) if not name.startswith('.')}
    if now != before:
        print(now)
    before = now
    time.sleep(0.02)
"""


def test_a_secret_that_changes_reaches_a_running_container(each_level: NodeLab) -> None:
    """Absent at first since it is optional, then created, then replaced."""
    if not is_apart(each_level):
        pytest.skip("plain processes read the very directory, and need no mount to follow it")
    name = run_pod(
        each_level,
        a_container("main", FOLLOW, {"name": "keys", "mountPath": "/run/keys"}, uid=10_001),
        volumes=[{"name": "keys", "secret": {"secretName": "rotating", "optional": True, "defaultMode": 0o444}}],
    )
    wait_log(each_level, name, "{}\n", "main")

    write_secret(each_level, "rotating", user="first", word="first")
    wait_log(each_level, name, "{'user': 'first', 'word': 'first'}\n", "main")
    write_secret(each_level, "rotating", word="second")

    assert wait_log(each_level, name, "second", "main").endswith("{'word': 'second'}\n")


def test_a_secrets_files_cannot_be_changed_from_inside(each_level: NodeLab) -> None:
    """Its mount is read-only though nobody asked for that, as the kubelet has it."""
    if not is_apart(each_level):
        pytest.skip("plain processes have no mounts")
    write_secret(each_level, "fixed", key="k")
    script = """
import os, signal
for path, flags in (('/run/keys/key', os.O_WRONLY), ('/run/keys/new', os.O_CREAT | os.O_WRONLY)):
    try:
        os.open(path, flags)
    except OSError as error:
        print(error.strerror)
print('tried')
signal.pause()
"""
    name = run_pod(
        each_level,
        a_container("main", script, {"name": "keys", "mountPath": "/run/keys"}, uid=10_001),
        volumes=[{"name": "keys", "secret": {"secretName": "fixed", "defaultMode": 0o666}}],
    )

    assert wait_log(each_level, name, "tried", "main") == "Read-only file system\n" * 2 + "tried\n"
