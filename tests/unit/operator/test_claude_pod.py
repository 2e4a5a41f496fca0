"""Pods of agents that run Claude Code: two containers, one of which has the key."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.operator_cases import SETTINGS, an_agent
from watchbill_agent.settings import parse_settings
from watchbill_broker.settings import parse_settings as parse_broker_settings
from watchbill_operator.claude_pod import PART_CHARACTERS, find_broker_secret
from watchbill_operator.pod_settings import PodSettings
from watchbill_operator.pod_users import build_broker_user_id, build_user_id
from watchbill_operator.pods import build_pod, build_template_hash

MAX_VARIABLE_BYTES = 131_072  #: NAME=value with its last NUL, as the kernel has it


def claude_agent(role: str = "green", claude: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """An Agent that runs Claude Code."""
    return an_agent(role=role, runner={"claude": claude or {}}, **spec)


def containers_of(agent: dict[str, Any], settings: PodSettings = SETTINGS) -> dict[str, dict[str, Any]]:
    """The containers of its first pod, by name."""
    return {each["name"]: each for each in build_pod(agent, 0, settings)["spec"]["containers"]}


def env_of(container: dict[str, Any]) -> dict[str, str]:
    """A container's variables as its program finds them."""
    values = {item["name"]: item["value"] for item in container["env"] if "value" in item}
    return {name: value.replace("$$", "$") for name, value in values.items()}


def mounts_of(container: dict[str, Any]) -> dict[str, tuple[str, str, bool]]:
    """Where it sees which part of which volume, and whether it can only read it."""
    return {
        mount["mountPath"]: (mount["name"], mount.get("subPath", ""), mount.get("readOnly", False))
        for mount in container["volumeMounts"]
    }


def claude_settings(agent: dict[str, Any], settings: PodSettings = SETTINGS) -> dict[str, Any]:
    """What the agent's container is told about its sessions."""
    env = env_of(containers_of(agent, settings)["agent"])
    names = ["WATCHBILL_CLAUDE", *(name for number in range(1, 99) if (name := f"WATCHBILL_CLAUDE_{number}") in env)]
    told: dict[str, Any] = json.loads("".join(env[name] for name in names))
    return told


def test_a_command_has_no_broker() -> None:
    """One container, as before, and nothing that needs a key."""
    pod = build_pod(an_agent(runner={"command": {}}), 0, SETTINGS)

    assert [each["name"] for each in pod["spec"]["containers"]] == ["agent"]
    assert [each["name"] for each in pod["spec"]["volumes"]] == ["coordination", "tmp"]
    assert not [name for name in env_of(pod["spec"]["containers"][0]) if name.startswith("WATCHBILL_CLAUDE")]


def test_the_broker_mounts_the_credential_grants_and_ledger() -> None:
    """And its own sockets and scratch space; nothing else of the coordination volume."""
    assert mounts_of(containers_of(claude_agent())["broker"]) == {
        "/watchbill/broker": ("broker", "", False),
        "/watchbill/grants": ("coordination", "agent-workspaces/blue-0/grants", True),
        "/watchbill/ledger": ("coordination", "agent-workspaces/blue-0/ledger", False),
        "/watchbill/credentials": ("credentials", "", True),
        "/tmp": ("broker-tmp", "", False),
    }


def test_the_agent_sees_of_the_broker_a_read_only_folder_of_sockets() -> None:
    """Neither credential nor grants nor ledger."""
    plain = mounts_of(containers_of(an_agent())["agent"])
    with_broker = mounts_of(containers_of(claude_agent())["agent"])

    assert {path: mount for path, mount in with_broker.items() if path not in plain} == {
        "/watchbill/broker": ("broker", "", True)
    }


def test_the_credentials_secret_is_named_in_one_volume_alone() -> None:
    """No environment refers to it, and the pod starts before it exists."""
    pod = build_pod(claude_agent(claude={"credentialSecret": "model-key"}), 0, SETTINGS)
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}

    assert volumes["credentials"]["secret"] == {"secretName": "model-key", "optional": True, "defaultMode": 0o444}
    assert json.dumps(pod["spec"]["containers"]).count("model-key") == 1
    assert env_of(pod["spec"]["containers"][1])["WATCHBILL_SECRET_NAME"] == "model-key"
    assert "envFrom" not in pod["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("setting", "own", "agents", "brokers"),
    [
        ("", "", "watchbill/agent:dev", "watchbill/agent:dev"),
        ("", "team/agent:2", "team/agent:2", "team/agent:2"),
        ("watchbill/broker:dev", "", "watchbill/agent:dev", "watchbill/broker:dev"),
        ("watchbill/broker:dev", "team/agent:2", "team/agent:2", "watchbill/broker:dev"),
    ],
)
def test_an_agents_image_is_not_the_brokers_where_the_operator_has_one(
    setting: str, own: str, agents: str, brokers: str
) -> None:
    """What may hold the credential is decided by who installs the operator."""
    agent = claude_agent(**({"image": own} if own else {}))
    containers = containers_of(agent, replace(SETTINGS, broker_image=setting))

    assert (containers["agent"]["image"], containers["broker"]["image"]) == (agents, brokers)


