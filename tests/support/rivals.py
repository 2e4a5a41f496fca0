"""Operator processes of one local system that are this test's own children: paused, resumed, told apart.

On a real control plane each has a token of its own, so that the audit log tells which of them wrote what.
"""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.system import System
from support.waiting import PATIENCE_SECONDS, wait_for

LEASE_SECONDS = 2
WRITES = ("create", "update", "patch", "delete")


@dataclass
class RivalOperator:
    """One operator of the system; made by `take_over` or `join`."""

    system: System
    folder: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "watchbill_operator"],
                env={**self.environment, "WATCHBILL_STATUS_FILE": str(self.folder / "status.json")},
                stderr=log,
            )

    @property
    def told(self) -> dict[str, Any]:
        """What it tells of itself; empty before it does."""
        try:
            status: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return status

    @property
    def log(self) -> str:
        """What it said."""
        return (self.folder / "log").read_text(errors="replace")

    def wait_until_leading(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait until it leads; return its epoch."""
        wait_for(
            lambda: self.told.get("phase") == "leading" or self.process.poll() is not None, "it leads", seconds, 0.02
        )
        assert self.process.poll() is None, self.log[-3000:]
        return int(self.told["epoch"])

    def pause(self) -> None:
        """Stop it where it stands, and wait until the kernel has."""
        self.process.send_signal(signal.SIGSTOP)
        path = Path(f"/proc/{self.process.pid}/stat")
        wait_for(lambda: path.read_text().rpartition(")")[2].split()[0] == "T", "it is paused", every=0.005)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for its end; return the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end: {self.log[-3000:]}") from None

    def end(self) -> None:
        """End it, whatever was done to it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    def writes(self, since: int = 0) -> list[tuple[str, str, int]]:
        """What it wrote to a real API server: verb, resource and code, from that entry of the audit log on."""
        mine = f"JTI={_credential_id(Path(self.environment['KUBECONFIG']))}"
        return [
            (entry["verb"], "/".join(_resource(entry)), entry["responseStatus"]["code"])
            for entry in self.system.audited()[since:]
            if entry["verb"] in WRITES
            and mine in entry["user"].get("extra", {}).get("authentication.kubernetes.io/credential-id", ())
        ]


def start_rival(system: System, name: str, environment: Mapping[str, str]) -> RivalOperator:
    """Start another operator of this system, with the environment of its own one (see `end_own`)."""
    folder = system.kubeconfig.parent / "rivals" / name
    own = {
        **environment,
        "WATCHBILL_LEASE_SECONDS": str(LEASE_SECONDS),
        "WATCHBILL_HTTP": "127.0.0.1:0",
    }
    if system.has_guards:
        config = json.loads(Path(environment["KUBECONFIG"]).read_text())
        config["users"][0]["user"] = {"token": system.kubectl("create", "token", "watchbill-operator").strip()}
        path = system.kubeconfig.with_name(f"{name}.kubeconfig")
        path.write_text(json.dumps(config))
        own["KUBECONFIG"] = str(path)
    return RivalOperator(system, folder, own)


def end_own(system: System) -> dict[str, str]:
    """Stop the system's own operator in an orderly way; return what another is started with in its place."""
    environment = system.operator_environment()
    system.end_operator()
    return environment


def _credential_id(kubeconfig: Path) -> str:
    payload = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"].split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"])


def _resource(entry: Mapping[str, Any]) -> list[str]:
    reference = entry["objectRef"]
    return [reference["resource"], *([reference["subresource"]] if "subresource" in reference else [])]
