"""A stub of the model's HTTP API on loopback, for tests that run the real Claude Code CLI: answers and faults to order.

`http://127.0.0.1:PORT/s/<scenario>/<run>` is a base URL: the scenario says what each request of that run gets
(`model_scenarios` has them), the run is any name that the test chooses; its requests are counted and kept apart.

    with ModelStub() as stub:
        url = stub.base_url("429,5,2", "a-run")     # twice 429 with retry-after 5, then an answer
        ...
        assert stub.requests("a-run")[0].headers["x-api-key"] == "..."

By hand: `PYTHONPATH=tests python -m support.model_stub --port 8787` writes a line a request to standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from support.model_scenarios import Body, Step, fails, find_step
from support.waiting import wait_for
from watchbill_local.model.sse import build_error, build_events, build_message, encode_event

MAX_BODY = 256 * 2**20
EVER_SECONDS = 86_400.0
KEY_HEADERS = ("x-api-key", "authorization")


@dataclass(slots=True)
class Received:
    """One request that came in, and what became of it."""

    run: str
    scenario: str
    number: int  #: of this run, from 0
    path: str  #: below the base URL
    headers: Mapping[str, str]  #: names in lower case
    body: Body
    at: float = field(default_factory=time.monotonic)
    status: int = 0  #: what was answered; 0: nothing yet
    ended: str = ""  #: `whole`, `cut`, `stalled`, `gone` (the client went first)

    @property
    def tools(self) -> list[str]:
        """Names of the tools that exist."""
        return [str(tool.get("name")) for tool in self.body.get("tools") or ()]

    @property
    def texts(self) -> list[str]:
        """All texts that the user's side said, in order: the prompt is the last one of the first request."""
        return [said for message in self._of_user() for said in _texts(message.get("content"))]

    @property
    def tool_results(self) -> list[str]:
        """What the tools answered, in order, exactly as the model sees it."""
        blocks = [block for message in self._of_user() for block in _blocks(message.get("content"))]
        found = [block.get("content") for block in blocks if block.get("type") == "tool_result"]
        return ["\n".join(_texts(content)) for content in found]

    def _of_user(self) -> list[Mapping[str, Any]]:
        return [message for message in self.body.get("messages") or () if message.get("role") == "user"]


