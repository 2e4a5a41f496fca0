"""The node itself: what it says of itself, what survives its end, whom it binds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.node_lab import NodeLab, ended, open_lab, processes_marked, state
from support.waiting import wait_for


@pytest.fixture
def own(tmp_path: Path) -> Iterator[NodeLab]:
    """A lab that the test may break."""
    with open_lab(tmp_path, "--isolation", "processes") as lab:
        yield lab


def test_the_node_says_what_it_is(lab: NodeLab) -> None:
    """Runtime, isolation level and what plain processes mean are in the Node's status."""
    node = lab.request("GET", "/api/v1/nodes/watchbill-local")[1]
    conditions = {c["type"]: c for c in node["status"]["conditions"]}
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"] == "process://0.1"
    assert conditions["Ready"]["status"] == "True"
    assert conditions["PodsIsolated"]["status"] == "False"
    assert "not isolated from each other" in conditions["PodsIsolated"]["message"]


def test_the_node_keeps_a_lease(lab: NodeLab) -> None:
    """The lease in kube-node-lease names the node as holder."""
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/watchbill-local"
    wait_for(lambda: lab.request("GET", path)[0] == 200, "the lease is there")
    assert lab.request("GET", path)[1]["spec"]["holderIdentity"] == "watchbill-local"


def test_a_pod_that_selects_another_node_stays_pending(lab: NodeLab) -> None:
    """The pod's condition says that no node matches."""
    name = lab.run("true", nodeSelector={"kubernetes.io/hostname": "elsewhere"})
    item = lab.wait_until(name, lambda item: "Unschedulable" in str(item["status"]), "unschedulable")
    assert item["status"]["phase"] == "Pending"
    lab.delete(name)
    lab.wait_gone(name)


def test_after_kill_9_nothing_runs_and_the_pod_comes_again(own: NodeLab) -> None:
    """The containers die with the node; the next node starts them once, one restart later."""
    mark = f"6{uuid.uuid4().int % 10**8}"
    name = own.run("sh", "-c", f"sleep {mark}; true")
    own.wait_ready(name)
    own.stop_node(signal.SIGKILL)
    wait_for(lambda: not processes_marked(f"sleep {mark}"), "the container is dead", seconds=10)
    own.start_node()
    own.wait_until(name, lambda item: item["status"]["containerStatuses"][0]["restartCount"] == 1, "restarted")
    wait_for(lambda: len(processes_marked(f"sleep {mark}")) == 2, "it runs once: shell and sleep")
    assert own.get(name)["status"]["phase"] == "Running"


def test_after_kill_9_of_everything_the_next_node_cleans_up(own: NodeLab) -> None:
    """Node, launcher and init killed at once: what is left is killed before anything starts anew."""
    mark = f"5{uuid.uuid4().int % 10**8}"
    name = own.run("sh", "-c", f"nohup setsid sh -c 'sleep {mark}' & sleep {mark}")
    wait_for(lambda: len(processes_marked(f"sleep {mark}")) >= 3, "all run")
    before = set(processes_marked(f"sleep {mark}"))
    assert own.node
    own.node.send_signal(signal.SIGSTOP)
    for pid in processes_marked("serve_launches"):
        if _parent(pid) == own.node.pid or _parent(_parent(pid)) == own.node.pid:
            os.kill(pid, signal.SIGKILL)
    own.stop_node(signal.SIGKILL)
    own.start_node()
    own.wait_until(name, lambda item: item["status"]["containerStatuses"][0]["restartCount"] == 1, "restarted")
    assert not before & set(processes_marked(f"sleep {mark}"))


def test_a_pod_that_never_restarts_is_failed_by_a_node_crash(own: NodeLab) -> None:
    """restartPolicy Never: the container was lost, so it is not run a second time."""
    name = own.run("sleep", "900", restartPolicy="Never")
    own.wait_ready(name)
    own.stop_node(signal.SIGKILL)
    own.start_node()
    item = own.wait_phase(name, "Failed")
    assert ended(item)["exitCode"] == 255


def test_sigterm_stops_the_containers_and_they_come_again(own: NodeLab) -> None:
    """The Pod object stays, its container waits for the node, and starts with it."""
    mark = f"4{uuid.uuid4().int % 10**8}"
    name = own.run("sleep", mark)
    own.wait_ready(name)
    assert own.stop_node() == 0
    assert not processes_marked(f"sleep {mark}")
    assert state(own.get(name))["waiting"]["reason"] == "NodeShutdown"
    own.start_node()
    item = own.wait_ready(name)
    assert item["status"]["containerStatuses"][0]["restartCount"] == 1


def test_a_second_node_on_the_same_data_is_refused(lab: NodeLab) -> None:
    """It says so in one sentence and leaves the first alone."""
    words = [sys.executable, "-m", "watchbill_local.node", "--kubeconfig", str(lab.kubeconfig), "--data", str(lab.data)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "another node runs with --data" in done.stderr
    assert not lab.node_ended()


def test_the_node_outlives_its_api_server(own: NodeLab) -> None:
    """While the server is away containers go on; when it is back new pods run."""
    mark = f"3{uuid.uuid4().int % 10**8}"
    own.wait_ready(own.run("sleep", mark))
    assert own.server
    own.server.kill()
    own.server.wait()
    own.start_server()
    assert processes_marked(f"sleep {mark}")
    own.wait_phase(own.run("true", restartPolicy="Never"), "Succeeded", seconds=30)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_a_stopped_node_leaves_no_links_in_the_temporary_directory(tmp_path: Path) -> None:
    """Plain names for paths with spaces exist while the node runs, and go with it."""
    home = tmp_path / "with space"
    home.mkdir()
    with open_lab(home, "--isolation", "processes") as lab:
        mounts = [{"name": "v", "mountPath": "/v"}]
        volumes = [{"name": "v", "emptyDir": {}}]
        said = lab.output("sh", "-c", "echo /v", container={"volumeMounts": mounts}, volumes=volumes).strip()
        link = next(folder for folder in Path(said).parents if folder.is_symlink())
        assert link.resolve() == (lab.data).resolve()
    assert not os.path.lexists(link)
