"""Probes decide readiness and restarts; logs are served as `kubectl logs` asks for them."""

from __future__ import annotations

import threading
import uuid

import requests

from support.node_lab import NodeLab, condition, processes_marked
from support.waiting import wait_for

SERVE = "python -m http.server 8123 --bind 0.0.0.0 --directory /v"
MOUNT = [{"name": "v", "mountPath": "/v"}]
EMPTY = [{"name": "v", "emptyDir": {}}]


def test_readiness_by_exec_follows_a_file(lab: NodeLab) -> None:
    """Not ready without the file, ready soon after it appears, and not ready again when it goes."""
    probe = {"exec": {"command": ["test", "-e", "/v/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    container = {"readinessProbe": probe, "volumeMounts": MOUNT}
    script = "sleep 0.3; touch /v/ready; sleep 2; rm /v/ready; sleep 900"
    name = lab.run("sh", "-c", script, container=container, volumes=EMPTY)
    lab.wait_until(name, lambda item: item["status"].get("phase") == "Running", "running")
    assert condition(lab.get(name), "Ready") == "False"
    lab.wait_ready(name)
    lab.wait_until(name, lambda item: condition(item, "Ready") == "False", "not ready any more")
    lab.delete(name)


def test_readiness_by_http_asks_the_pods_own_address(lab: NodeLab) -> None:
    """Two pods listen on one port number at their own addresses; both become ready."""
    probe = {"httpGet": {"port": 8123, "path": "/"}, "periodSeconds": 1}
    serve = "exec python -m http.server 8123 --bind $IP"
    address = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    names = [lab.run("sh", "-c", serve, container={"readinessProbe": probe, "env": [address]}) for _ in range(2)]
    addresses = {lab.wait_ready(name)["status"]["podIP"] for name in names}
    assert len(addresses) == 2
    for name in names:
        lab.delete(name)


def test_a_failed_liveness_probe_restarts_the_container(lab: NodeLab) -> None:
    """The container is stopped and started again, and an Event says why."""
    probe = {"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 1}
    name = lab.run("sleep", "900", container={"livenessProbe": probe}, terminationGracePeriodSeconds=1)
    lab.wait_until(
        name,
        lambda item: item["status"].get("containerStatuses") and item["status"]["containerStatuses"][0]["restartCount"],
        "restarted",
    )
    assert wait_for(
        lambda: "failed liveness probe" in str(lab.request("GET", "/api/v1/events")[1]), "the Event is there"
    )
    lab.delete(name)


def test_a_startup_probe_holds_back_the_others(lab: NodeLab) -> None:
    """Before the startup probe has succeeded the container is not ready, though its readiness probe would say so."""
    container = {
        "startupProbe": {"exec": {"command": ["test", "-e", "/v/up"]}, "periodSeconds": 1, "failureThreshold": 30},
        "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
        "volumeMounts": MOUNT,
    }
    name = lab.run("sh", "-c", "sleep 1.5; touch /v/up; sleep 900", container=container, volumes=EMPTY)
    lab.wait_until(name, lambda item: item["status"].get("phase") == "Running", "running")
    assert condition(lab.get(name), "Ready") == "False"
    lab.wait_ready(name)
    lab.delete(name)


def test_a_hanging_probe_is_a_failure_and_is_killed(lab: NodeLab) -> None:
    """A probe that exceeds its timeout counts as failed, and its program does not pile up."""
    mark = f"2{uuid.uuid4().int % 10**8}"
    probe = {"exec": {"command": ["sleep", mark]}, "periodSeconds": 1, "timeoutSeconds": 1}
    name = lab.run("sleep", "900", container={"readinessProbe": probe})
    wait_for(lambda: processes_marked(f"sleep {mark}"), "the probe runs")
    first = processes_marked(f"sleep {mark}")
    wait_for(lambda: not set(first) & set(processes_marked(f"sleep {mark}")), "the first probe is killed")
    assert condition(lab.get(name), "Ready") == "False"
    lab.delete(name)


def test_logs_obey_tail_and_timestamps(lab: NodeLab) -> None:
    """tailLines gives the last lines, timestamps puts the time before each."""
    name = lab.run("sh", "-c", "for n in 1 2 3 4; do echo line $n; done", restartPolicy="Never")
    lab.wait_phase(name, "Succeeded")
    assert lab.log(name, tailLines="2") == "line 3\nline 4\n"
    stamped = lab.log(name, tailLines="1", timestamps="true")
    assert stamped.endswith("Z line 4\n")
    assert stamped.startswith("20")


def test_previous_shows_the_run_before(lab: NodeLab) -> None:
    """--previous reads what the container wrote before its restart."""
    container = {"volumeMounts": MOUNT}
    script = "echo $(cat /v/n 2>/dev/null)run; test -e /v/n && sleep 900; echo second > /v/n; exit 1"
    name = lab.run("sh", "-c", script, container=container, volumes=EMPTY)
    wait_for(lambda: _count(lab, name) == 1 and lab.log(name) == "secondrun\n", "it runs again")
    assert lab.log(name, previous="true") == "run\n"
    lab.delete(name)


def test_follow_streams_until_the_container_ends(lab: NodeLab) -> None:
    """A followed log delivers lines as they come and ends with the container."""
    name = lab.run("sh", "-c", "echo one; sleep 1; echo two", restartPolicy="Never")
    lab.wait_until(name, lambda item: item["status"].get("phase") == "Running", "running")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(lab.log(name, follow="true")))
    reader.start()
    reader.join(timeout=20)
    assert got == ["one\ntwo\n"]


def test_the_logs_of_a_finished_pod_stay(lab: NodeLab) -> None:
    """A pod that has ended keeps its log until it is deleted; then its directory goes."""
    name = lab.run("echo", "kept", restartPolicy="Never")
    item = lab.wait_phase(name, "Succeeded")
    assert lab.log(name) == "kept\n"
    folder = lab.data / "pods" / item["metadata"]["uid"]
    assert folder.exists()
    lab.delete(name)
    wait_for(lambda: not folder.exists(), "its directory is gone")


def test_the_nodes_port_refuses_browsers(lab: NodeLab) -> None:
    """A foreign Host header or any Origin is refused with 403."""
    node = lab.request("GET", "/api/v1/nodes/watchbill-local")[1]
    url = f"https://127.0.0.1:{node['status']['daemonEndpoints']['kubeletEndpoint']['Port']}/containerLogs/a/b/c"
    trusted = str(lab.data / "certificate.pem")
    assert requests.get(url, timeout=5, verify=trusted).status_code == 404
    assert requests.get(url, headers={"Host": "evil.example"}, timeout=5, verify=trusted).status_code == 403
    assert requests.get(url, headers={"Origin": "http://127.0.0.1"}, timeout=5, verify=trusted).status_code == 403


def _count(lab: NodeLab, name: str) -> int:
    statuses = lab.get(name)["status"].get("containerStatuses")
    return int(statuses[0]["restartCount"]) if statuses and "running" in statuses[0]["state"] else -1
