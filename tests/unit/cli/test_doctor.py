"""What `watchbill doctor` says of a cluster: objects as Kubernetes 1.36 showed them, one thing wrong in each."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from watchbill_cli.doctor import render
from watchbill_cli.doctor_checks import OK, PROBLEM, UNKNOWN, Line, check_all
from watchbill_cli.doctor_look import Answer, Sight
from watchbill_operator.conditions import parse_time

CHECKOUT = Path(__file__).resolve().parents[3]
NOW = "2026-11-22T22:50:00Z"
EARLIER = "2026-11-22T22:45:00Z"
NAME = "watchbill-operator"
POD = "watchbill-operator-756d56ff99-tc6z4"
LOCAL_PATH = "NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes"
QUOTA = 'pods "x" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0'
NOT_THERE = Answer(404, {}, "not found")
Obj = dict[str, Any]


def load_documents(path: str) -> list[Obj]:
    """Objects of a manifest that ships."""
    return [each for each in YAML(typ="safe").load_all((CHECKOUT / path).read_text()) if each]


def load_rbac(kind: str) -> Obj:
    """Role or RoleBinding, in the namespace of these tests."""
    [found] = [each for each in load_documents("manifests/base/rbac.yaml") if each["kind"] == kind]
    for subject in found.get("subjects") or ():
        subject["namespace"] = "crew"
    return found


def document() -> Obj:
    """What the API server describes: the CRDs that ship."""
    schemas = {}
    for plural in ("agents", "tasks"):
        spec = load_documents(f"crds/{plural}.yaml")[0]["spec"]
        mark = [{"group": "watchbill.dev", "kind": spec["names"]["kind"], "version": "v1alpha1"}]
        schema = spec["versions"][0]["schema"]["openAPIV3Schema"]
        schemas[plural] = {**schema, "x-kubernetes-group-version-kind": mark}
    return {"components": {"schemas": schemas}}


def items(*objects: Obj) -> Answer:
    """A list."""
    return Answer(200, {"items": list(objects)})


def pod(status: Obj, name: str = POD, app: str = NAME) -> Obj:
    """A pod that was made five minutes ago."""
    labels = {"app.kubernetes.io/name": app}
    return {"metadata": {"name": name, "uid": "u", "labels": labels, "creationTimestamp": EARLIER}, "status": status}


def running(container: str = "operator", *, ready: bool = True) -> Obj:
    """The status of a pod that runs."""
    told = {"name": container, "ready": ready, "state": {"running": {"startedAt": EARLIER}}}
    condition = {"type": "Ready", "status": str(ready)}
    return {"phase": "Running", "conditions": [condition], "containerStatuses": [told]}


def claim(phase: str, mode: str = "ReadWriteOnce", **spec: Any) -> Answer:
    """The volume claim."""
    body = {"metadata": {"name": "watchbill-coordination"}, "spec": {"accessModes": [mode], **spec}}
    return Answer(200, {**body, "status": {"phase": phase, "accessModes": [mode]}})


def event(kind: str, name: str, message: str, reason: str = "ProvisioningFailed") -> Obj:
    """A warning."""
    about = {"kind": kind, "name": name}
    return {"involvedObject": about, "type": "Warning", "reason": reason, "message": message, "lastTimestamp": NOW}


def agent(reason: str = "AllReady", message: str = "1 of 1 replicas are ready.", **spec: Any) -> Obj:
    """An Agent with its own words."""
    ready = {"type": "Ready", "status": str(reason == "AllReady"), "reason": reason, "message": message}
    return {"metadata": {"name": "blue"}, "spec": {"replicas": 1, **spec}, "status": {"conditions": [ready]}}


def storage_class(name: str, *, default: bool = False) -> Obj:
    """A storage class."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": annotations}}


def sound() -> dict[str, Answer]:
    """All answers of an installation that is as it should be."""
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {
        "document": Answer(200, document()),
        "crds": Answer(),
        "namespace": Answer(200, {"metadata": {"name": "crew", "labels": enforced}}),
        "claim": claim("Bound"),
        "classes": items(storage_class("standard", default=True), storage_class("shared")),
        "role": Answer(200, load_rbac("Role")),
        "binding": Answer(200, load_rbac("RoleBinding")),
        "lease": Answer(200, {"spec": {"holderIdentity": "pod/u", "renewTime": NOW}}),
        "deployment": Answer(200, {"spec": {"replicas": 1}}),
        "pods": items(pod(running()), pod(running("agent"), "blue-0", "watchbill-agent")),
        "quotas": items(),
        "events": items(),
        "agents": items(agent()),
    }


