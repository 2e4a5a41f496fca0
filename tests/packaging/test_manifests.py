"""The manifests without a cluster: they build, keep to `restricted`, and open what they say and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from support.overlays import (
    MANIFESTS,
    OVERLAYS,
    SAMPLES,
    build_agent_pods,
    build_overlay,
    find_one,
    list_all_pods,
    list_pods,
    list_selecting,
    load_sample,
)
from support.pod_security import find_violations, list_containers
from watchbill_cli.home import data_file
from watchbill_cli.install import FILES
from watchbill_cli.lint import NOTE, lint_file
from watchbill_cli.lint_files import list_files
from watchbill_operator.config import ENVIRONMENT
from watchbill_operator.rights import NEEDED

PODS = list_all_pods()
IDS = [name for name, _ in PODS]
IMAGE = re.compile(r"(registry\.example/)?watchbill/(operator|agent|broker):(dev|\d+\.\d+\.\d+)")
TCP, UDP = "TCP", "UDP"
Obj = Mapping[str, Any]


def env_of(deployment: Obj) -> dict[str, str]:
    """The operator's environment, without what the downward API gives."""
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {item["name"]: item["value"] for item in container["env"] if "value" in item}


def ports_of(policies: list[Any], name: str, way: str) -> set[tuple[str, int]]:
    """The ports that a NetworkPolicy opens to or from everywhere."""
    [policy] = [item for item in policies if item["metadata"]["name"] == name]
    rules = policy["spec"].get(way) or []
    assert all(rule.keys() == {"ports"} for rule in rules), "an opening of all ports, or one that names who"
    return {(port["protocol"], port["port"]) for rule in rules for port in rule["ports"]}


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Any]:
    """All objects of an overlay."""
    return build_overlay(request.param)


@pytest.fixture
def policies(objects: list[Any]) -> list[Any]:
    """Its NetworkPolicies."""
    return [item for item in objects if item["kind"] == "NetworkPolicy"]


@pytest.mark.parametrize("path", sorted(list_files([MANIFESTS])), ids=lambda path: str(path.relative_to(MANIFESTS)))
def test_lint_finds_nothing_wrong_with_it(path: Path) -> None:
    """What is not checked is a note, which is no finding."""
    assert [str(finding) for finding in lint_file(path) if finding.severity != NOTE] == []


@pytest.mark.parametrize(("name", "pod"), PODS, ids=IDS)
def test_every_pod_keeps_to_the_restricted_standard(name: str, pod: Obj) -> None:
    """By the rules as they are published; the agents' pods are those that the operator builds."""
    assert find_violations(pod["metadata"], pod["spec"]) == []


@pytest.mark.parametrize(("name", "pod"), PODS, ids=IDS)
def test_every_container_says_what_it_needs_and_what_it_may_take(name: str, pod: Obj) -> None:
    """Processor and memory; and it writes to volumes alone."""
    for path, container, _ in list_containers(pod["spec"]):
        resources = container["resources"]

        assert {"cpu", "memory"} <= resources["requests"].keys(), path
        assert {"cpu", "memory"} <= resources["limits"].keys(), path
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, path


