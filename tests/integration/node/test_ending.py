"""Pods end: grace, kill, nothing outlives a container, restarts, deletion."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path

from support.node_lab import NodeLab, ended, pod, processes_marked, state
from support.waiting import wait_for

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(900)"
)


def test_sigterm_lets_a_program_end_well(lab: NodeLab) -> None:
    """Deletion sends SIGTERM first, and what the program writes then is in its log until the pod is gone."""
    script = (
        "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(0))\nprint('up', flush=True)\ntime.sleep(900)"
    )
    name = lab.run("python", "-c", script, terminationGracePeriodSeconds=30)
    wait_for(lambda: state_of(lab, name) == "running" and "up" in lab.log(name), "the handler is set")
    before = time.monotonic()
    lab.delete(name)
    lab.wait_gone(name)
    assert time.monotonic() - before < 10


def test_sigkill_follows_after_the_grace_period(lab: NodeLab) -> None:
    """A program that ignores SIGTERM is killed when its grace period is over, not before."""
    name = lab.run("python", "-c", STUBBORN, terminationGracePeriodSeconds=1)
    wait_for(lambda: state_of(lab, name) == "running" and "up" in lab.log(name), "it ignores SIGTERM")
    before = time.monotonic()
    lab.delete(name)
    lab.wait_gone(name)
    assert 0.9 <= time.monotonic() - before < 10


def test_a_second_deletion_may_shorten_the_grace_period(lab: NodeLab) -> None:
    """A later delete with a shorter grace period counts."""
    name = lab.run("python", "-c", STUBBORN, terminationGracePeriodSeconds=60)
    wait_for(lambda: state_of(lab, name) == "running" and "up" in lab.log(name), "it ignores SIGTERM")
    lab.delete(name)
    lab.wait_until(name, lambda item: item["metadata"].get("deletionTimestamp"), "being deleted")
    lab.delete(name, gracePeriodSeconds=1)
    lab.wait_gone(name, seconds=15)
    assert lab.find(name) is None


def test_nothing_outlives_a_container(lab: NodeLab) -> None:
    """A daemon with a session of its own and an empty environment ends with the container that started it."""
    mark = f"9{uuid.uuid4().int % 10**8}"
    script = f"setsid env -i sleep {mark} & sleep 0.2; echo started"
    lab.wait_phase(lab.run("sh", "-c", script, restartPolicy="Never"), "Succeeded")
    assert processes_marked(f"sleep {mark}") == []


def test_a_pod_object_goes_only_after_its_processes(lab: NodeLab) -> None:
    """When the API no longer has the pod, none of its processes is left."""
    mark = f"8{uuid.uuid4().int % 10**8}"
    name = lab.run("sh", "-c", f"sleep {mark} & sleep {mark}")
    wait_for(lambda: len(processes_marked(f"sleep {mark}")) > 1, "both run")
    lab.delete(name)
    lab.wait_gone(name)
    assert processes_marked(f"sleep {mark}") == []


def test_a_forced_deletion_kills_at_once(lab: NodeLab) -> None:
    """With grace period 0 the object goes at once and the processes follow without waiting."""
    mark = f"7{uuid.uuid4().int % 10**8}"
    name = lab.run("sh", "-c", f"trap '' TERM; while :; do sleep {mark}; done", terminationGracePeriodSeconds=60)
    wait_for(lambda: processes_marked(f"sleep {mark}"), "it runs")
    lab.delete(name, gracePeriodSeconds=0)
    wait_for(lambda: not processes_marked(f"sleep {mark}"), "its processes are gone", seconds=10)
    assert lab.find(name) is None


def test_a_pod_of_the_same_name_runs_after_a_deletion(lab: NodeLab) -> None:
    """Deleted and created again under one name: the second is another pod and runs."""
    first = lab.get(lab.run("sleep", "900", name="twin"))
    lab.delete("twin", gracePeriodSeconds=0)
    wait_for(lambda: lab.find("twin") is None, "the first is gone")
    lab.run("sh", "-c", "echo second; sleep 900", name="twin")
    second = lab.wait_ready("twin")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    wait_for(lambda: lab.log("twin") == "second\n", "the log is the second's")
    lab.delete("twin")


def test_a_failing_container_backs_off_and_counts(lab: NodeLab) -> None:
    """restartPolicy Always: the count rises, CrashLoopBackOff shows between starts, lastState says how it ended."""
    name = lab.run("sh", "-c", "echo run; exit 7")
    item = lab.wait_until(
        name,
        lambda item: (
            item["status"].get("containerStatuses")
            and "CrashLoopBackOff" in str(state(item))
            and item["status"]["containerStatuses"][0]["restartCount"] >= 2
        ),
        "in a crash loop",
    )
    assert item["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 7
    assert item["status"]["phase"] == "Running"
    lab.delete(name)


def test_on_failure_restarts_until_it_ends_well(lab: NodeLab) -> None:
    """restartPolicy OnFailure: a failed start is repeated, a good one ends the pod."""
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    name = lab.run(
        "sh", "-c", "test -e /v/x || { touch /v/x; exit 1; }", restartPolicy="OnFailure", container=mount,
        volumes=[{"name": "v", "emptyDir": {}}],
    )  # fmt: skip
    item = lab.wait_phase(name, "Succeeded")
    assert item["status"]["containerStatuses"][0]["restartCount"] == 1


def test_two_containers_of_a_pod_end_together(lab: NodeLab) -> None:
    """A pod with two containers is Succeeded when both have ended well."""
    item = pod("true")
    item["spec"]["restartPolicy"] = "Never"
    item["spec"]["containers"].append({"name": "other", "image": "watchbill", "command": ["sh", "-c", "echo two"]})
    lab.create("pods", item)
    done = lab.wait_phase(item["metadata"]["name"], "Succeeded")
    assert ended(done)["exitCode"] == 0
    assert lab.log(item["metadata"]["name"], container="other") == "two\n"


def state_of(lab: NodeLab, name: str) -> str:
    item = lab.find(name)
    return next(iter(state(item)), "") if item and item["status"].get("containerStatuses") else ""


def test_a_killed_init_leaves_nothing_behind(lab: NodeLab) -> None:
    """Its container's processes die with it, daemons too, and the container runs again once."""
    mark = f"1{uuid.uuid4().int % 10**8}"
    name = lab.run("sh", "-c", f"setsid sleep {mark} & exec sleep {mark}")
    wait_for(lambda: len(processes_marked(f"sleep {mark}")) == 2, "both run")
    before = processes_marked(f"sleep {mark}")
    os.kill(parent_of(sleeping_in_foreground(before)), signal.SIGKILL)
    lab.wait_until(name, lambda item: item["status"]["containerStatuses"][0]["restartCount"] == 1, "restarted")
    wait_for(lambda: len(processes_marked(f"sleep {mark}")) == 2, "it runs again")
    assert not set(before) & set(processes_marked(f"sleep {mark}"))
    lab.delete(name)


def sleeping_in_foreground(pids: list[int]) -> int:
    """The one whose parent is the container's init, a Python."""
    return next(pid for pid in pids if b"serve_launches" in Path(f"/proc/{parent_of(pid)}/cmdline").read_bytes())


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