def look(**changed: Answer) -> list[Line]:
    """What doctor says where these answers are others."""
    answers: Mapping[str, Answer] = {**sound(), **{key.replace("__", " "): value for key, value in changed.items()}}
    now = parse_time(NOW) or 0.0
    return check_all(Sight(namespace="crew", now=now, version="v1.36.3", answers=answers))


def problems(**changed: Answer) -> list[str]:
    """Its problems alone."""
    return [f"{line.check}: {line.message}" for line in look(**changed) if line.state == PROBLEM]


def test_a_sound_installation_has_no_problem() -> None:
    """Each check says what it found."""
    lines = look()

    assert {line.state for line in lines} == {OK}
    assert [line.check for line in lines] == ["api", "crds", "namespace", "claim", "rights", "operator", "agents"]
    assert f"1 of 1 pods are ready, {POD} leads" in render(lines)


def without_right() -> Answer:
    """The Role without its rule about statuses."""
    role = load_rbac("Role")
    rules = [rule for rule in role["rules"] if "agents/status" not in rule["resources"]]
    return Answer(200, {**role, "rules": rules})


def older() -> Answer:
    """The description of a Task without one field."""
    described = copy.deepcopy(document())
    del described["components"]["schemas"]["tasks"]["properties"]["spec"]["properties"]["outputSchema"]
    return Answer(200, described)


def unpullable() -> Answer:
    """A pod of the operator whose image cannot be had."""
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "a/b:1": no such host'}}
    told = {"name": "operator", "image": "a/b:1", "state": waiting}
    return items(pod({"phase": "Pending", "containerStatuses": [told]}))