WEAKER: dict[str, Any] = {
    "root": lambda pod: pod["spec"]["securityContext"].update(runAsUser=0),
    "maybe root": lambda pod: pod["spec"]["securityContext"].pop("runAsNonRoot"),
    "no seccomp": lambda pod: pod["spec"]["securityContext"].pop("seccompProfile"),
    "host network": lambda pod: pod["spec"].update(hostNetwork=True),
    "a folder of the node": lambda pod: pod["spec"]["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "all capabilities": lambda pod: pod["spec"]["containers"][0]["securityContext"].pop("capabilities"),
    "escalation": lambda pod: pod["spec"]["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    "an init container": lambda pod: pod["spec"].update(initContainers=[{"name": "i"}]),
    "a port of the node": lambda pod: pod["spec"]["containers"][0].update(ports=[{"containerPort": 1, "hostPort": 1}]),
}


@pytest.mark.parametrize("weaker", WEAKER)
def test_the_check_of_the_standard_sees(weaker: str) -> None:
    """A check that finds nothing anywhere would prove nothing."""
    pod = deepcopy(next(pod for name, pod in PODS if "Deployment" in name))
    WEAKER[weaker](pod)

    assert find_violations(pod["metadata"], pod["spec"])


def test_the_namespace_refuses_what_is_not_restricted(objects: list[Any]) -> None:
    """And says so to whoever applies it."""
    labels = find_one(objects, "Namespace")["metadata"]["labels"]

    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}


def test_everything_is_in_the_namespace(objects: list[Any]) -> None:
    """But for what has none."""
    outside = {item["kind"] for item in objects if item["metadata"].get("namespace") != "watchbill"}
    [subject] = find_one(objects, "RoleBinding")["subjects"]

    assert outside == {"Namespace", "CustomResourceDefinition"}
    assert subject == {"kind": "ServiceAccount", "name": "watchbill-operator", "namespace": "watchbill"}


def test_the_role_grants_what_the_operator_needs_and_no_more(objects: list[Any]) -> None:
    """No wildcard, nothing on the cluster; the operator's own table has the same rights."""
    granted = {
        (group, resource, verb, name)
        for rule in find_one(objects, "Role")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }

    assert granted == {(right.group, right.resource, right.verb, right.name) for right in NEEDED}
    assert [item for item in objects if item["kind"].startswith("Cluster")] == []


def test_only_operator_and_repair_get_a_token() -> None:
    """Agents have none, and the account gives none to pods that do not ask."""
    with_token = {
        name.rpartition(": ")[2] for name, pod in PODS if pod["spec"].get("automountServiceAccountToken", True)
    }

    assert with_token == {"Deployment/watchbill-operator", "Job/watchbill-repair"}
    assert find_one(build_overlay("kind"), "ServiceAccount")["automountServiceAccountToken"] is False


def test_images_have_tags_that_stay(objects: list[Any]) -> None:
    """The containers' own and those that the operator gives to agents: all from one place, all with one tag."""
    deployment = find_one(objects, "Deployment")
    images = [container["image"] for _, pod in list_pods(objects) for _, container, _ in list_containers(pod["spec"])]
    images += [value for name, value in env_of(deployment).items() if name.endswith("_IMAGE")]

    assert len(images) == 3
    assert all(IMAGE.fullmatch(image) for image in images), images
    assert len({IMAGE.sub(r"\1\3", image) for image in images}) == 1


def test_settings_of_the_deployment_are_the_operators(objects: list[Any]) -> None:
    """A name that the operator does not know would do nothing, silently."""
    [container] = find_one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]

    assert {item["name"] for item in container["env"]} <= ENVIRONMENT.keys() | {"WATCHBILL_HTTP"}


def test_operator_and_agents_meet_on_the_same_claim(objects: list[Any]) -> None:
    """The Deployment's volume, the setting, the claim itself, and the repair Job's volume."""
    deployment = find_one(objects, "Deployment")
    pods = [deployment["spec"]["template"], *(pod for _, pod in list_pods(load_sample("repair-job.yaml")))]
    claims = {v["persistentVolumeClaim"]["claimName"] for p in pods for v in p["spec"]["volumes"] if v["name"] != "tmp"}

    assert claims == {find_one(objects, "PersistentVolumeClaim")["metadata"]["name"]}
    assert claims == {env_of(deployment)["WATCHBILL_CLAIM"]}


def test_the_service_leads_to_the_operator_alone(objects: list[Any]) -> None:
    """Neither the repair Job nor an agent may be taken for it."""
    service, deployment = find_one(objects, "Service"), find_one(objects, "Deployment")
    selected = {
        name.rpartition(": ")[2]
        for name, pod in PODS
        if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    }
    [port] = service["spec"]["ports"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]

    assert selected == {"Deployment/watchbill-operator"}
    assert service["metadata"]["annotations"]["prometheus.io/port"] == str(port["port"])
    assert port["targetPort"] in {each["name"] for each in container["ports"]}


def test_metrics_are_reached_of_an_operator_that_is_not_ready(objects: list[Any]) -> None:
    """Its volume is full, for one, and a metric says so; by the Service that Prometheus asks too."""
    scraped = YAML(typ="safe").load((MANIFESTS / "autoscaling" / "service.yaml").read_text())

    for service in (find_one(objects, "Service"), scraped):
        assert service["spec"]["publishNotReadyAddresses"] is True


