"""The scripted model as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.waiting import wait_for


@contextmanager
def serving(data: Path) -> Iterator[str]:
    """The base URL of a model that keeps its port in this folder."""
    address = data / "address"
    address.unlink(missing_ok=True)
    command = [sys.executable, "-m", "watchbill_local.model", "--data", str(data)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: address.exists() or process.poll() is not None, "the model serves", every=0.02)
        yield address.read_text().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def post(url: str, body: Any) -> tuple[int, bytes]:
    """Status and body of one request."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/messages", raw), timeout=20) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_model_answers_whole_and_streamed_and_keeps_its_port(tmp_path: Path) -> None:
    """Agents that were told the address find it again after a restart."""
    asked = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    with serving(tmp_path / "a model") as first:
        status, whole = post(first, asked)
        _, stream = post(first, {**asked, "stream": True})
        refused, why = post(first, b"no json")
        unknown, _ = post(f"{first}/elsewhere", asked)
        formless, form = post(
            first, {**asked, "tools": [{"name": "StructuredOutput", "input_schema": {"type": "string"}}]}
        )
    with serving(tmp_path / "a model") as second:
        pass

    message = json.loads(whole)
    assert (status, message["stop_reason"]) == (200, "end_turn")
    assert "scripted model" in message["content"][0]["text"]
    assert stream.startswith(b"event: message_start")
    assert b"event: message_stop" in stream
    assert (refused, json.loads(why)["error"]["type"]) == (400, "invalid_request_error")
    assert unknown == 404
    assert (formless, b"input_schema.type" in form) == (400, True)
    assert second == first
