"""Laws of podTemplates: the check is total, what it accepts weakens nothing, and merging twice is merging once."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from support.operator_cases import SETTINGS, an_agent
from watchbill_operator.pod_settings import RESTRICTED_CONTAINER
from watchbill_operator.pod_template import check_pod_template
from watchbill_operator.pods import build_pod
from watchbill_operator.strategic_merge import build_merged

WORDS = st.sampled_from(
    """
    spec metadata labels annotations containers initContainers volumes name image env value volumeMounts mountPath
    securityContext privileged runAsUser runAsNonRoot capabilities drop add ALL hostPath persistentVolumeClaim claimName
    watchbill-coordination coordination agent tmp /watchbill /watchbill/work /cache / tolerations envFrom resources
    limits ports containerPort hostPort seccompProfile type Unconfined RuntimeDefault projected sources emptyDir
    serviceAccountName hostNetwork nodeSelector lifecycle livenessProbe host readOnlyRootFilesystem WATCHBILL_X
    watchbill.dev/agent $patch imagePullSecrets hostAliases ip affinity
    """.split()  # noqa: SIM905  # a table of words
)
LEAVES = st.one_of(st.booleans(), st.integers(-1, 3), WORDS, st.none())
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=24,
)
NAMES = st.sampled_from(["agent", "proxy", "tmp", "cache", "coordination", "LANG", "HOME", "WATCHBILL_INBOX"])
SECURITY = st.dictionaries(
    st.sampled_from([*RESTRICTED_CONTAINER, "privileged", "runAsUser", "runAsNonRoot", "seccompProfile", "procMount"]),
    st.one_of(JSON, st.sampled_from([True, False, {"drop": ["ALL"]}, {"type": "RuntimeDefault"}])),
    max_size=3,
)
MOUNTS = st.fixed_dictionaries(
    {"mountPath": st.sampled_from(["/", "/watchbill", "/watchbill/inbox", "/cache", "/tmp", "/tmp/../watchbill"])},
    optional={"name": NAMES, "subPath": WORDS, "readOnly": st.booleans()},
)
CONTAINERS = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "image": WORDS,
        "env": st.lists(st.fixed_dictionaries({"name": NAMES}, optional={"value": WORDS}), max_size=3),
        "volumeMounts": st.lists(MOUNTS, max_size=3),
        "securityContext": SECURITY,
        "resources": JSON,
    },
)
VOLUMES = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "emptyDir": JSON,
        "hostPath": JSON,
        "persistentVolumeClaim": st.fixed_dictionaries({"claimName": WORDS}),
        "projected": JSON,
    },
)
PLAUSIBLE = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": st.lists(CONTAINERS, max_size=2),
                "initContainers": st.lists(CONTAINERS, max_size=2),
                "volumes": st.lists(VOLUMES, max_size=2),
                "securityContext": SECURITY,
                "tolerations": st.lists(JSON, max_size=2),
            },
        )
    },
    optional={"metadata": JSON},
)
TEMPLATES = st.one_of(JSON, PLAUSIBLE)


@given(TEMPLATES)
@settings(max_examples=300)
def test_any_template_is_answered_and_an_accepted_one_can_be_built(template: Any) -> None:
    """No JSON value makes the check or the merge fail."""
    if not check_pod_template(template):
        assert build_pod(an_agent(podTemplate=template), 0, SETTINGS)["kind"] == "Pod"


@given(TEMPLATES)
@settings(max_examples=300)
def test_an_accepted_template_weakens_nothing(template: Any) -> None:
    """Mounts of the volume, reserved variables, identity, owner and restrictions are those of the plain pod."""
    if check_pod_template(template):
        return
    plain = build_pod(an_agent(), 0, SETTINGS)
    pod = build_pod(an_agent(podTemplate=template), 0, SETTINGS)

    assert identity(pod) == identity(plain)
    assert guarded_mounts(pod) == guarded_mounts(plain)
    assert reserved_variables(pod) == reserved_variables(plain)
    assert claims(pod) == claims(plain)
    for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]:
        assert RESTRICTED_CONTAINER.items() <= container["securityContext"].items()
        assert not container["securityContext"].get("privileged")
        assert "runAsUser" not in container["securityContext"]


def identity(pod: dict[str, Any]) -> tuple[Any, ...]:
    """Who the pod is, who owns it, as whom it runs."""
    metadata, spec = pod["metadata"], pod["spec"]
    labels = {key: value for key, value in metadata["labels"].items() if key != "watchbill.dev/template"}
    reserved = {key: value for key, value in labels.items() if "/" in key and ("watchbill" in key or "app." in key)}
    return (
        metadata["name"],
        metadata["ownerReferences"],
        reserved,
        spec["securityContext"]["runAsUser"],
        spec["securityContext"]["runAsNonRoot"],
        spec["automountServiceAccountToken"],
        spec.get("serviceAccountName"),
        spec.get("hostNetwork"),
        spec["restartPolicy"],
    )


def guarded_mounts(pod: dict[str, Any]) -> list[Any]:
    """Every mount of the coordination volume, and every mount at or below /watchbill, in any container."""
    containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    mounts = [mount for container in containers for mount in container.get("volumeMounts", [])]
    return [m for m in mounts if m.get("name") == "coordination" or str(m["mountPath"]).startswith("/watchbill")]


def reserved_variables(pod: dict[str, Any]) -> list[Any]:
    """The operator's variables, in any container."""
    containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    variables = [item for container in containers for item in container.get("env", [])]
    return [item for item in variables if item["name"].startswith("WATCHBILL_")]


def claims(pod: dict[str, Any]) -> list[Any]:
    """Volumes that are the coordination volume or the node's."""
    return [
        volume
        for volume in pod["spec"]["volumes"]
        if "hostPath" in volume
        or (volume.get("persistentVolumeClaim") or {}).get("claimName") == SETTINGS.claim
        or volume["name"] == "coordination"
    ]


@given(base=st.dictionaries(WORDS, JSON, max_size=4), patch=st.dictionaries(WORDS, JSON, max_size=4))
@settings(max_examples=300)
def test_merging_twice_is_merging_once(base: dict[str, Any], patch: dict[str, Any]) -> None:
    """And neither argument is changed by it."""
    before = (repr(base), repr(patch))
    once = build_merged(base, patch)

    assert build_merged(once, patch) == once
    assert (repr(base), repr(patch)) == before
