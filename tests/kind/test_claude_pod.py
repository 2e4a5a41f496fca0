"""A session of the real Claude Code in a real pod, against the scripted model in another pod of the cluster."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.kind_system import KindSystem
from support.local_system import agent, task
from watchbill_local.model.building import PROGRAM, TEST

pytestmark = [pytest.mark.kind, pytest.mark.claude]

KEY = "dummy-key-of-a-pod-0001"
PORT = 8080
SERVE = f"""from aiohttp import web
from watchbill_local.model.server import build_app
web.run_app(build_app(), port={PORT})
"""
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}


def build_model() -> list[dict[str, Any]]:
    """The scripted model, which the operator's image has, a Service of its name, and the way to it."""
    meta = {"name": "model", "labels": {"app": "model"}}
    container = {
        "name": "model",
        "image": "watchbill/operator:dev",
        "command": ["python", "-c", SERVE],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1},
        "securityContext": RESTRICTED,
    }
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    ports = [{"port": 80, "targetPort": PORT}]
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": {"app": "model"}, "ports": ports},
        },
        *build_policies(),
    ]


def build_policies() -> list[dict[str, Any]]:
    """From agents to the model, beside the overlay's policies, which close that port where a network enforces them."""
    model, port = {"matchLabels": {"app": "model"}}, [{"port": PORT, "protocol": "TCP"}]
    agents = {"matchLabels": {"app.kubernetes.io/name": "watchbill-agent"}}
    specs = {
        "model": {"podSelector": model, "policyTypes": ["Ingress"], "ingress": [{"ports": port}]},
        "ask-model": {
            "podSelector": agents,
            "policyTypes": ["Egress"],
            "egress": [{"to": [{"podSelector": model}], "ports": port}],
        },
    }
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return [{**head, "metadata": {"name": name}, "spec": spec} for name, spec in specs.items()]


@pytest.fixture(scope="module")
def ended(system: KindSystem) -> Iterator[KindSystem]:
    """The session has ended: its model wrote a program with a mistake, saw its test fail, mended it and ran it."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "thinker-key"}}
    data = {"ANTHROPIC_API_KEY": base64.b64encode(KEY.encode()).decode()}
    system.kubectl("create", "-f", "-", stdin=json.dumps({**secret, "data": data}))
    runner = {"claude": {"credentialSecret": "thinker-key", "baseURL": "http://model"}}
    done = system.apply(*build_model(), agent("thinker", role="green", runner=runner))
    assert done.code == 0, done.err
    system.kubectl("wait", "--for=condition=Ready", "pod/model", "agent/thinker", "--timeout=120s")
    system.apply(task("build", agentRef="thinker", prompt="Write a program that counts the files of this folder."))
    status = system.wait_for_phase("build")
    assert status["phase"] == "Succeeded", status
    yield system
    system.kubectl("delete", "agent/thinker", "task/build", "pod/model", "service/model", "secret/thinker-key")
    system.kubectl("delete", "networkpolicy/model", "networkpolicy/ask-model")


def test_the_session_does_its_work_with_the_tools_of_the_pod(ended: KindSystem) -> None:
    """It wrote, ran and mended: what it made is its result."""
    uid = (ended.get("task", "build") or {})["metadata"]["uid"]
    result = ended.root / "shared-context" / "results" / uid

    assert ended.status("build")["result"].startswith(f"{PROGRAM} counts ")
    assert "failed once, was right, and is green now" in ended.status("build")["result"]
    assert {PROGRAM, TEST, "tally.txt"} <= {path.name for path in result.iterdir()}


def test_what_it_cost_is_told(ended: KindSystem) -> None:
    """The broker counted the tokens of each request."""
    usage = ended.status("build")["usage"]

    assert usage["inputTokens"] > 0
    assert usage["outputTokens"] > 0
    assert float(usage["costUSD"]) > 0


def test_its_transcript_is_there_without_the_key(ended: KindSystem) -> None:
    """Each use of a tool, and no credential."""
    done = ended.watchbill("transcript", "build", "-o", "json")

    assert done.code == 0, done.err
    assert "python3 -m unittest" in done.out
    assert KEY not in done.out
