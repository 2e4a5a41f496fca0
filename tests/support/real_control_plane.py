"""A real control plane on loopback: etcd, kube-apiserver and kube-controller-manager as processes of this machine.

Owns their folder, credentials and lives. RBAC is on, admission is the server's default (Pod Security among it), etcd
syncs. `audit_log` tells what service accounts asked. Invariant: the processes die with the one that started them.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.audit import POLICY, read_asked
from support.waiting import wait_for

CHECKOUT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
READY_SECONDS = 90.0
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager")
CONTROLLERS = (
    "garbage-collector-controller",
    "namespace-controller",
    "persistentvolumeclaim-protection-controller",
    "pod-garbage-collector-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
)


def find_programs() -> tuple[Path | None, str]:
    """The folder with the programs; where there is none, the sentence that says how to get them."""
    done = subprocess.run(
        [CHECKOUT / "scripts" / "control-plane", "where"], capture_output=True, text=True, check=False
    )
    return (Path(done.stdout.strip()), "") if done.returncode == 0 else (None, done.stderr.strip())


@dataclass
class RealControlPlane:
    """One control plane; `start` makes it. Another process may use it by its folder: see `at`."""

    folder: Path
    programs: Path
    api_port: int
    etcd_port: int
    peer_port: int
    token: str
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @classmethod
    def start(cls, folder: Path, *, audit: bool = True) -> RealControlPlane:
        """Start all programs in a folder of their own and wait until they are ready."""
        programs, why_not = find_programs()
        if programs is None:
            raise RuntimeError(why_not)
        folder.mkdir(parents=True, exist_ok=True)
        api, etcd, peer = _free_ports(3)
        plane = cls(folder, programs, api, etcd, peer, secrets.token_hex(16))
        plane._write_credentials()
        plane._write(folder / "audit-policy.json", POLICY if audit else {**POLICY, "rules": [{"level": "None"}]})
        try:
            for name in plane.names:
                plane._spawn(name)
                if name != "etcd":
                    plane.wait_until_ready()
        except BaseException:
            plane.stop()
            raise
        shape = {"programs": str(programs), "ports": [api, etcd, peer], "token": plane.token}
        plane._write(folder / "plane.json", shape)
        return plane

    @classmethod
    def at(cls, folder: Path) -> RealControlPlane:
        """The control plane that another process started there; it cannot be stopped by this one."""
        shape = json.loads((folder / "plane.json").read_text())
        return cls(folder, Path(shape["programs"]), *shape["ports"], shape["token"])

    @property
    def names(self) -> Sequence[str]:
        """The programs there are: envtest's folders have no controller manager."""
        return [name for name in PROGRAMS if (self.programs / name).exists()]

    @property
    def server(self) -> str:
        """Where the API is."""
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def etcd(self) -> str:
        """Where etcd listens, without credentials."""
        return f"http://127.0.0.1:{self.etcd_port}"

    @property
    def authority(self) -> Path:
        """What the API server's certificate is checked by."""
        return self.folder / "certs" / "apiserver.crt"

    @property
    def kubeconfig(self) -> Path:
        """An administrator's, in the namespace `default`."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """JSON lines: requests of service accounts, each when it was answered."""
        return self.folder / "audit.jsonl"

    def audited(self, namespace: str, account: str = "watchbill-operator") -> list[dict[str, Any]]:
        """What that service account asked so far."""
        return read_asked(self.audit_log, namespace, account)

    def forbidden(self, namespace: str) -> list[str]:
        """What the operator of that namespace asked and had no right to, without repetitions."""
        asked = self.audited(namespace)
        refused = [entry for entry in asked if entry["annotations"]["authorization.k8s.io/decision"] == "forbid"]
        return sorted({f"{entry['verb']} {entry['requestURI']}" for entry in refused})

    def write_kubeconfig(self, path: Path, namespace: str) -> Path:
        """Write an administrator's kubeconfig for that namespace."""
        cluster = {"server": self.server, "certificate-authority": str(self.authority)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": "admin", "namespace": namespace}}],
            "current-context": "real",
        }
        self._write(path, content)
        return path

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, bytes]:
        """One request as administrator: status and body."""
        content = {"Content-Type": "application/json"} if body is not None else {}
        request = urllib.request.Request(
            self.server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", **content},
        )
        trusted = ssl.create_default_context(cafile=str(self.authority))
        try:
            with urllib.request.urlopen(request, timeout=10, context=trusted) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def compact(self) -> int:
        """Let etcd forget all history up to now; returns the revision. Watches from before get 410."""
        revision = int(self._ask_etcd("kv/range", {"key": "AA=="})["header"]["revision"])
        self._ask_etcd("kv/compaction", {"revision": str(revision), "physical": True})
        return revision

    def kill(self, name: str) -> None:
        """SIGKILL one program."""
        child = self.children[name]
        child.kill()
        child.wait()

    def restart(self, name: str) -> None:
        """Kill one program and start it again; returns when all is ready."""
        self.kill(name)
        self._spawn(name)
        self.wait_until_ready()

    def stop(self) -> None:
        """End all programs, the last one first."""
        for child in reversed(self.children.values()):
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def wait_until_ready(self) -> None:
        """Wait until the API serves and, where there is a controller manager, its controllers run."""
        wait_for(lambda: self._is_well(lambda: self.call("GET", "/readyz")), "the API server is ready", READY_SECONDS)
        if "kube-controller-manager" in self.children:
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            wait_for(lambda: self._is_well(lambda: self.call("GET", account)), "controllers run", READY_SECONDS)

    def _is_well(self, ask: Callable[[], tuple[int, bytes]]) -> bool:
        for name, child in self.children.items():
            if child.poll() is not None:
                words = (self.folder / f"{name}.log").read_text(errors="replace")[-1500:]
                raise RuntimeError(f"{name} ended with {child.returncode}: {words}")
        try:
            return ask()[0] == 200
        except (OSError, ssl.SSLError):
            return False

    def _spawn(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            argv = [str(self.programs / name), *self._arguments(name)]
            self.children[name] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, preexec_fn=_die_with_parent
            )

    def _arguments(self, name: str) -> list[str]:
        if name == "etcd":
            client, peer = self.etcd, f"http://127.0.0.1:{self.peer_port}"
            return [
                "--data-dir=etcd-data",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
            ]
        if name == "kube-apiserver":
            return [
                f"--etcd-servers={self.etcd}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                f"--secure-port={self.api_port}",
                "--cert-dir=certs",
                "--authorization-mode=Node,RBAC",
                "--token-auth-file=tokens.csv",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-account-key-file=accounts.pub",
                "--service-account-signing-key-file=accounts.key",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--allow-privileged=true",  # as kubeadm does: what keeps such pods out is Pod Security
                "--kubelet-preferred-address-types=InternalIP",  # the name of the process node does not resolve
                "--audit-policy-file=audit-policy.json",
                "--audit-log-path=audit.jsonl",
                *(() if "kube-controller-manager" in self.names else ("--disable-admission-plugins=ServiceAccount",)),
            ]
        return [
            "--kubeconfig=kubeconfig",
            f"--controllers={','.join(CONTROLLERS)}",
            "--use-service-account-credentials",
            "--service-account-private-key-file=accounts.key",
            "--root-ca-file=certs/apiserver.crt",
            "--leader-elect=false",
            "--secure-port=0",
        ]

    def _write_credentials(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = key.public_key().public_bytes(serialization.Encoding.PEM, form)
        (self.folder / "accounts.key").write_bytes(private)
        (self.folder / "accounts.pub").write_bytes(public)
        (self.folder / "tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n')
        self.write_kubeconfig(self.kubeconfig, "default")

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        path.touch(mode=0o600)
        path.write_text(json.dumps(content, indent=1))

    def _ask_etcd(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.etcd}/v3/{path}", method="POST", data=json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            content: dict[str, Any] = json.loads(answer.read())
            return content


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now. Another program may take one before we do: the start fails then, loudly."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _die_with_parent() -> None:
    """In the child: be killed when the thread that started us ends, so that nothing is left of an aborted run."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
