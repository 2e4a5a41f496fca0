"""Watchbill installed in a namespace of the run's kind cluster, as `manifests/overlays/kind` has it: real pods.

Owns the generated kustomization and the namespace. Invariant: what is applied is the overlay, in another namespace;
what a test adds stands in `patches`, and nowhere else. The `watchbill` command runs on this host, on the volume as root
sees it; `repair` alone runs in a pod, as the sample Job does, since only there it can know that no operator lives.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from support.audit import read_asked
from support.kind_cluster import RunCluster
from support.kind_tools import CHECKOUT
from support.system import Done, System, is_alive, read_environment
from support.waiting import wait_for

MANIFESTS = CHECKOUT / "manifests"
OPERATOR = "app.kubernetes.io/name=watchbill-operator"
DEPLOYMENT = "deploy/watchbill-operator"
CLAIM = "watchbill-coordination"
FINAL = (65, 78)  #: the operator's exit codes that a person has to answer: another start changes nothing
CREW: Mapping[str, int] = {"blue": 2, "green": 1, "red": 1}  #: replicas of the sample's Agents
OF_THE_POD = ("WATCHBILL_POD_NAME", "WATCHBILL_POD_UID", "WATCHBILL_HTTP")
START_SECONDS = 120.0
#: Many systems share a node of few processors, and what is asked for is set aside.
SMALL_REQUEST: Mapping[str, Any] = {
    "target": {"kind": "Deployment", "name": "watchbill-operator"},
    "patch": json.dumps(
        [{"op": "replace", "path": "/spec/template/spec/containers/0/resources/requests/cpu", "value": "10m"}]
    ),
}


@dataclass(frozen=True)
class KindSystem(System):
    """One namespace and what can be asked of it."""

    cluster: RunCluster
    folder: Path
    namespace: str
    agents: Mapping[str, int] = field(default_factory=lambda: CREW)
    patches: Sequence[Mapping[str, Any]] = ()  #: kustomize's, over the overlay
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        """Made at the start."""
        return self.folder / "kubeconfig"

    @property
    def root(self) -> Path:
        """The claim's folder below the node's `/var`."""
        root = self._find_root()
        assert root is not None, f"the claim {CLAIM} has no volume yet"
        return root

    @property
    def has_guards(self) -> bool:
        """It is a whole cluster."""
        return True

    @property
    def environment(self) -> dict[str, str]:
        """With the volume, once there is one; no home of this machine's user is touched."""
        root = self._find_root()
        own = {"WATCHBILL_HOME": str(self.folder / "no home"), **({"WATCHBILL_ROOT": str(root)} if root else {})}
        return {**super().environment, **own, **self.settings}

    def prepare(self) -> None:
        """Make the folder, with what `start` applies."""
        overlay = self.folder / "overlay"
        overlay.mkdir(parents=True, exist_ok=True)
        self.cluster.write_kubeconfig(self.kubeconfig, self.namespace)
        resources = [os.path.relpath(MANIFESTS / "overlays" / "kind", overlay.resolve())]
        if self.agents:
            (overlay / "agents.json").write_text(json.dumps(_build_agents(self.agents)))
            resources.append("agents.json")
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.namespace,
            "resources": resources,
            "patches": [SMALL_REQUEST, *self.patches],
        }
        (overlay / "kustomization.yaml").write_text(json.dumps(content))

    def start(self) -> Done:
        """Apply the overlay and the Agents, and wait until all of them are ready."""
        self.prepare()
        done = self.try_kubectl("apply", "-k", str(self.folder / "overlay"))
        if done.code:
            return done
        return self._wait_until_ready()

    def stop(self, *, check_rights: bool = True) -> None:
        """Delete the namespace, without waiting: several at once would load the node, and nobody else looks at it."""
        forbidden = self.forbidden()
        self.try_kubectl("delete", "namespace", self.namespace, "--wait=false")
        self.try_kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false")
        assert not (forbidden and check_rights), f"rbac.yaml forbids what the operator asked: {forbidden}"

    def halt(self) -> None:
        """End the operator. Agents go on, and what they say waits in their outboxes."""
        self.end_operator()

    def end_operator(self) -> None:
        """Scale it to 0 and wait for the end of its pod."""
        self.kubectl("scale", DEPLOYMENT, "--replicas=0")
        self.kubectl("wait", "--for=delete", "pod", "-l", OPERATOR, "--timeout=90s")

    def operator_environment(self) -> dict[str, str]:
        """That of the pod's process, but for what is another place on this machine and for who it is."""
        inside = read_environment(self._operator_pid())
        kept = {key: inside[key] for key in inside if key.startswith("WATCHBILL_") and key not in OF_THE_POD}
        return {**self.environment, **kept, "WATCHBILL_ROOT": str(self.root), "WATCHBILL_NAMESPACE": self.namespace}

    def resume(self) -> Done:
        """Scale the operator to 1; one that ended for good, or waits after several ends, gets another pod."""
        self.kubectl("scale", DEPLOYMENT, "--replicas=1")
        pod = self._operator_pod()
        if pod and not _is_ready(pod) and _last_end(pod).get("exitCode") in FINAL:
            self.kubectl("delete", "pod", pod["metadata"]["name"])
        return self._wait_until_ready()

    def quickstart(self, tree: Path) -> Done:
        """As `make kind` runs it."""
        return self.watchbill("quickstart", str(tree))

    def kill_operator(self) -> None:
        """SIGKILL its process; the kubelet starts it again."""
        pid = self._operator_pid()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(pid), "the operator ended", every=0.01)

    def operator_log(self) -> str:
        """Of the operator's container that runs, or ran last."""
        return self.try_kubectl("logs", DEPLOYMENT, "-c", "operator").out

    def audited(self) -> list[dict[str, Any]]:
        """From the API server's log."""
        return read_asked(self.cluster.audit_log, self.namespace)

    def find_container(self, pod: str, container: str) -> list[int]:
        """By the id that the kubelet tells: it is in the name of the processes' cgroup."""
        found = self.get("pod", pod)
        assert found, f"there is no pod {pod}"
        statuses = found["status"].get("containerStatuses") or ()
        ids = [each.get("containerID", "") for each in statuses if each["name"] == container]
        return self.cluster.find_processes(ids[0]) if ids and ids[0] else []

    def secret_volume(self, pod: str, volume: str) -> Path:
        """In memory, and seen in the node alone."""
        found = self.get("pod", pod)
        assert found, f"there is no pod {pod}"
        return self._kubelet / "pods" / found["metadata"]["uid"] / "volumes" / "kubernetes.io~secret" / volume

    @property
    def written(self) -> Sequence[Path]:
        """The volume, what the kubelet keeps of pods and what they said, and what the API server logged."""
        logs = self.cluster.node_root / "var" / "log" / "pods"
        return [self.root, self._kubelet / "pods", logs, self.cluster.audit_log.parent]

    @property
    def host(self) -> str:
        """The gateway of the node's network: no other machine reaches it."""
        return self.cluster.gateway

    @property
    def python(self) -> str:
        """On the path of all images."""
        return "python"

    def let_agents_ask(self, address: str) -> None:
        """A policy beside those of the overlay, which close every port but 443."""
        done = self.apply(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": "agents-ask-a-test"},
                "spec": {
                    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "watchbill-agent"}},
                    "policyTypes": ["Egress"],
                    "egress": [{"to": [{"ipBlock": {"cidr": f"{address}/32"}}]}],
                },
            }
        )
        assert done.code == 0, done.err

    @property
    def _kubelet(self) -> Path:
        return self.cluster.node_root / "var" / "lib" / "kubelet"

    def watchbill(self, *arguments: str, timeout: float = 120.0) -> Done:
        """Run the `watchbill` command: here, but for `repair`."""
        if arguments[0] == "repair":
            return self._run_job(*arguments)
        return super().watchbill(*arguments, timeout=timeout)

    def _run_job(self, *arguments: str) -> Done:
        """Run the command as the sample Job runs `repair`; both of its outputs come as one."""
        job = YAML(typ="safe").load((MANIFESTS / "samples" / "repair-job.yaml").read_text())
        job["spec"]["template"]["spec"]["containers"][0] |= {"command": ["watchbill"], "args": list(arguments)}
        name = job["metadata"]["name"]
        self.kubectl("delete", "job", name, "--ignore-not-found", "--cascade=foreground")
        done = self.apply(job)
        assert done.code == 0, done.err
        pod = wait_for(lambda: self._ended_pod(f"job-name={name}"), f"{' '.join(arguments)} ended")
        said = self.kubectl("logs", pod["metadata"]["name"])
        return Done(int(_container_state(pod, "terminated")["exitCode"]), said, said)

    def _ended_pod(self, selector: str) -> dict[str, Any] | None:
        pods = self.list("pods", "-l", selector)
        return pods[0] if pods and _container_state(pods[0], "terminated") else None

    def _wait_until_ready(self) -> Done:
        """Wait for the operator, then for the Agents; say what there is where that does not come about."""
        words: list[str] = []

        def has_come_up() -> bool:
            pod = self._operator_pod()
            ended = _last_end(pod) if pod and not _container_state(pod, "running") else {}
            if ended.get("exitCode") in FINAL:
                words.append(ended.get("message") or self.operator_log())
            return bool(words) or bool(pod and _is_ready(pod) and self._runs(pod))

        try:
            wait_for(has_come_up, "the operator is ready", START_SECONDS, every=0.2)
        except AssertionError as error:
            return Done(1, "", f"{error}\n{self._describe()}")
        if words:
            return Done(2, "", words[0])
        wanted = [f"agent/{name}" for name, count in self.agents.items() if count and self.get("agent", name)]
        if not wanted:
            return Done(0, "", "")
        done = self.try_kubectl("wait", "--for=condition=Ready", *wanted, "--timeout=80s")
        return done if done.code == 0 else Done(done.code, done.out, f"{done.err}{self._describe()}")

    def _runs(self, pod: Mapping[str, Any]) -> bool:
        """Whether what the API tells of it is still so: an end is told a moment later."""
        container_id = pod["status"]["containerStatuses"][0].get("containerID", "")
        return bool(container_id and self.cluster.find_processes(container_id))

    def _describe(self) -> str:
        """What a person would look at first."""
        views = [("get", "pods,agents,pvc"), ("get", "events", "--sort-by=.lastTimestamp"), ("logs", DEPLOYMENT)]
        return "\n".join(self.try_kubectl(*view).out[-3000:] for view in views)

    def _operator_pod(self) -> dict[str, Any] | None:
        """The newest one that is not going."""
        pods = [pod for pod in self.list("pods", "-l", OPERATOR) if "deletionTimestamp" not in pod["metadata"]]
        return max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"], default=None)

    def _operator_pid(self) -> int:
        pod = self._operator_pod()
        assert pod, "there is no operator"
        return self.find_container(pod["metadata"]["name"], "operator")[0]

    def _find_root(self) -> Path | None:
        known: Path | None = self.__dict__.get("_root")
        if known is None:
            claim = ("pvc", CLAIM, "--ignore-not-found", "-o", "jsonpath={.spec.volumeName}")
            if not (volume := self.cluster.kubectl("-n", self.namespace, "get", *claim)):
                return None
            spec = json.loads(self.cluster.kubectl("get", "pv", volume, "-o", "json"))["spec"]
            place = (spec.get("hostPath") or spec["local"])["path"]
            known = self.__dict__["_root"] = self.cluster.var / Path(place).relative_to("/var")
        return known


def _build_agents(replicas: Mapping[str, int]) -> Mapping[str, Any]:
    """The sample's Agents of these names, with so many replicas."""
    samples = YAML(typ="safe").load_all((MANIFESTS / "samples" / "agents.yaml").read_text())
    items = [item for item in samples if item["metadata"]["name"] in replicas]
    for item in items:
        item["spec"]["replicas"] = replicas[item["metadata"]["name"]]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _container_state(pod: Mapping[str, Any], state: str) -> dict[str, Any]:
    """What the kubelet tells of its first container's `waiting`, `running` or `terminated`; empty: it is not."""
    statuses = pod["status"].get("containerStatuses") or [{}]
    return (statuses[0].get("state") or {}).get(state) or {}


def _last_end(pod: Mapping[str, Any]) -> dict[str, Any]:
    """How its first container ended last, whether it runs again or not."""
    statuses = pod["status"].get("containerStatuses") or [{}]
    return _container_state(pod, "terminated") or (statuses[0].get("lastState") or {}).get("terminated") or {}


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@contextmanager
def started(system: KindSystem) -> Iterator[KindSystem]:
    """Start it, and take it away in the end."""
    done = system.start()
    try:
        assert done.code == 0, done.err + done.out
        yield system
    finally:
        system.stop()