def test_each_pod_has_the_policies_that_are_meant_for_it(policies: list[Any]) -> None:
    """All are denied everything; operator, repair and agents with a broker have an opening each."""
    labels = {name.rpartition(": ")[2]: pod["metadata"]["labels"] for name, pod in PODS if "claude" not in name}
    selecting = {name: list_selecting(policies, each) for name, each in labels.items()}
    brokers = [list_selecting(policies, pod["metadata"]["labels"]) for pod in build_agent_pods("claude-agents.yaml")]

    assert selecting["Deployment/watchbill-operator"] == ["watchbill-default-deny", "watchbill-operator"]
    assert selecting["Job/watchbill-repair"] == ["watchbill-default-deny", "watchbill-repair"]
    assert selecting["Pod/blue-0"] == ["watchbill-default-deny"]
    assert brokers == [["watchbill-broker", "watchbill-default-deny"]] * 3


def test_policies_open_what_is_needed_and_nothing_else(policies: list[Any]) -> None:
    """By port, for addresses that are not known here."""
    dns = {(UDP, 53), (TCP, 53)}
    egress = {item["metadata"]["name"]: ports_of(policies, item["metadata"]["name"], "egress") for item in policies}
    ingress = {item["metadata"]["name"]: ports_of(policies, item["metadata"]["name"], "ingress") for item in policies}
    [deny] = [item["spec"] for item in policies if item["metadata"]["name"] == "watchbill-default-deny"]

    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert egress == {
        "watchbill-default-deny": set(),
        "watchbill-operator": dns | {(TCP, 443), (TCP, 6443)},
        "watchbill-repair": dns | {(TCP, 443), (TCP, 6443)},
        "watchbill-broker": dns | {(TCP, 443)},
    }
    assert {name: ports for name, ports in ingress.items() if ports} == {"watchbill-operator": {(TCP, 8080)}}


def test_kind_has_one_operator_and_a_volume_of_the_node() -> None:
    """No two operators at once: the old pod would keep the volume."""
    objects = build_overlay("kind")
    deployment, claim = find_one(objects, "Deployment"), find_one(objects, "PersistentVolumeClaim")

    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert "storageClassName" not in claim["spec"]


def test_production_has_two_operators_apart_and_a_volume_of_all_nodes() -> None:
    """With a budget for disruptions, and polling, since no other node's writes are notified."""
    objects = build_overlay("production")
    deployment, claim = find_one(objects, "Deployment"), find_one(objects, "PersistentVolumeClaim")
    budget, pod = find_one(objects, "PodDisruptionBudget"), deployment["spec"]["template"]

    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["type"]) == (2, "RollingUpdate")
    assert budget["spec"]["minAvailable"] == 1
    assert budget["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert {each["topologyKey"] for each in pod["spec"]["topologySpreadConstraints"]} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    assert pod["spec"]["affinity"]["podAntiAffinity"].keys() == {"preferredDuringSchedulingIgnoredDuringExecution"}
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert env_of(deployment)["WATCHBILL_LOCAL_VOLUME"] == "false"


def test_no_overlay_has_an_object_of_a_kind_that_it_brings(objects: list[Any]) -> None:
    """kubectl would not know the kind yet, and the one command that installs would fail."""
    assert {item["kind"] for item in objects} & {"Agent", "Task"} == set()


def test_the_example_of_the_secret_has_no_key() -> None:
    """Also no empty one: to apply it again must leave the real key alone."""
    [secret] = load_sample("credentials.yaml")

    assert secret["metadata"]["name"] == "watchbill-credentials"
    assert not secret.keys() & {"data", "stringData"}


def test_repair_changes_nothing_unless_it_is_told_to() -> None:
    """The sample as it stands is a dry run."""
    [(_, pod)] = list_pods(load_sample("repair-job.yaml"))
    [container] = pod["spec"]["containers"]

    assert container["command"] == ["watchbill", "repair"]
    assert "--yes" not in container["args"]


def test_a_local_start_takes_files_that_are_there() -> None:
    """Rights and claim; what is for pods stays out."""
    assert all(data_file(name).is_file() for name in FILES)
    assert {Path(name).name for name in FILES} == {"agents.yaml", "tasks.yaml", "rbac.yaml", "volume-claim.yaml"}


def test_every_sample_names_no_namespace() -> None:
    """`-n` does, so that they fit every installation."""
    named = [
        f"{path.name}: {item['metadata']['name']}"
        for path in sorted(SAMPLES.glob("*.yaml"))
        for item in load_sample(path.name)
        if "namespace" in item["metadata"]
    ]

    assert named == []
