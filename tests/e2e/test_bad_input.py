"""Each wrong input ends in a refusal at apply, or in a condition with a reason and a sentence; others go on."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.system import System, agent, args, command_lines, shell, task
from support.waiting import wait_for

Name = Callable[[str], str]
NO_RETRY = {"maxRetries": 0}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"command": {"args": ["true"]}, "comand": 1}, 'unknown field "spec.comand"'),
        ({"command": {"args": ["true"]}, "priority": "high"}, "spec.priority"),
        ({}, "give a prompt or a command"),
        ({"command": {"args": ["true"]}, "timeoutSeconds": -1}, "spec.timeoutSeconds"),
        ({"command": {"args": ["true"]}, "priority": 5000}, "less than or equal to 1000"),
        ({"prompt": ""}, "spec.prompt"),
        ({"prompt": "x" * 200_001}, "200000"),
        ({"command": {"args": ["a"], "shell": "b"}}, "not both"),
        ({"command": {"args": ["true"]}, "agentRef": "blue"}, "not both"),
        ({"command": {"args": ["true"]}, "dependsOn": ["wrong"]}, "cannot depend on itself"),
        ({"command": {"args": ["true"]}, "status": {}}, 'unknown field "spec.status"'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_task_is_refused_at_apply(system: System, spec: Mapping[str, Any], words: str) -> None:
    """The answer names the field and what is allowed; nothing is created."""
    body = json.dumps(task("wrong", role="blue", **spec))
    done = system.try_kubectl("create", "-f", "-", stdin=body)

    assert done.code != 0
    assert words in done.err
    assert system.get("task", "wrong") is None


def test_a_prompt_of_the_greatest_length_is_done(system: System, name: Name) -> None:
    """200,000 characters pass, by `kubectl create`."""
    body = task(name("long"), prompt="x" * 200_000, command=shell("wc -c"), role="blue")
    done = system.try_kubectl("create", "-f", "-", stdin=json.dumps(body))

    assert done.code == 0, done.err
    assert system.wait_for_phase(name("long"))["result"].strip() == "200000"


@pytest.mark.parametrize("length", [64, 253])
def test_a_long_name_works_everywhere(system: System, length: int) -> None:
    """Names longer than a label are names like others."""
    long = "n" * length
    system.apply(task(long, command=args("true")))

    assert system.wait_for_phase(long)["phase"] == "Succeeded"


def test_a_name_of_300_characters_is_refused(system: System) -> None:
    """Kubernetes has a limit of 253."""
    done = system.apply(task("n" * 300, command=args("true")))

    assert done.code != 0
    assert "253" in done.err


def test_an_agents_name_of_60_characters_is_refused(system: System) -> None:
    """Its pods could not be labelled."""
    done = system.apply(agent("a" * 60))

    assert done.code != 0
    assert "at most 52 characters" in done.err


def test_what_may_not_change_cannot_be_changed(system: System, name: Name) -> None:
    """The sentence says which fields may."""
    system.apply(task(name("fixed"), command=args("true"), suspend=True))
    done = system.try_kubectl("patch", "task", name("fixed"), "--type=merge", "-p", '{"spec":{"timeoutSeconds":5}}')

    assert done.code != 0
    assert "only priority, suspend and cancel may change" in done.err


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"role": "purple"}, "NoSuchAgent"),
        ({"agentRef": "nobody"}, "NoSuchAgent"),
        ({"role": "blue", "dependsOn": ["never-created"]}, "DependencyPending"),
        ({"agentRef": "blue", "type": "codegen"}, "TypeNotTaken"),
        ({"role": "blue", "context": ["no/such/file"]}, "ContextMissing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_task_that_cannot_start_says_why(system: System, name: Name, spec: Mapping[str, Any], reason: str) -> None:
    """The status has the reason and a sentence, and the task goes on waiting."""
    stuck = name(reason.lower())
    system.apply(task(stuck, command=args("true"), **spec))

    wait_for(lambda: system.status(stuck).get("reason") == reason, f"the reason is {reason}")
    assert len(system.status(stuck)["message"]) > 10
    system.kubectl("delete", "task", stuck)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ({"args": ["no-such-program"]}, "ProgramNotFound"),
        ({"args": ["/etc/passwd"]}, "NotExecutable"),
        ({"args": ["sh", "-c", "exit 3"]}, "NonZeroExit"),
        ({"args": ["sh", "-c", "kill -9 $$"]}, "Signalled"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_that_fails_says_how(system: System, name: Name, command: Mapping[str, Any], reason: str) -> None:
    """Each way to fail has a reason of its own."""
    failing = name(reason.lower())
    system.apply(task(failing, command=command, retryPolicy=NO_RETRY))

    status = system.wait_for_phase(failing)

    assert (status["phase"], status["reason"]) == ("Failed", reason)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("flood", "head -c 1000000000 /dev/zero"),
        ("closes", "exec 0<&-; echo done"),
        ("daemon", "setsid sleep 302 >/dev/null 2>&1 & echo done"),
        ("binary", "printf '\\377\\376\\000 done'"),
    ],
)
def test_a_strange_command_harms_nobody(system: System, name: Name, word: str, line: str) -> None:
    """It succeeds, its output is bounded text, and nothing of it runs on."""
    system.apply(task(name(word), command=shell(line), timeoutSeconds=60))

    status = system.wait_for_phase(name(word), seconds=60)

    assert status["phase"] == "Succeeded"
    assert len(status.get("result", "")) <= 4096
    assert not any("sleep 302" in line for line in command_lines())


def test_a_command_that_ignores_sigterm_is_killed(system: System, name: Name) -> None:
    """After the grace time nothing is left of it."""
    system.apply(task(name("deaf"), command=shell("trap '' TERM; sleep 303"), timeoutSeconds=1, retryPolicy=NO_RETRY))

    assert system.wait_for_phase(name("deaf"))["reason"] == "DeadlineExceeded"
    assert not any("sleep 303" in line for line in command_lines())


def condition(system: System, pool: str, kind: str) -> dict[str, Any]:
    """A condition of an Agent, or nothing."""
    status = (system.get("agent", pool) or {}).get("status") or {}
    found: dict[str, Any] = {item["type"]: item for item in status.get("conditions") or ()}
    return found.get(kind) or {}


def test_an_impossible_image_is_told_by_the_agents_condition(system: System, name: Name) -> None:
    """Ready is False, and the message is the node's."""
    pool = name("image")
    system.apply(agent(pool, image="example.invalid/no/such:image"))

    wait_for(lambda: condition(system, pool, "Ready").get("reason") == "ImageUnavailable", "the reason is there")
    assert "example.invalid/no/such:image" in condition(system, pool, "Ready")["message"]
    system.kubectl("delete", "agent", pool)


