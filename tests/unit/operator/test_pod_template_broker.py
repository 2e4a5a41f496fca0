"""podTemplates of agents with a broker: what would show the credential, or touch the broker, is refused."""

from __future__ import annotations

from typing import Any

import pytest

from support.operator_cases import SETTINGS, an_agent
from watchbill_operator.pod_template import check_agent_template, check_pod_template
from watchbill_operator.pods import build_pod

KEY = {"name": "watchbill-credentials"}


def an_agent_with(template: dict[str, Any], **claude: Any) -> dict[str, Any]:
    """An Agent that runs Claude Code, with that podTemplate."""
    return an_agent(runner={"claude": claude}, podTemplate={"spec": template})


def in_container(name: str = "agent", **members: Any) -> dict[str, Any]:
    """A template for one container."""
    return {"containers": [{"name": name, **members}]}


def with_volume(name: str = "extra", **source: Any) -> dict[str, Any]:
    """A template that adds a volume."""
    return {"volumes": [{"name": name, **source}]}


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "the broker's container": ("NameReserved", in_container("broker", image="mine")),
    "an init container of its name": ("NameReserved", {"initContainers": [{"name": "broker"}]}),
    "the volume of its sockets": ("VolumeReserved", with_volume("broker", emptyDir={})),
    "the volume of the credential": ("VolumeReserved", with_volume("credentials", emptyDir={})),
    "the credential mounted": (
        "VolumeReserved",
        in_container(volumeMounts=[{"name": "credentials", "mountPath": "/key"}]),
    ),
    "the sockets mounted for writing": (
        "VolumeReserved",
        in_container("proxy", volumeMounts=[{"name": "broker", "mountPath": "/s"}]),
    ),
    "its scratch space mounted": (
        "VolumeReserved",
        {"initContainers": [{"name": "spy", "volumeMounts": [{"name": "broker-tmp", "mountPath": "/t"}]}]},
    ),
    "the Secret as environment": ("CredentialNotAllowed", in_container(envFrom=[{"secretRef": KEY}])),
    "one key of it as a variable": (
        "CredentialNotAllowed",
        in_container(env=[{"name": "K", "valueFrom": {"secretKeyRef": {**KEY, "key": "ANTHROPIC_API_KEY"}}}]),
    ),
    "the Secret in a sidecar": ("CredentialNotAllowed", in_container("proxy", envFrom=[{"secretRef": KEY}])),
    "the Secret in an init container": (
        "CredentialNotAllowed",
        {"initContainers": [{"name": "spy", "envFrom": [{"secretRef": KEY}]}]},
    ),
    "the Secret as a volume": ("CredentialNotAllowed", with_volume(secret={"secretName": "watchbill-credentials"})),
    "the Secret among others": (
        "CredentialNotAllowed",
        with_volume(projected={"sources": [{"configMap": {"name": "c"}}, {"secret": KEY}]}),
    ),
}


@pytest.mark.parametrize(("reason", "template"), REFUSED.values(), ids=REFUSED.keys())
def test_what_touches_broker_or_credential_is_refused(reason: str, template: dict[str, Any]) -> None:
    """With its reason and a sentence that names the place."""
    findings = check_agent_template(an_agent_with(template))

    assert {finding.reason for finding in findings} == {reason}
    assert all(finding.message.startswith("podTemplate.spec.") for finding in findings)


@pytest.mark.parametrize("template", [each for _, each in REFUSED.values()], ids=REFUSED.keys())
def test_without_a_broker_nothing_is_reserved_for_it(template: dict[str, Any]) -> None:
    """A command's pod may have a sidecar called broker, and a Secret of any name."""
    assert check_pod_template({"spec": template}) == []


def test_another_secret_is_nobody_elses_business() -> None:
    """Git's key may be mounted as before."""
    template = with_volume(secret={"secretName": "git"}) | in_container(envFrom=[{"secretRef": {"name": "npm"}}])

    assert check_agent_template(an_agent_with(template)) == []


def test_the_secret_that_the_agent_names_is_the_one_that_is_kept() -> None:
    """The default's name is free then."""
    template = in_container(envFrom=[{"secretRef": KEY}])

    assert check_agent_template(an_agent_with(template, credentialSecret="mine")) == []
    assert check_agent_template(an_agent_with(template, credentialSecret="watchbill-credentials"))


def test_where_the_broker_is_off_the_secret_may_be_shown() -> None:
    """It is the agent's environment anyway."""
    assert check_agent_template(an_agent_with(in_container(envFrom=[{"secretRef": KEY}]), broker=False)) == []


def test_an_accepted_template_leaves_the_broker_as_it_was() -> None:
    """A sidecar and a volume more."""
    template = in_container("proxy", image="proxy:1") | with_volume("cache", emptyDir={})
    agent = an_agent_with(template)
    plain, laid = (build_pod(each, 0, SETTINGS)["spec"] for each in (an_agent(runner={"claude": {}}), agent))

    assert check_agent_template(agent) == []
    assert [each for each in laid["containers"] if each["name"] == "broker"] == [
        each for each in plain["containers"] if each["name"] == "broker"
    ]
    assert [each["name"] for each in laid["volumes"]] == [*(each["name"] for each in plain["volumes"]), "cache"]