class ModelStub:
    """The stub in a thread of its own; what came in can be asked for at any time from the test's thread."""

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, told: Callable[[Received], None] | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._told = told
        self._all: list[Received] = []
        self._numbers: Counter[str] = Counter()
        self._plays: dict[str, Callable[[int, Body], Step]] = {}
        self._keys: dict[str, frozenset[str]] = {}
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._serve, name="model-stub", daemon=True)

    def __enter__(self) -> ModelStub:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._host

    @property
    def url(self) -> str:
        """Where it listens, without a scenario."""
        return f"http://{self._host}:{self._port}"

    def base_url(self, scenario: str, run: str) -> str:
        """The base URL of a run."""
        return f"{self.url}/s/{scenario}/{run}"

    def play(self, run: str, steps: Callable[[int, Body], Step]) -> str:
        """Let a function of the test answer this run (number of the request, its body); returns the base URL."""
        self._plays[run] = steps
        return self.base_url("play", run)

    def accept_keys(self, run: str, *keys: str) -> None:
        """From now on this run's requests need one of these keys or tokens; others get a 401 and do not count."""
        self._keys[run] = frozenset(keys)

    def listen(self, path: Path, scenario: str, run: str) -> None:
        """Serve this scenario on a Unix socket too, whatever path the requests name."""
        self._do(self._listen(path, scenario, run))
        path.chmod(0o666)

    def requests(self, run: str) -> list[Received]:
        """The model requests of a run so far."""
        return [received for received in list(self._all) if received.run == run]

    def wait_for_requests(self, run: str, count: int, seconds: float = 60.0) -> list[Received]:
        """Wait until a run has sent so many; returns all of them."""
        what = f"{count} requests of {run}"
        return wait_for(lambda: found if len(found := self.requests(run)) >= count else [], what, seconds)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/s/{scenario}/{run}/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = int(self._runner.addresses[0][1])

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _listen(self, path: Path, scenario: str, run: str) -> None:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await self._answer(request, scenario, run, request.path.lstrip("/"))

        assert self._runner is not None
        runner = web.ServerRunner(web.Server(handle, handler_cancellation=True), shutdown_timeout=0.1)
        await runner.setup()
        await web.UnixSite(runner, str(path)).start()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        parts = request.match_info
        return await self._answer(request, parts["scenario"], parts["run"], parts["path"])

    async def _answer(self, request: web.BaseRequest, scenario: str, run: str, path: str) -> web.StreamResponse:
        raw = await request.read()
        if request.method != "POST" or not path.startswith("v1/messages"):
            return web.json_response(build_error("not_found_error", f"no {request.method} {path}"), status=404)
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(run, scenario, self._numbers[run], path, headers, json.loads(raw or b"{}"))
        self._all.append(received)
        try:
            answer = await self._send(request, received, self._find_step(received))
        except (asyncio.CancelledError, ConnectionError):
            received.ended = received.ended or "gone"
            raise
        finally:
            if self._told:
                self._told(received)
        return answer

    def _find_step(self, received: Received) -> Step:
        keys = self._keys.get(received.run)
        sent = {received.headers.get(name, "").removeprefix("Bearer ") for name in KEY_HEADERS}
        if keys is not None and not sent & keys:
            return fails(401, "authentication_error", "invalid x-api-key")
        self._numbers[received.run] += 1
        if received.scenario == "play":
            return self._plays[received.run](received.number, received.body)
        return find_step(received.scenario, received.number, received.body)

    async def _send(self, request: web.BaseRequest, received: Received, step: Step) -> web.StreamResponse:
        if step.hang:
            received.ended = "stalled"
            await asyncio.sleep(EVER_SECONDS)
        if step.abort:
            return _abort(request, received)
        await asyncio.sleep(step.head_delay)
        name = f"req_{uuid.uuid4().hex[:20]}"
        headers = {**step.headers, "request-id": name}
        received.status = step.status
        received.ended = "whole"
        if step.error:
            return web.json_response(build_error(*step.error, request=name), status=step.status, headers=headers)
        if step.raw is not None:
            return web.Response(status=step.status, text=step.raw, headers=headers)
        model = str(received.body.get("model", ""))
        message = build_message(step.reply, model=model, message=f"msg_{uuid.uuid4().hex[:20]}")
        if not received.body.get("stream"):
            return web.json_response(message, headers=headers)
        received.ended = ""
        return await self._stream(request, received, step, (message, headers))

    async def _stream(
        self,
        request: web.BaseRequest,
        received: Received,
        step: Step,
        content: tuple[Mapping[str, Any], dict[str, str]],
    ) -> web.StreamResponse:
        message, headers = content
        kind = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        response = web.StreamResponse(headers={**kind, **headers})
        await response.prepare(request)
        for number, event in enumerate(build_events(message)):
            if number == step.cut_after:
                _abort(request, received)
                return response
            if number == step.stall_after:
                received.ended = "stalled"
                await asyncio.sleep(EVER_SECONDS)
            if number == step.error_after:
                await response.write(encode_event(build_error(step.error_kind, "Overloaded")))
                break
            await response.write(encode_event(event))
            if step.delay:
                await asyncio.sleep(step.delay)
        await response.write_eof()
        received.ended = "whole"
        return response


def _abort(request: web.BaseRequest, received: Received) -> web.StreamResponse:
    received.ended = "cut"
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # which nobody gets


def _blocks(content: Any) -> list[Mapping[str, Any]]:
    return [block for block in content if isinstance(block, Mapping)] if isinstance(content, list) else []


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [str(block.get("text", "")) for block in _blocks(content) if block.get("type") == "text"]


def _tell(received: Received) -> None:
    facts = (received.run, received.scenario[:60], received.number, received.status, received.ended)
    names = ("run", "scenario", "number", "status", "ended")
    print(json.dumps(dict(zip(names, facts, strict=True))), flush=True)  # noqa: T201 - a program, run by hand


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A stub of the model's HTTP API on loopback.")
    parser.add_argument("--port", type=int, default=8787)
    with ModelStub(port=parser.parse_args().port, told=_tell) as made, contextlib.suppress(KeyboardInterrupt):
        print(made.url, flush=True)  # noqa: T201 - a program, run by hand
        threading.Event().wait()