@pytest.mark.parametrize(
    ("runner", "label"), [({"claude": {}}, "true"), ({"claude": {"broker": False}}, None), ({"command": {}}, None)]
)
def test_pods_with_a_broker_are_told_by_a_label(runner: dict[str, Any], label: str | None) -> None:
    """A NetworkPolicy opens the way to the model for these alone."""
    pod = build_pod(an_agent(runner=runner), 0, SETTINGS)

    assert pod["metadata"]["labels"].get("watchbill.dev/broker") == label


def test_the_broker_runs_restricted_under_a_uid_that_no_agent_has() -> None:
    """Its own user and group; the rest is the restricted Pod Security Standard."""
    context = containers_of(claude_agent())["broker"]["securityContext"]
    uid = build_broker_user_id(SETTINGS.namespace, "blue", 0)

    assert context == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsUser": uid,
        "runAsGroup": uid,
    }


@given(st.text(max_size=20), st.text(max_size=20), st.integers(0, 63), st.integers(0, 63))
def test_a_brokers_uid_is_nobody_elses(namespace: str, agent: str, one: int, other: int) -> None:
    """Above those of all agents, below `nobody`, and one a replica."""
    broker = build_broker_user_id(namespace, agent, one)

    assert build_user_id(namespace, agent, other) < 65_040 <= broker < 65_534
    assert (broker == build_broker_user_id(namespace, agent, other)) == (one == other)


def test_the_agent_is_not_told_where_the_broker_asks() -> None:
    """A gateway's address is the broker's business; the agent asks its socket."""
    agent = claude_agent(claude={"baseURL": "http://gateway:8080"})

    assert claude_settings(agent)["baseURL"] == ""


def test_containers_do_not_see_each_others_processes() -> None:
    """Kubernetes' default, which is left alone."""
    assert "shareProcessNamespace" not in build_pod(claude_agent(), 0, SETTINGS)["spec"]


def test_the_broker_is_small() -> None:
    """So that a pool of agents does not set aside memory for keys."""
    assert containers_of(claude_agent())["broker"]["resources"] == {
        "requests": {"cpu": "10m", "memory": "32Mi"},
        "limits": {"cpu": "1", "memory": "128Mi"},
    }


def test_the_broker_understands_what_it_is_told() -> None:
    """Its own parser reads the environment that the operator writes."""
    claude = {"provider": "bedrock", "baseURL": "https://gate$way.example/x", "credentialSecret": "model-key"}
    agent = claude_agent(claude=claude, env=[{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}])
    settings = replace(SETTINGS, prices='{"house":{"input":1.0,"output":2.0}}', local_volume=False)

    told = parse_broker_settings(env_of(containers_of(agent, settings)["broker"]))

    assert (told.provider, told.secret, told.notify) == ("bedrock", "model-key", "poll")
    assert told.upstream is not None
    assert (told.upstream.host, told.upstream.prefix) == ("gate$way.example", "/x")
    assert told.proxy is not None
    assert told.prices == {"house": {"input": 1.0, "output": 2.0}}


def test_the_broker_gets_nothing_else_of_the_agents_environment() -> None:
    """Only the way out."""
    agent = claude_agent(env=[{"name": "HTTPS_PROXY", "value": "http://p:1"}, {"name": "LD_PRELOAD", "value": "x"}])

    env = env_of(containers_of(agent)["broker"])

    assert "HTTPS_PROXY" in env
    assert "LD_PRELOAD" not in env


