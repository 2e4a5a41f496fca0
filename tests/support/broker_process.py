"""A real broker process, and both ends around it: the operator's grants and an agent's requests.

Owns the process that it starts: `close` ends it whatever a test did.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.waiting import PATIENCE_SECONDS, wait_for

KEY = "sk-ant-marked-0123456789-marked"
TASK = "0b1c2d3e-0000-4000-8000-00000000abcd"
FOLDERS = ("sockets", "grants", "ledger", "credentials")


class SocketConnection(http.client.HTTPConnection):
    """HTTP on a Unix socket, however long its path."""

    def __init__(self, path: Path, timeout: float = PATIENCE_SECONDS) -> None:
        super().__init__("broker.internal", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect by the folder's descriptor: a path may have more than 107 bytes."""
        self.sock = connect(self._path, self.timeout or PATIENCE_SECONDS)


def connect(path: Path, timeout: float = PATIENCE_SECONDS) -> socket.socket:
    """A connection to a Unix socket."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
        return connection
    finally:
        os.close(folder)


class BrokerProcess:
    """A broker with folders of its own."""

    def __init__(self, upstream: str, environment: Mapping[str, str] | None = None) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="a broker "))
        for name in FOLDERS:
            (self.root / name).mkdir()
        self.set_credential(KEY)
        self._environment = {"WATCHBILL_UPSTREAM": upstream, **(environment or {})}
        self._grants: dict[tuple[str, int], float | None] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> BrokerProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def log(self) -> str:
        """What it said on stderr so far."""
        return (self.root / "log").read_text()

    def start(self) -> BrokerProcess:
        """Start the process and wait until it serves."""
        lives = self.log.count("is ready") if (self.root / "log").exists() else 0
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WATCHBILL_")}
        environment |= {f"WATCHBILL_{name.upper()}": str(self.root / name) for name in FOLDERS}
        with (self.root / "log").open("ab") as log:
            command = [sys.executable, "-m", "watchbill_broker"]
            self.process = subprocess.Popen(command, env=environment | self._environment, stderr=log)
        wait_for(lambda: self.log.count("is ready") > lives, "the broker is ready", every=0.01)
        return self

    def close(self) -> None:
        """End the process and remove its folders."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE_SECONDS)
        shutil.rmtree(self.root, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> float:
        """SIGTERM; returns how many seconds it took."""
        assert self.process is not None
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_SECONDS)
        return time.monotonic() - start

    def set_credential(self, value: str | None, name: str = "ANTHROPIC_API_KEY") -> None:
        """Replace a file of the Secret; None removes it."""
        path = self.root / "credentials" / name
        if value is None:
            path.unlink(missing_ok=True)
            return
        path.with_name("new").write_text(value)
        path.with_name("new").rename(path)

    def grant(self, budget: float | None = None, *, attempt: int = 1, task: str = TASK) -> Path:
        """Let an attempt use the model; returns its socket once that is there."""
        self._grants[task, attempt] = budget
        self._write_grants()
        path = self.socket(attempt, task)
        wait_for(path.exists, f"the socket {path.name}", every=0.002)
        return path

    def withdraw(self, *, attempt: int = 1, task: str = TASK) -> None:
        """Let an attempt use the model no longer."""
        del self._grants[task, attempt]
        self._write_grants()

    def write_grants(self, content: bytes) -> None:
        """Replace the file of grants by any bytes."""
        path = self.root / "grants" / "grants.json"
        path.with_name("new").write_bytes(content)
        path.with_name("new").rename(path)

    def socket(self, attempt: int = 1, task: str = TASK) -> Path:
        """The path of an attempt's socket."""
        return self.root / "sockets" / f"{task}-{attempt}.sock"

    def ask(
        self, body: Any = None, *, path: str = "/v1/messages?beta=true", method: str = "POST", attempt: int = 1
    ) -> tuple[int, dict[str, str], bytes]:
        """One request of an agent: status, fields and body of the answer."""
        connection = SocketConnection(self.socket(attempt))
        try:
            content = None if body is None and method != "POST" else encode_request(body)
            connection.request(method, path, content, {"content-type": "application/json", "x-api-key": "its own"})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def usage(self, attempt: int = 1) -> dict[str, Any]:
        """What the broker tells the attempt's runner."""
        status, _, body = self.ask(path="/watchbill/usage", method="GET", attempt=attempt)
        assert status == 200
        return dict(json.loads(body))

    def ledger(self, attempt: int = 1) -> dict[str, Any]:
        """What the operator reads."""
        return dict(json.loads((self.root / "ledger" / f"{TASK}-{attempt}.json").read_text()))

    def wait_for_requests(self, count: int, attempt: int = 1) -> dict[str, Any]:
        """Wait until so many answers stand in the ledger."""
        path = self.root / "ledger" / f"{TASK}-{attempt}.json"
        wait_for(
            lambda: path.exists() and self.ledger(attempt)["requests"] >= count, f"{count} in the ledger", every=0.01
        )
        return self.ledger(attempt)

    def peak_kilobytes(self) -> int:
        """The most memory that the process ever had."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    def _write_grants(self) -> None:
        entries = [
            {"task": task, "attempt": attempt, "budgetUSD": budget} for (task, attempt), budget in self._grants.items()
        ]
        self.write_grants(json.dumps({"v": 1, "attempts": entries}).encode())


def encode_request(body: Any) -> bytes:
    """A body: bytes as they are, anything else as JSON, nothing as a small request of a message."""
    if isinstance(body, bytes):
        return body
    small = {"model": "claude-opus-5-5", "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]}
    return json.dumps(small if body is None else body).encode()