def crashing() -> Answer:
    """A pod of the operator that ends at once."""
    last = {"terminated": {"exitCode": 78, "reason": "Error"}}
    told = {"name": "operator", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": last}
    return items(pod({"phase": "Running", "containerStatuses": [told]}))


def unscheduled() -> Answer:
    """A pod that waits for its claim; no node was asked."""
    return items(pod({"phase": "Pending"}))


RWX = event("PersistentVolumeClaim", "watchbill-coordination", LOCAL_PATH)
NO_POD = {"type": "ReplicaFailure", "status": "True", "message": QUOTA}
SPENT = {"metadata": {"name": "none"}, "status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}}
CLAUDE = agent(runner={"claude": {}})
WRONG: dict[str, tuple[dict[str, Answer], str]] = {
    "no definitions": ({"crds": NOT_THERE}, "crds: the CRDs are not installed: kubectl apply -k crds"),
    "older definitions": ({"document": older()}, "crds: the CRD tasks.watchbill.dev is of an older version"),
    "no namespace": ({"namespace": NOT_THERE}, "namespace: there is no namespace crew"),
    "not restricted": (
        {"namespace": Answer(200, {"metadata": {"name": "crew"}})},
        "kubectl label --overwrite namespace crew pod-security.kubernetes.io/enforce=restricted",
    ),
    "no claim": ({"claim": NOT_THERE}, "claim: there is no claim watchbill-coordination"),
    "no such class": (
        {"claim": claim("Pending", storageClassName="fast")},
        "there is no storage class fast, there are shared, standard",
    ),
    "no default class": (
        {"claim": claim("Pending"), "classes": items(storage_class("shared"))},
        "it names no storage class and the cluster has no default one, there are shared",
    ),
    "no ReadWriteMany": (
        {"claim": claim("Pending", "ReadWriteMany", storageClassName="standard"), "events": items(RWX)},
        f"it asks for ReadWriteMany: {LOCAL_PATH}; it takes another storage class, or ReadWriteOnce with one replica",
    ),
    "volume is gone": ({"claim": claim("Lost")}, "the volume of the claim watchbill-coordination is gone"),
    "no role": ({"role": NOT_THERE}, "rights: there is no Role watchbill-operator in crew: kubectl apply -k "),
    "one right less": ({"role": without_right()}, "lacks `patch agents/status` (watchbill.dev)"),
    "binding of another namespace": (
        {"binding": Answer(200, load_documents("manifests/base/rbac.yaml")[2])},
        "does not name the ServiceAccount watchbill-operator of crew",
    ),
    "not installed": (
        {"deployment": NOT_THERE, "lease": NOT_THERE},
        "operator: there is no operator: kubectl apply -k manifests/overlays/kind, or --namespace names another one",
    ),
    "scaled to 0": (
        {"deployment": Answer(200, {"spec": {"replicas": 0}})},
        "kubectl scale -n crew deployment/watchbill-operator --replicas=1",
    ),
    "operator's image": ({"pods": unpullable()}, f'{POD}: Back-off pulling image "a/b:1": no such host.'),
    "operator ends": (
        {"pods": crashing(), f"log__{POD}": Answer(200, {}, "x\nthe volume has no log\n")},
        f"{POD}: The operator ends again and again: exit code 78. Its last words: the volume has no log",
    ),
    "operator is not ready": (
        {"pods": items(pod(running(ready=False))), f"ready__{POD}": Answer(503, {}, "reading the log\n")},
        f"{POD}: reading the log",
    ),
    "operator waits for its claim": (
        {"pods": unscheduled(), "claim": claim("Pending", storageClassName="standard")},
        f"{POD}: it waits for its claim, see above",
    ),
    "nobody leads": (
        {"lease": Answer(200, {"spec": {"holderIdentity": "pod/gone", "renewTime": EARLIER}})},
        "nobody leads, though the pods are ready",
    ),
    "quota refuses the operator": (
        {"pods": items(), "deployment": Answer(200, {"spec": {"replicas": 1}, "status": {"conditions": [NO_POD]}})},
        f"operator: the operator has no pod: {QUOTA}",
    ),
    "quota of zero": (
        {"pods": items(), "quotas": items(SPENT)},
        "quotas: the ResourceQuota none leaves no room for 2 pods that are wanted (pods 0 of 0): raise it",
    ),
    "no secret": (
        {"agents": items(CLAUDE), "secret__watchbill-credentials": NOT_THERE},
        "secrets: there is no Secret watchbill-credentials, which the Agent blue names",
    ),
    "empty secret": (
        {"agents": items(CLAUDE), "secret__watchbill-credentials": Answer(200, {"metadata": {}})},
        "secrets: the Secret watchbill-credentials, which the Agent blue names, has no key",
    ),
    "agent in trouble": (
        {"agents": items(agent("CrashLooping", "blue-0 ends."))},
        "agents: the Agent blue: blue-0 ends.",
    ),
}


@pytest.mark.parametrize(("changed", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told_with_what_mends_it(changed: dict[str, Answer], words: str) -> None:
    """In the words of one sentence."""
    told = problems(**changed)

    assert any(words in line for line in told), told


def test_a_container_that_is_being_made_for_long_is_told_in_the_words_of_its_newest_event() -> None:
    """The kubelet says there what the pod's status does not."""
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": EARLIER}
    waiting = {"name": "agent", "state": {"waiting": {"reason": "ContainerCreating"}}}
    status = {"phase": "Pending", "conditions": [scheduled], "containerStatuses": [waiting]}
    stuck = pod(status, "green-0", "watchbill-agent")
    said = event("Pod", "green-0", 'MountVolume.SetUp failed for volume "v" : secret "k" not found', "FailedMount")

    told = problems(pods=items(pod(running()), stuck), events=items(said))

    assert told == ['pods: green-0: MountVolume.SetUp failed for volume "v" : secret "k" not found']


def test_a_suspended_agent_is_no_problem() -> None:
    """Somebody asked for it."""
    assert problems(agents=items(agent("Suspended", "It is given no new tasks."))) == []


def test_an_operator_outside_the_cluster_needs_no_deployment_nor_claim() -> None:
    """As `watchbill start` runs it; what it does not need is not checked."""
    lease = Answer(200, {"spec": {"holderIdentity": "host/desk/boot/1/2", "renewTime": NOW}})
    lines = look(deployment=NOT_THERE, claim=claim("Pending"), classes=NOT_THERE, quotas=NOT_THERE, lease=lease)
    states = {line.check: line.state for line in lines}

    assert PROBLEM not in states.values()
    assert (states["claim"], states["quotas"]) == (UNKNOWN, UNKNOWN)
    assert "a process on desk leads" in render(lines)


def test_what_may_not_be_read_is_not_checked() -> None:
    """A user without that right is told so, and nothing is claimed."""
    [line] = [line for line in look(role=Answer(403, {}, "roles is forbidden")) if line.check == "rights"]

    assert (line.state, line.message) == (UNKNOWN, "the API server did not say (403): roles is forbidden")


def test_every_line_is_one_line() -> None:
    """Also where a server's message is several."""
    assert "\n" not in render([Line("claim", PROBLEM, json.dumps({}) + "\nsecond")])
