"""The real Claude Code CLI, its requests through a real broker."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.broker_process import KEY, BrokerProcess
from support.model_scenarios import encode as argument
from support.model_stub import ModelStub
from support.raw_upstream import Asked, RawUpstream, chunk, encode, frame

sdk = pytest.importorskip("claude_agent_sdk")
pytestmark = pytest.mark.claude

CLI = Path(sdk.__file__).parent / "_bundled" / "claude"
SONNET = "claude-sonnet-4-5-20250929"
PLACEHOLDER = {"ANTHROPIC_API_KEY": "watchbill-broker", "ANTHROPIC_BASE_URL": "http://broker.internal"}


def test_a_session_goes_through_the_broker_and_costs_what_the_cli_reckons(tmp_path: Path) -> None:
    """A tool, an answer, one key; the broker's price is the CLI's own."""
    with ModelStub() as stub:
        url = stub.base_url(f"bash,{argument('env; cat /proc/self/environ')}", "session")
        stub.accept_keys("session", KEY)
        with BrokerProcess(url) as broker:
            broker.grant()

            result = run_cli(tmp_path, broker, PLACEHOLDER, model="claude-sonnet-5-5")

            assert (result["is_error"], result["num_turns"]) == (False, 2)
            assert broker.ledger()["costUSD"] == pytest.approx(result["total_cost_usd"])
            (shown,) = stub.requests("session")[1].tool_results
            assert "watchbill-broker" in shown
            assert KEY not in shown


def test_a_spent_budget_ends_a_session_at_once(tmp_path: Path) -> None:
    """The CLI does not try a 403 again."""
    with ModelStub() as stub, BrokerProcess(stub.base_url("costly", "budget")) as broker:
        broker.grant(0.5)

        result = run_cli(tmp_path, broker, PLACEHOLDER, model="claude-sonnet-5-5")

        usage = broker.usage()
        assert (result["is_error"], result["api_error_status"], usage["refused"]) == (True, 403, "budget")
        assert 0.5 <= usage["costUSD"] < 1.0
        assert len(stub.requests("budget")) == usage["requests"]


def test_bedrock_goes_through_the_broker(tmp_path: Path) -> None:
    """The CLI takes the Unix socket for Bedrock too, without signing anything."""

    def answer(_: Asked) -> Iterator[bytes]:
        yield build_head("application/vnd.amazon.eventstream")
        yield from (chunk(frame(event)) for event in conversation())
        yield b"0\r\n\r\n"

    environment = {
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "CLAUDE_CODE_SKIP_BEDROCK_AUTH": "1",
        "AWS_REGION": "us-east-1",
        "ANTHROPIC_BEDROCK_BASE_URL": "http://broker.internal",
    }
    with RawUpstream(answer) as api, BrokerProcess(api.url, {"WATCHBILL_PROVIDER": "bedrock"}) as broker:
        broker.set_credential("bedrock-token", "AWS_BEARER_TOKEN_BEDROCK")
        broker.grant()

        result = run_cli(tmp_path, broker, environment, model=f"us.anthropic.{SONNET}-v1:0")

        assert (result["result"], broker.ledger()["requests"]) == ("Hello from the cloud.", 1)
        assert broker.ledger()["costUSD"] == pytest.approx(result["total_cost_usd"])
        assert api.asked[0].field("authorization") == "Bearer bedrock-token"


def test_vertex_goes_through_the_broker(tmp_path: Path) -> None:
    """And Vertex, whose base URL has to end with /v1."""

    def answer(_: Asked) -> Iterator[bytes]:
        yield build_head("text/event-stream")
        yield from (chunk(encode(event)) for event in conversation())
        yield b"0\r\n\r\n"

    environment = {
        "CLAUDE_CODE_USE_VERTEX": "1",
        "CLAUDE_CODE_SKIP_VERTEX_AUTH": "1",
        "CLOUD_ML_REGION": "us-east5",
        "ANTHROPIC_VERTEX_PROJECT_ID": "my-project",
        "ANTHROPIC_VERTEX_BASE_URL": "http://broker.internal/v1",
    }
    with RawUpstream(answer) as api, BrokerProcess(api.url, {"WATCHBILL_PROVIDER": "vertex"}) as broker:
        broker.set_credential("vertex-token", "VERTEX_ACCESS_TOKEN")
        broker.grant()

        result = run_cli(tmp_path, broker, environment, model="claude-sonnet-4-5@20250929")

        assert (result["result"], broker.ledger()["requests"]) == ("Hello from the cloud.", 1)
        assert broker.ledger()["costUSD"] == pytest.approx(result["total_cost_usd"])
        assert api.asked[0].field("authorization") == "Bearer vertex-token"


def build_head(form: str) -> bytes:
    """The head of a streamed answer."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {form}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


def conversation() -> Iterator[dict[str, Any]]:
    """The events of one short answer."""
    usage = {"input_tokens": 1000, "output_tokens": 1}
    started = {"id": "msg_1", "type": "message", "role": "assistant", "model": SONNET, "content": [], "usage": usage}
    yield {"type": "message_start", "message": {**started, "stop_reason": None, "stop_sequence": None}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    text = {"type": "text_delta", "text": "Hello from the cloud."}
    yield {"type": "content_block_delta", "index": 0, "delta": text}
    yield {"type": "content_block_stop", "index": 0}
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 100}}
    yield {"type": "message_stop"}


def run_cli(folder: Path, broker: BrokerProcess, more: dict[str, str], *, model: str) -> dict[str, Any]:
    """One session of the CLI whose only way out is the attempt's socket; returns its result message."""
    socket = folder / "llm.sock"
    socket.symlink_to(broker.socket())
    environment = {
        "PATH": os.environ["PATH"],
        "CLAUDE_CONFIG_DIR": str(folder / "config"),
        "TMPDIR": str(folder),
        "ANTHROPIC_UNIX_SOCKET": str(socket),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1",
        "HTTPS_PROXY": "http://127.0.0.1:1",  # whoever tried another way out would fail
        "HTTP_PROXY": "http://127.0.0.1:1",
        **more,
    }
    rules = ["--permission-mode", "dontAsk", "--allowedTools", "Bash", "--setting-sources", "", "--model", model]
    command = [str(CLI), "-p", "--output-format", "json", *rules, "--", "hello"]
    done = subprocess.run(
        command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=90
    )
    return dict(json.loads(done.stdout))
