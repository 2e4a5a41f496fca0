"""podTemplates: what they may say, and what is refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from support.operator_cases import SETTINGS, an_agent
from watchbill_operator.pod_template import check_pod_template, is_reserved_path
from watchbill_operator.pods import build_pod


def reasons(template: Any) -> set[str]:
    """Why it is refused."""
    return {finding.reason for finding in check_pod_template(template)}


def in_agent(**container: Any) -> dict[str, Any]:
    """A template for the agent's container."""
    return {"spec": {"containers": [{"name": "agent", **container}]}}


def with_volume(**source: Any) -> dict[str, Any]:
    """A template that adds a volume."""
    return {"spec": {"volumes": [{"name": "extra", **source}]}}


ALLOWED: dict[str, Any] = {
    "nothing": None,
    "empty": {},
    "node selector": {"spec": {"nodeSelector": {"disk": "ssd"}}},
    "toleration": {"spec": {"tolerations": [{"key": "gpu", "operator": "Exists"}]}},
    "label": {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}},
    "cache volume": {
        "spec": {
            "volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Gi"}}],
            "containers": [{"name": "agent", "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}],
        }
    },
    "secret file": with_volume(secret={"secretName": "git"}),
    "another claim": with_volume(persistentVolumeClaim={"claimName": "models"}),
    "projected": with_volume(projected={"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]}),
    "resources": in_agent(resources={"limits": {"memory": "1Gi"}}),
    "variable": in_agent(env=[{"name": "LANG", "value": "C"}]),
    "stricter": in_agent(securityContext={"privileged": False, "capabilities": {"drop": ["ALL"]}}),
    "sidecar": {"spec": {"containers": [{"name": "proxy", "image": "proxy:1", "ports": [{"containerPort": 80}]}]}},
    "larger tmp": {"spec": {"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "5Gi"}}]}},
}


@pytest.mark.parametrize("template", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_does_not_weaken_isolation_is_accepted(template: Any) -> None:
    """Ordinary wishes about where and with what agents run."""
    assert check_pod_template(template) == []


REFUSED: dict[str, tuple[str, Any]] = {
    "coordination claim": (
        "CoordinationClaimNotAllowed",
        with_volume(persistentVolumeClaim={"claimName": "watchbill-coordination"}),
    ),
    "its volume by name": (
        "CoordinationClaimNotAllowed",
        in_agent(volumeMounts=[{"name": "coordination", "mountPath": "/all"}]),
    ),
    "its volume replaced": ("VolumeReserved", {"spec": {"volumes": [{"name": "coordination", "emptyDir": {}}]}}),
    "host path": ("HostAccessNotAllowed", with_volume(hostPath={"path": "/"})),
    "nfs": ("VolumeNotAllowed", with_volume(nfs={"server": "nas", "path": "/"})),
    "service account": ("ServiceAccountNotAllowed", {"spec": {"serviceAccountName": "admin"}}),
    "token": ("ServiceAccountNotAllowed", {"spec": {"automountServiceAccountToken": True}}),
    "projected token": (
        "ServiceAccountNotAllowed",
        with_volume(projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}),
    ),
    "host network": ("HostAccessNotAllowed", {"spec": {"hostNetwork": True}}),
    "host pids": ("HostAccessNotAllowed", {"spec": {"hostPID": True}}),
    "host ipc": ("HostAccessNotAllowed", {"spec": {"hostIPC": True}}),
    "host port": ("HostAccessNotAllowed", in_agent(ports=[{"containerPort": 80, "hostPort": 80}])),
    "probe elsewhere": ("HostAccessNotAllowed", in_agent(livenessProbe={"httpGet": {"host": "10.0.0.1", "port": 80}})),
    "mount propagation": (
        "HostAccessNotAllowed",
        in_agent(volumeMounts=[{"name": "c", "mountPath": "/c", "mountPropagation": "Bidirectional"}]),
    ),
    "privileged": ("SecurityWeakened", in_agent(securityContext={"privileged": True})),
    "privileged sidecar": (
        "SecurityWeakened",
        {"spec": {"containers": [{"name": "x", "image": "x", "securityContext": {"privileged": True}}]}},
    ),
    "privileged init": (
        "SecurityWeakened",
        {"spec": {"initContainers": [{"name": "x", "image": "x", "securityContext": {"privileged": True}}]}},
    ),
    "capability": (
        "SecurityWeakened",
        in_agent(securityContext={"capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}),
    ),
    "capabilities kept": ("SecurityWeakened", in_agent(securityContext={"capabilities": {"drop": []}})),
    "root": ("SecurityWeakened", in_agent(securityContext={"runAsUser": 0})),
    "another agent's uid": ("SecurityWeakened", {"spec": {"securityContext": {"runAsUser": 10001}}}),
    "maybe root": ("SecurityWeakened", {"spec": {"securityContext": {"runAsNonRoot": False}}}),
    "group of the volume": ("SecurityWeakened", {"spec": {"securityContext": {"fsGroup": 0}}}),
    "unconfined": ("SecurityWeakened", {"spec": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}}),
    "unconfined by annotation": (
        "SecurityWeakened",
        {"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/agent": "unconfined"}}},
    ),
    "proc": ("SecurityWeakened", in_agent(securityContext={"procMount": "Unmasked"})),
    "inbox covered": ("MountReserved", in_agent(volumeMounts=[{"name": "c", "mountPath": "/watchbill/inbox"}])),
    "all covered": ("MountReserved", in_agent(volumeMounts=[{"name": "c", "mountPath": "/tmp/../watchbill/"}])),
    "root covered": ("MountReserved", in_agent(volumeMounts=[{"name": "c", "mountPath": "//"}])),
    "reserved variable": ("EnvironmentReserved", in_agent(env=[{"name": "WATCHBILL_INBOX", "value": "/x"}])),
    "name": ("NameReserved", {"metadata": {"name": "mine"}}),
    "owner": ("NameReserved", {"metadata": {"ownerReferences": []}}),
    "our label": ("LabelReserved", {"metadata": {"labels": {"watchbill.dev/agent": "red"}}}),
    "our name": ("LabelReserved", {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}),
    "init container called agent": ("NameReserved", {"spec": {"initContainers": [{"name": "agent", "image": "x"}]}}),
    "directive": ("DirectiveNotAllowed", {"spec": {"containers": [{"$patch": "replace"}]}}),
    "null": ("NullNotAllowed", in_agent(securityContext=None)),
    "unknown field": ("FieldNotAllowed", {"spec": {"tomorrow": 1}}),
    "status": ("FieldNotAllowed", {"status": {}}),
    "restart policy": ("FieldNotAllowed", {"spec": {"restartPolicy": "Never"}}),
    "not an object": ("Malformed", ["spec"]),
    "containers as a map": ("Malformed", {"spec": {"containers": {"agent": {}}}}),
    "container without a name": ("Malformed", {"spec": {"containers": [{"image": "x"}]}}),
    "two of a name": ("Malformed", {"spec": {"volumes": [{"name": "a"}, {"name": "a"}]}}),
    "two sources": ("Malformed", with_volume(emptyDir={}, secret={"secretName": "x"})),
}


@pytest.mark.parametrize(("reason", "template"), REFUSED.values(), ids=REFUSED.keys())
def test_what_would_weaken_isolation_is_refused(reason: str, template: Any) -> None:
    """With a reason that names the kind of trouble."""
    assert reason in reasons(template)


@pytest.mark.parametrize(("reason", "template"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_is_a_sentence(reason: str, template: Any) -> None:
    """It names the place and ends with a full stop."""
    for finding in check_pod_template(template):
        assert finding.message.endswith(".")
        assert len(finding.message.split()) >= 4


def test_a_very_deep_template_is_refused_without_recursion() -> None:
    """A user can send 1,000 levels in a few kilobytes."""
    template: Any = "x"
    for _ in range(1000):
        template = [template]

    assert reasons({"spec": {"affinity": template}}) == {"NestedTooDeep"}


def test_the_number_of_findings_is_bounded() -> None:
    """A condition's message has a limit."""
    assert len(check_pod_template({"spec": {f"field{n}": 1 for n in range(1000)}})) == 16


@pytest.mark.parametrize(
    "path", ["/", "/watchbill", "/watchbill/", "/watchbill/work/x", "/./watchbill", "//watchbill/a"]
)
def test_a_path_at_or_among_the_agents_mounts_is_reserved(path: str) -> None:
    """However it is spelled."""
    assert is_reserved_path(path)


@pytest.mark.parametrize("path", ["/watchbills", "/data", "/tmp/watchbill", "/watchbill/../data"])
def test_a_path_elsewhere_is_free(path: str) -> None:
    """A name that only looks alike is no reason to refuse it."""
    assert not is_reserved_path(path)


def test_variables_are_merged_by_name_and_tolerations_appended() -> None:
    """The user's value takes the place of the operator's, whole."""
    template = {
        "spec": {
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "containers": [{"name": "agent", "env": [{"name": "HOME", "value": "/watchbill/work"}]}],
        }
    }
    spec = build_pod(an_agent(podTemplate=template), 0, SETTINGS)["spec"]

    assert [item for item in spec["containers"][0]["env"] if item["name"] == "HOME"] == [
        {"name": "HOME", "value": "/watchbill/work"}
    ]
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert len(spec["containers"]) == 1
