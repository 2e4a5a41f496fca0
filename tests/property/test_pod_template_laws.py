"""Laws of podTemplates: the check is total, what it accepts weakens nothing, and merging twice is merging once."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from support.operator_cases import SETTINGS, an_agent
from watchbill_operator.pod_settings import RESTRICTED_CONTAINER
from watchbill_operator.pod_template import check_agent_template, check_pod_template
from watchbill_operator.pods import build_pod
from watchbill_operator.strategic_merge import build_merged

WORDS = st.sampled_from(
    """
    spec metadata labels annotations containers initContainers volumes name image env value volumeMounts mountPath
    securityContext privileged runAsUser runAsNonRoot capabilities drop add ALL hostPath persistentVolumeClaim claimName
    watchbill-coordination coordination agent tmp /watchbill /watchbill/work /cache / tolerations envFrom resources
    limits ports containerPort hostPort seccompProfile type Unconfined RuntimeDefault projected sources emptyDir
    serviceAccountName hostNetwork nodeSelector lifecycle livenessProbe host readOnlyRootFilesystem WATCHBILL_X
    watchbill.dev/agent $patch imagePullSecrets hostAliases ip affinity broker credentials broker-tmp secret secretRef
    secretKeyRef valueFrom secretName watchbill-credentials key
    """.split()  # noqa: SIM905  # a table of words
)
LEAVES = st.one_of(st.booleans(), st.integers(-1, 3), WORDS, st.none())
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=24,
)
NAMES = st.sampled_from(
    ["agent", "proxy", "tmp", "cache", "coordination", "broker", "credentials", "LANG", "HOME", "WATCHBILL_INBOX"]
)
REFERENCES = st.fixed_dictionaries({"name": st.sampled_from(["watchbill-credentials", "git"])})
SOURCES = st.fixed_dictionaries({}, optional={"secretRef": REFERENCES, "configMapRef": REFERENCES})
VALUES = st.fixed_dictionaries({}, optional={"secretKeyRef": REFERENCES, "configMapKeyRef": REFERENCES})
VARIABLES = st.fixed_dictionaries({"name": NAMES}, optional={"value": WORDS, "valueFrom": VALUES})
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
        "env": st.lists(VARIABLES, max_size=3),
        "envFrom": st.lists(SOURCES, max_size=2),
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
        "projected": st.one_of(
            JSON,
            st.fixed_dictionaries({"sources": st.lists(st.fixed_dictionaries({"secret": REFERENCES}), max_size=2)}),
        ),
        "secret": st.fixed_dictionaries({"secretName": st.sampled_from(["watchbill-credentials", "git"])}),
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
@settings(max_examples=300, deadline=None)
def test_any_template_is_answered_and_an_accepted_one_can_be_built(template: Any) -> None:
    """No JSON value makes the check or the merge fail."""
    if not check_pod_template(template):
        assert build_pod(an_agent(podTemplate=template), 0, SETTINGS)["kind"] == "Pod"


@given(TEMPLATES)
@settings(max_examples=300, deadline=None)
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


@given(TEMPLATES)
@settings(max_examples=200, deadline=None)
def test_an_accepted_template_leaves_the_credential_to_the_broker(template: Any) -> None:
    """The broker's container and volumes are those of the plain pod, and nothing else names the Secret."""
    agent = an_agent(runner={"claude": {}}, podTemplate=template)
    if check_agent_template(agent):
        return
    plain, pod = (build_pod(each, 0, SETTINGS)["spec"] for each in (an_agent(runner={"claude": {}}), agent))

    assert broker_parts(pod) == broker_parts(plain)
    assert "watchbill-credentials" not in shown_secrets(pod)


def shown_secrets(spec: dict[str, Any]) -> set[str]:
    """The Secrets that any container but the broker could read, by variable or by volume."""
    shown: set[str] = set()
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        shown |= {each.get("secretRef", {}).get("name", "") for each in container.get("envFrom", [])}
        references = [each.get("valueFrom", {}).get("secretKeyRef", {}) for each in container.get("env", [])]
        shown |= {each.get("name", "") for each in references}
    for volume in spec["volumes"]:
        if volume["name"] != "credentials":
            sources = [*volume.get("projected", {}).get("sources", []), {"secret": volume.get("secret", {})}]
            secrets = [each.get("secret", {}) for each in sources]
            shown |= {each.get("secretName") or each.get("name", "") for each in secrets}
    return shown


def broker_parts(spec: dict[str, Any]) -> list[Any]:
    """The broker's container, its volumes, and who mounts them."""
    containers = [*spec["containers"], *spec.get("initContainers", [])]
    own = {"broker", "credentials", "broker-tmp"}
    mounts = [(each["name"], mount) for each in containers for mount in each.get("volumeMounts", [])]
    return [
        [each for each in containers if each["name"] == "broker"],
        [each for each in spec["volumes"] if each["name"] in own],
        [(name, mount) for name, mount in mounts if mount.get("name") in own],
    ]


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
@settings(max_examples=300, deadline=None)
def test_merging_twice_is_merging_once(base: dict[str, Any], patch: dict[str, Any]) -> None:
    """And neither argument is changed by it."""
    before = (repr(base), repr(patch))
    once = build_merged(base, patch)

    assert build_merged(once, patch) == once
    assert (repr(base), repr(patch)) == before
