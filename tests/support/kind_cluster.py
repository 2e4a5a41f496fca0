"""The kind cluster of a test run: one for all workers, made with pytest-kind, with our images and kinds in it.

Owns its life. Invariant: it is deleted when the run ends, however it ends, unless `--keep-cluster` says otherwise; no
two runs share one, unless `--cluster-name` says so. Systems under test have namespaces of their own in it.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_kind import KindCluster

from support.audit import POLICY
from support.kind_tools import CHECKOUT, KindTools, run_tool
from support.waiting import wait_for

IMAGES = ("watchbill/operator:dev", "watchbill/agent:dev", "watchbill/broker:dev")
AUDIT = "/watchbill-audit"
READY_SECONDS = 120.0
FIRST_ACCOUNTS = ("default", "kube-system", "local-path-storage")


@dataclass(frozen=True)
class RunCluster:
    """The run's cluster; `start` makes it. Another process uses it by its folder: see `at`."""

    folder: Path
    name: str
    tools: KindTools

    @classmethod
    def start(cls, folder: Path, tools: KindTools, *, name: str = "", keep: bool = False) -> RunCluster:
        """Make it, or take the one of that name, and have it ready for systems under test."""
        tools.use()
        cluster = cls(folder, name or f"watchbill-tests-{secrets.token_hex(4)}", tools)
        if not keep:
            _delete_after(folder, cluster)
        (folder / "audit").mkdir()
        (folder / "audit" / "policy.json").write_text(json.dumps(POLICY))
        (folder / "kind.json").write_text(json.dumps(_build_kind_config(folder / "audit")))
        if cluster.name in run_tool(tools.kind, "get", "clusters").split():
            run_tool(tools.kind, "export", "kubeconfig", "--name", cluster.name, f"--kubeconfig={cluster.kubeconfig}")
        cluster.pytest_kind.create(folder / "kind.json")
        cluster.wait_until_ready()
        cluster.load_images()
        cluster.kubectl("apply", "-k", str(CHECKOUT / "crds"))
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        shape = {"name": cluster.name, "tools": {key: str(value) for key, value in asdict(tools).items()}}
        (folder / "cluster.json").write_text(json.dumps(shape))
        return cluster

    @classmethod
    def at(cls, folder: Path) -> RunCluster:
        """The cluster that another process started."""
        shape = json.loads((folder / "cluster.json").read_text())
        tools = KindTools(**shape["tools"])
        tools.use()
        return cls(folder, shape["name"], tools)

    @cached_property
    def pytest_kind(self) -> KindCluster:
        """As pytest-kind's own fixture would give it; what that package keeps in the working folder goes to ours."""
        with contextlib.chdir(self.folder):
            return KindCluster(
                self.name,
                self.kubeconfig,
                image=self.tools.image,
                kind_path=Path(self.tools.kind),
                kubectl_path=Path(self.tools.kubectl),
            )

    @property
    def kubeconfig(self) -> Path:
        """An administrator's, in the namespace `default`."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """JSON lines: requests of service accounts, each when it was answered. A cluster of others may have none."""
        return self._mounts.get(AUDIT, self.folder / "no audit") / "audit.jsonl"

    @property
    def node(self) -> str:
        """The node's container."""
        return f"{self.name}-control-plane"

    @property
    def var(self) -> Path:
        """The node's `/var`, as root on this host sees it."""
        return self._mounts["/var"]

    @cached_property
    def _mounts(self) -> Mapping[str, Path]:
        """Folders of this host by their names in the node."""
        mounts = json.loads(self._inspect("{{json .Mounts}}"))
        return {mount["Destination"]: Path(mount["Source"]) for mount in mounts}

    @property
    def node_root(self) -> Path:
        """The node's file system with all that is mounted in it, Secrets in memory too."""
        return Path("/proc") / self._inspect("{{.State.Pid}}").strip() / "root"

    @cached_property
    def gateway(self) -> str:
        """This host's address that pods reach, and that no other network does."""
        networks = json.loads(self._inspect("{{json .NetworkSettings.Networks}}"))
        return str(next(iter(networks.values()))["Gateway"])

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl as administrator; it must succeed."""
        return run_tool(self.tools.kubectl, "--kubeconfig", str(self.kubeconfig), *arguments)

    def write_kubeconfig(self, path: Path, namespace: str) -> Path:
        """Write an administrator's kubeconfig for that namespace."""
        content = json.loads(self.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
        content["contexts"][0]["context"]["namespace"] = namespace
        path.touch(mode=0o600)
        path.write_text(json.dumps(content))
        return path

    def wait_until_ready(self) -> None:
        """Wait until pods can be made, have volumes, and find each other by name."""
        self.kubectl("wait", "--for=condition=Ready", "node", "--all", f"--timeout={READY_SECONDS:.0f}s")
        for namespace in FIRST_ACCOUNTS:
            wait_for(lambda name=namespace: self._has_account(name), f"{namespace} has an account", READY_SECONDS)
        for deployment in ("local-path-storage/local-path-provisioner", "kube-system/coredns"):
            namespace, _, name = deployment.partition("/")
            self.kubectl("-n", namespace, "rollout", "status", f"deploy/{name}", f"--timeout={READY_SECONDS:.0f}s")

    def load_images(self) -> None:
        """Put the images of this checkout into the node; what was built or is there already costs seconds."""
        run_tool(str(CHECKOUT / "scripts" / "images"), "build")
        run_tool(self.tools.kind, "load", "docker-image", "--name", self.name, *IMAGES)

    def find_processes(self, container_id: str) -> list[int]:
        """The processes of a container (`containerd://…`) as this host knows them, oldest first."""
        mark = container_id.rpartition("/")[2].encode()
        assert mark, "the container has no id yet"
        found = [path for path in Path("/proc").glob("[0-9]*/cgroup") if mark in _read(path)]
        return sorted((int(path.parent.name) for path in found), key=_started)

    def stop(self) -> None:
        """Nothing more will be asked of it: whoever waits for our end deletes it now."""
        reaper = REAPERS.pop(self.folder, None)
        if reaper is not None and reaper.stdin is not None:
            reaper.stdin.close()
            reaper.wait(READY_SECONDS)

    def _inspect(self, view: str) -> str:
        return run_tool("docker", "inspect", "--format", view, self.node)

    def _has_account(self, namespace: str) -> bool:
        return bool(self.kubectl("-n", namespace, "get", "serviceaccount", "default", "--ignore-not-found").strip())


REAPERS: dict[Path, subprocess.Popen[bytes]] = {}


def _delete_after(folder: Path, cluster: RunCluster) -> None:
    """Have a process of another session delete cluster and folder as soon as this one closes a pipe, or dies at all."""
    delete = shlex.join([cluster.tools.kind, "delete", "cluster", "--name", cluster.name])
    line = f"cat; {delete} --kubeconfig {shlex.quote(str(cluster.kubeconfig))} && rm -rf {shlex.quote(str(folder))}"
    with (folder / "delete.log").open("wb") as log:
        REAPERS[folder] = subprocess.Popen(
            ["sh", "-c", line], stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )


def _build_kind_config(audit: Path) -> Mapping[str, Any]:
    """One node whose API server keeps an audit log in a folder of this host."""
    server = {
        "extraArgs": [
            {"name": "audit-policy-file", "value": f"{AUDIT}/policy.json"},
            {"name": "audit-log-path", "value": f"{AUDIT}/audit.jsonl"},
        ],
        "extraVolumes": [{"name": "audit", "hostPath": AUDIT, "mountPath": AUDIT, "readOnly": False}],
    }
    patch = json.dumps({"kind": "ClusterConfiguration", "apiServer": server})
    mounts: Sequence[Mapping[str, str]] = [{"hostPath": str(audit), "containerPath": AUDIT}]
    node = {"role": "control-plane", "extraMounts": mounts, "kubeadmConfigPatches": [patch]}
    return {"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": [node]}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _started(pid: int) -> int:
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()
    return int(fields[19]) if len(fields) > 19 else 0
