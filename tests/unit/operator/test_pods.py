"""Agent pods: what they mount, see and may do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from support.operator_cases import SETTINGS, an_agent
from watchbill_operator.pod_users import build_user_id
from watchbill_operator.pods import build_pod, build_template_hash, parse_ordinal


def env_of(pod: dict[str, Any]) -> dict[str, Any]:
    """The agent container's variables."""
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in pod["spec"]["containers"][0]["env"]}


def test_a_pod_mounts_its_own_folders_and_the_shared_context_and_no_more() -> None:
    """Each by subPath, so that no other workspace and no log can be reached."""
    container = build_pod(an_agent(), 3, SETTINGS)["spec"]["containers"][0]

    mounts = {m["mountPath"]: (m["subPath"], m["readOnly"]) for m in container["volumeMounts"] if m["name"] != "tmp"}
    assert mounts == {
        "/watchbill/inbox": ("agent-workspaces/blue-3/inbox", True),
        "/watchbill/outbox": ("agent-workspaces/blue-3/outbox", False),
        "/watchbill/work": ("agent-workspaces/blue-3/work", False),
        "/watchbill/state": ("agent-workspaces/blue-3/state", False),
        "/watchbill/shared-context": ("shared-context", True),
    }


def test_a_pod_runs_restricted_without_a_token() -> None:
    """What the restricted Pod Security Standard asks for, and a read-only root besides."""
    spec = build_pod(an_agent(), 0, SETTINGS)["spec"]

    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "fsGroup" not in spec["securityContext"]
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_every_replica_of_an_agent_has_a_uid_of_its_own() -> None:
    """64 replicas, 64 uids, all within the range of a user namespace and none of them root."""
    uids = {build_user_id("crew", "blue", ordinal) for ordinal in range(64)}

    assert len(uids) == 64
    assert all(10_000 <= uid < 65_536 for uid in uids)


def test_a_pod_runs_under_the_uid_of_its_replica() -> None:
    """And under a group of the same number."""
    contexts = [build_pod(an_agent(), ordinal, SETTINGS)["spec"]["securityContext"] for ordinal in range(2)]
    ids = [build_user_id(SETTINGS.namespace, "blue", ordinal) for ordinal in range(2)]

    assert [(each["runAsUser"], each["runAsGroup"]) for each in contexts] == [(uid, uid) for uid in ids]