@pytest.mark.parametrize(
    "template",
    [
        {"spec": {"volumes": [{"name": "x", "persistentVolumeClaim": {"claimName": "watchbill-coordination"}}]}},
        {"spec": {"containers": [{"name": "agent", "securityContext": {"privileged": True}}]}},
        {"spec": {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}},
        {"spec": {"serviceAccountName": "admin"}},
    ],
    ids=["claim", "privileged", "host-path", "account"],
)
def test_a_template_that_weakens_isolation_is_refused(system: System, name: Name, template: Mapping[str, Any]) -> None:
    """No pod is made from it, and a condition names what is wrong."""
    pool = name("tpl")
    system.apply(agent(pool, podTemplate=template))

    wait_for(lambda: condition(system, pool, "TemplateAccepted").get("status") == "False", "it is refused")
    assert system.list("pods", "-l", f"watchbill.dev/agent={pool}") == []
    system.kubectl("delete", "agent", pool)


@pytest.mark.local("the small API server")
def test_the_small_server_keeps_strangers_out(system: System) -> None:
    """No token 401; a foreign Host or any Origin 403."""
    if system.has_guards:
        pytest.skip("a real API server has guards of its own")
    view = json.loads(system.kubectl("config", "view", "--raw", "-o", "json"))
    server = urlsplit(view["clusters"][0]["cluster"]["server"])
    bearer = {"Authorization": f"Bearer {view['users'][0]['user']['token']}"}

    def ask(headers: Mapping[str, str]) -> int:
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(server.hostname or "", server.port, context=context, timeout=10)
        connection.request("GET", "/api", headers=dict(headers))
        return connection.getresponse().status

    assert ask(bearer) == 200
    assert ask({}) == 401
    assert ask({**bearer, "Host": "evil.example"}) == 403
    assert ask({**bearer, "Origin": "http://evil.example"}) == 403
