"""`watchbill doctor` on a system that runs."""

from __future__ import annotations

import json

from support.system import System, agent
from support.waiting import wait_for


def test_a_system_that_runs_is_well(system: System) -> None:
    """What this control plane does not serve is not checked, which is no problem."""
    system.kubectl("wait", "--for=condition=Ready", "agent/blue", "agent/green", "agent/red", "--timeout=90s")
    done = system.watchbill("doctor", "-o", "json")

    lines = json.loads(done.out)
    assert [line for line in lines if line["state"] == "problem"] == []
    assert done.code == 0, done.err
    assert {"api", "crds", "rights", "operator", "agents"} <= {line["check"] for line in lines}


def test_an_agent_that_is_not_ready_is_told_in_its_own_words(own_system: System) -> None:
    """And the exit code says that something is wrong."""
    own_system.apply(agent("nowhere", image="example.invalid/no/such:image"))
    words = "problem      agents: the Agent nowhere: 0 of 1 replicas are ready."
    done = wait_for(
        lambda: (said := own_system.watchbill("doctor")).code == 1 and words in said.out and said, "it is told"
    )

    assert "example.invalid/no/such:image" in done.out


def test_an_api_server_that_does_not_answer_is_named(own_system: System) -> None:
    """Nothing can be asked then: exit code 2, one sentence."""
    kubeconfig = own_system.kubeconfig.with_name("nobody")
    view = json.loads(own_system.kubectl("config", "view", "--raw", "-o", "json"))
    view["clusters"][0]["cluster"] = {"server": "https://127.0.0.1:1"}
    kubeconfig.write_text(json.dumps(view))
    done = own_system.run("env", f"KUBECONFIG={kubeconfig}", "watchbill", "doctor")

    assert done.code == 2
    assert "the API server https://127.0.0.1:1 does not answer" in done.err
    assert "Traceback" not in done.err