def test_a_pod_is_owned_by_its_agent() -> None:
    """So that the garbage collector takes it when the Agent is gone."""
    owner = build_pod(an_agent(uid="u1"), 0, SETTINGS)["metadata"]["ownerReferences"]

    assert owner == [
        {
            "apiVersion": "watchbill.dev/v1alpha1",
            "kind": "Agent",
            "name": "blue",
            "uid": "u1",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def test_a_name_of_52_characters_fits_into_names_and_labels() -> None:
    """The longest Agent name with the highest ordinal is a legal pod name and label value."""
    pod = build_pod(an_agent("a" * 52), 63, SETTINGS)

    assert len(pod["metadata"]["name"]) <= 63
    assert all(len(value) <= 63 for value in pod["metadata"]["labels"].values())


def test_the_agent_is_told_who_it_is_and_where_its_folders_are() -> None:
    """All that the runtime reads from its environment."""
    agent = an_agent(role="green", tasksPerReplica=2, runner={"command": {"args": ["cat"], "graceSeconds": 3}})
    env = env_of(build_pod(agent, 1, SETTINGS))

    assert env["WATCHBILL_REPLICA"] == "blue-1"
    assert env["WATCHBILL_SLOTS"] == "2"
    assert env["WATCHBILL_MODEL"] == "sonnet"
    assert env["WATCHBILL_TASK_TYPES"] == "codegen,implementation,fix"
    assert env["WATCHBILL_INBOX"] == "/watchbill/inbox"
    assert json.loads(env["WATCHBILL_COMMAND"]) == {"args": ["cat"], "graceSeconds": 3}
    assert env["WATCHBILL_POD_UID"] == {"fieldRef": {"fieldPath": "metadata.uid"}}


def test_on_a_volume_of_several_hosts_the_agent_looks_itself() -> None:
    """Nobody tells it what another host writes."""
    env = env_of(build_pod(an_agent(), 0, replace(SETTINGS, local_volume=False)))

    assert env["WATCHBILL_NOTIFY"] == "poll"


def test_a_dollar_in_the_command_is_not_expanded_by_kubernetes() -> None:
    """$(VAR) in a program's arguments is the program's, and reaches it as it was written."""
    env = env_of(build_pod(an_agent(runner={"command": {"shell": "echo $(HOME) $$"}}), 0, SETTINGS))

    assert json.loads(env["WATCHBILL_COMMAND"].replace("$$", "$")) == {"shell": "echo $(HOME) $$"}


def test_the_users_environment_cannot_take_a_reserved_name() -> None:
    """Not even where the API server's rule was got round."""
    agent = an_agent(env=[{"name": "WATCHBILL_REPLICA", "value": "red-0"}, {"name": "LANG", "value": "C"}])
    env = build_pod(agent, 0, SETTINGS)["spec"]["containers"][0]["env"]

    assert [item["value"] for item in env if item["name"] == "WATCHBILL_REPLICA"] == ["blue-0"]
    assert {"name": "LANG", "value": "C"} in env


def test_secrets_become_environment_by_reference() -> None:
    """No value of a Secret stands in the pod."""
    container = build_pod(an_agent(secretRefs=[{"name": "api-key"}]), 0, SETTINGS)["spec"]["containers"][0]

    assert container["envFrom"] == [{"secretRef": {"name": "api-key"}}]


def test_the_grace_period_leaves_time_to_drain() -> None:
    """drainSeconds, and five more to say so."""
    assert build_pod(an_agent(drainSeconds=60), 0, SETTINGS)["spec"]["terminationGracePeriodSeconds"] == 65


def test_replicas_of_one_template_have_one_hash() -> None:
    """The hash tells templates apart, not ordinals."""
    labels = [build_pod(an_agent(), n, SETTINGS)["metadata"]["labels"]["watchbill.dev/template"] for n in (0, 7)]

    assert labels[0] == labels[1]


@pytest.mark.parametrize("change", [{"replicas": 9}, {"suspend": True}], ids=str)
def test_scaling_and_suspending_make_no_new_template(change: dict[str, Any]) -> None:
    """They must not replace running pods."""
    assert build_template_hash(an_agent(**change), SETTINGS) == build_template_hash(an_agent(), SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"image": "other:1"},
        {"model": "opus"},
        {"env": [{"name": "A", "value": "1"}]},
        {"resources": {"limits": {"cpu": 1}}},
        {"podTemplate": {"spec": {"nodeSelector": {"disk": "ssd"}}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_the_pod_changes_the_hash(change: dict[str, Any]) -> None:
    """So that running pods are found to be outdated."""
    assert build_template_hash(an_agent(**change), SETTINGS) != build_template_hash(an_agent(), SETTINGS)


def test_a_sidecar_from_the_template_runs_restricted_too() -> None:
    """A container that says nothing about security gets what the agent's has."""
    sidecar = {"name": "proxy", "image": "proxy:1"}
    pod = build_pod(an_agent(podTemplate={"spec": {"containers": [sidecar]}}), 0, SETTINGS)

    assert [container["name"] for container in pod["spec"]["containers"]] == ["agent", "proxy"]
    assert pod["spec"]["containers"][1]["securityContext"] == pod["spec"]["containers"][0]["securityContext"]


@pytest.mark.parametrize(("name", "ordinal"), [("blue-0", 0), ("blue-12", 12), ("blue-01", None), ("blue-x", None)])
def test_only_a_plain_ordinal_is_one(name: str, ordinal: int | None) -> None:
    """`blue-01` is no replica of blue: names and ordinals must be one to one."""
    assert parse_ordinal("blue", name) == ordinal


def test_the_pod_of_an_agent_with_a_longer_name_is_not_taken_for_ones_own() -> None:
    """`blue-team-0` belongs to blue-team."""
    assert parse_ordinal("blue", "blue-team-0") is None
