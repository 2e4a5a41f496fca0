"""What a person does about a damaged log in a cluster: verify in the operator's pod, repair as the sample Job."""

from __future__ import annotations

import os
import signal

import pytest

from support.kind_system import DEPLOYMENT, MANIFESTS, OPERATOR, KindSystem
from support.system import args, task

pytestmark = pytest.mark.kind

TORN = b'{"v":1,"seq":99999,"torn'


def end_without_a_word(system: KindSystem) -> None:
    """The operator's pod goes, and its log is not sealed: it was stopped in its tracks."""
    os.kill(system._operator_pid(), signal.SIGSTOP)
    system.kubectl("scale", DEPLOYMENT, "--replicas=0")
    system.kubectl("delete", "pod", "-l", OPERATOR, "--grace-period=1", "--ignore-not-found")
    system.kubectl("wait", "--for=delete", "pod", "-l", OPERATOR, "--timeout=90s")


def test_verify_runs_in_the_operators_pod(own_system: KindSystem) -> None:
    """By kubectl alone; the volume need not be reachable from anywhere else."""
    done = own_system.try_kubectl("exec", DEPLOYMENT, "--", "watchbill", "verify")

    assert done.code == 0, done.err
    assert done.out.rstrip().endswith(": whole")


def test_repair_is_refused_while_an_operator_is_there(own_system: KindSystem) -> None:
    """The Job names its pod, and how to end it."""
    [pod] = [item["metadata"]["name"] for item in own_system.list("pods", "-l", OPERATOR)]

    done = own_system.watchbill("repair", "--yes")

    assert done.code == 2
    assert f"the operator's pod {pod} is there: `kubectl scale" in done.out


def test_the_sample_job_says_what_it_would_do_and_then_does_it(own_system: KindSystem) -> None:
    """For a log whose writer was killed in the middle of a record; then the operator goes on."""
    log = own_system.root / "orchestration" / "event-log.jsonl"
    end_without_a_word(own_system)
    with log.open("ab") as stream:
        stream.write(TORN)

    own_system.kubectl("apply", "-f", str(MANIFESTS / "samples" / "repair-job.yaml"))
    own_system.kubectl("wait", "--for=condition=Failed", "job/watchbill-repair", "--timeout=90s")
    planned = own_system.kubectl("logs", "job/watchbill-repair")
    unchanged = log.read_bytes()
    done = own_system.watchbill("repair", "--yes")

    assert "would Truncate" in planned
    assert unchanged.endswith(TORN)
    assert (done.code, "done Truncate" in done.out) == (0, True), done.out
    assert own_system.resume().code == 0
    own_system.apply(task("after", command=args("true"), agentRef="blue"))
    own_system.wait_for_phase("after", "Succeeded")