def test_the_agent_understands_what_it_is_told() -> None:
    """Its own parser reads the environment that the operator writes, whatever stands in the prompt."""
    agent = claude_agent(
        claude={"maxTurns": 7, "tools": ["Read"], "allowedTools": [], "settingSources": ["project"]},
        model="opus",
        fallbackModel="haiku",
        systemPrompt="Cost is $(HOME) in $$;\n" + "語" * 99_000,
    )

    told = parse_settings(env_of(containers_of(agent)["agent"]) | {"WATCHBILL_POD_UID": "u"}).claude

    assert told is not None
    assert (told.model, told.fallback_model, told.max_turns) == ("claude-opus-5-5", "claude-haiku-5-5", 7)
    assert (told.tools, told.allowed_tools, told.setting_sources) == (("Read",), (), ("project",))
    assert told.system_prompt == "Cost is $(HOME) in $$;\n" + "語" * 99_000


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), st.integers(1, 2_000))
def test_no_variable_is_longer_than_the_kernel_takes(text: str, times: int) -> None:
    """Whatever the characters."""
    env = env_of(containers_of(claude_agent(systemPrompt=(text * times)[:100_000]))["agent"])

    assert max(len(f"{name}={value}".encode()) + 1 for name, value in env.items()) <= MAX_VARIABLE_BYTES
    assert PART_CHARACTERS * 4 + 100 <= MAX_VARIABLE_BYTES


@pytest.mark.parametrize(
    ("spec", "model"),
    [
        ({"role": "blue"}, "claude-haiku-5-5"),
        ({"role": "green"}, "claude-sonnet-5-5"),
        ({"role": "red"}, "claude-opus-5-5"),
        ({"role": "purple"}, "claude-sonnet-5-5"),
        ({"role": "blue", "model": "fable"}, "claude-fable-5-2"),
        ({"role": "blue", "model": "claude-haiku-4-5"}, "claude-haiku-4-5"),
        ({"role": "blue", "model": "house"}, "our-gateway/claude"),
    ],
)
def test_an_alias_becomes_an_id(spec: dict[str, Any], model: str) -> None:
    """By the role's default, the built-in table, or the operator's own; an id stays."""
    settings = replace(SETTINGS, models={"house": "our-gateway/claude"})

    assert claude_settings(claude_agent(**spec), settings)["model"] == model


def test_the_operators_aliases_go_before_the_built_in_ones() -> None:
    """So that a new model needs no new release."""
    settings = replace(SETTINGS, models={"opus": "claude-opus-6"})

    assert claude_settings(claude_agent(model="opus"), settings)["model"] == "claude-opus-6"


def test_other_providers_resolve_aliases_by_themselves() -> None:
    """Their ids are their own; the operator's table holds for them too."""
    agent = claude_agent(claude={"provider": "bedrock"}, model="opus")

    assert claude_settings(agent)["model"] == "opus"
    assert claude_settings(agent, replace(SETTINGS, models={"opus": "eu.anthropic.x"}))["model"] == "eu.anthropic.x"


def test_where_the_broker_is_off_the_secret_is_the_agents_environment() -> None:
    """One container, and the address is the agent's business."""
    agent = claude_agent(claude={"broker": False, "baseURL": "http://gateway:8080"})
    pod = build_pod(agent, 0, SETTINGS)

    assert [each["name"] for each in pod["spec"]["containers"]] == ["agent"]
    assert pod["spec"]["containers"][0]["envFrom"] == [
        {"secretRef": {"name": "watchbill-credentials", "optional": True}}
    ]
    assert "WATCHBILL_SOCKETS" not in env_of(pod["spec"]["containers"][0])
    assert (claude_settings(agent)["broker"], claude_settings(agent)["baseURL"]) == (False, "http://gateway:8080")


def test_the_secret_to_be_kept_is_named_only_where_a_broker_keeps_it() -> None:
    """What podTemplates are checked against."""
    off = claude_agent(claude={"broker": False})["spec"]

    assert [find_broker_secret(spec) for spec in (claude_agent()["spec"], off, an_agent()["spec"])] == [
        "watchbill-credentials",
        "",
        "",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"claude": {"baseURL": "http://x"}},
        {"claude": {"maxTurns": 3}},
        {"model": "opus"},
        {"systemPrompt": "Be brief."},
    ],
    ids=["broker", "sessions", "model", "prompt"],
)
def test_a_change_of_sessions_or_broker_replaces_pods(change: dict[str, Any]) -> None:
    """The template's hash is another one."""
    assert build_template_hash(claude_agent(**change), SETTINGS) != build_template_hash(claude_agent(), SETTINGS)


def test_new_prices_replace_pods() -> None:
    """A broker knows those that it began with."""
    dearer = replace(SETTINGS, prices='{"claude-opus-5-5":{"input":9.0,"output":9.0}}')

    assert build_template_hash(claude_agent(), dearer) != build_template_hash(claude_agent(), SETTINGS)
