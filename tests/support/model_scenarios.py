"""What the stub of the model answers: one scenario a name, `name,argument,…`, step by step.

Owns the scenarios; each says what the n-th request of a run gets. The shapes are those of the real API as far as it is
known: statuses, error types, headers. `model_stub` sends them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from watchbill_local.model.sse import Block, Reply, Usage, build_text, build_use

Body = Mapping[str, Any]
Scenario = Callable[..., "Step"]

EVER = 10**9
SMALL = Usage()
SILENCE = Reply(())
DEAR = Usage(read=100_000, written=20_000)
REQUEST_LIMITS = {
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-requests-remaining": "0",
    "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:00Z",
}
SCENARIOS: dict[str, Scenario] = {}


@dataclass(frozen=True, slots=True)
class Step:
    """One answer and what goes wrong with it. Event numbers count the events of the stream from 0."""

    reply: Reply = SILENCE
    status: int = 200
    error: tuple[str, str] | None = None  #: type and message
    raw: str | None = None  #: a body that is no message
    headers: Mapping[str, str] = field(default_factory=dict)
    head_delay: float = 0.0  #: seconds before the headers
    delay: float = 0.0  #: seconds between events
    hang: bool = False  #: accept, never answer
    abort: bool = False  #: reset the connection before the headers
    cut_after: int | None = None  #: reset it after so many events
    stall_after: int | None = None  #: say nothing more after so many events
    error_after: int | None = None  #: an error event after so many events
    error_kind: str = "overloaded_error"


def says(said: str, usage: Usage = SMALL) -> Step:
    """A text that ends the turn."""
    return Step(Reply((build_text(said),), usage))


def uses(name: str, arguments: Mapping[str, Any], usage: Usage = SMALL) -> Step:
    """The use of one tool."""
    return Step(Reply((build_use(name, arguments),), usage))


def runs(command: str, **more: Any) -> Step:
    """The use of Bash."""
    return uses("Bash", {"command": command, "description": "scripted", **more})


def fails(status: int, kind: str, said: str, headers: Mapping[str, str] | None = None) -> Step:
    """An HTTP error as the API words it."""
    return Step(status=status, error=(kind, said), headers=headers or {})


def encode(value: Any) -> str:
    """A value as an argument of a scenario that takes JSON or text in hex: it has to stand in a URL."""
    return (value if isinstance(value, str) else json.dumps(value)).encode().hex()


def scripted(*steps: list[Block]) -> str:
    """The scenario that answers with these blocks, one list a request; the last one for ever."""
    return f"seq,{encode(list(steps))}"


def find_step(scenario: str, number: int, body: Body) -> Step:
    """What the request with this number gets, from 0."""
    name, *arguments = scenario.split(",")
    if name not in SCENARIOS:
        return fails(404, "not_found_error", f"unknown scenario {name}")
    return SCENARIOS[name](number, body, *arguments)


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    """Give a function its name in the URL."""

    def keep(function: Scenario) -> Scenario:
        SCENARIOS[name] = function
        return function

    return keep


def answer_after(number: int, count: int | str, bad: Step) -> Step:
    """`bad` for the first `count` requests, then a good answer."""
    return bad if number < int(count) else says("ok after the fault")


# What goes well.


@scenario("text")
def _text(_number: int, _body: Body, said: str = "Hello from the stub.") -> Step:
    return says(said)


@scenario("echo")
def _echo(number: int, body: Body) -> Step:
    return says(f"Hello from the stub, request number {number}, model {body.get('model')}.")


@scenario("bigtext")
def _bigtext(_number: int, _body: Body, size: str) -> Step:
    return says("b" * int(size))


@scenario("write")
def _write(number: int, _body: Body, path: str) -> Step:
    arguments = {"file_path": path.replace("|", "/"), "content": "written by the stub\n"}
    return uses("Write", arguments) if number == 0 else says("Done writing.")


@scenario("bash")
def _bash(number: int, _body: Body, command: str) -> Step:
    return runs(bytes.fromhex(command).decode()) if number == 0 else says("Done with Bash.")


@scenario("sleepbash")
def _sleepbash(number: int, _body: Body, seconds: str) -> Step:
    line = f"echo $$ > bash.pid; sleep {seconds}"
    return runs(line, timeout=600_000) if number == 0 else says("after the sleep")


@scenario("tool")
def _tool(number: int, _body: Body, name: str, arguments: str) -> Step:
    return uses(name, json.loads(bytes.fromhex(arguments))) if number == 0 else says("Done with the tool.")


@scenario("seq")
def _seq(number: int, _body: Body, steps: str) -> Step:
    script = json.loads(bytes.fromhex(steps))
    return Step(Reply(tuple(script[min(number, len(script) - 1)])))


@scenario("loop")
def _loop(number: int, _body: Body) -> Step:
    return runs(f"echo step {number}")


@scenario("sleeploop")
def _sleeploop(number: int, _body: Body, seconds: str, count: str) -> Step:
    line = f"timeout {seconds} tail -f /dev/null; echo {number}"
    return runs(line) if number < int(count) else says("end of the loop")


@scenario("so")
def _structured(number: int, body: Body, answer: str = "") -> Step:
    names = [tool.get("name") for tool in body.get("tools") or ()]
    value = json.loads(bytes.fromhex(answer)) if answer else {"verdict": "ok", "count": 3}
    return uses("StructuredOutput", value) if number == 0 and "StructuredOutput" in names else says("structured, done")


@scenario("sobad")
def _structured_badly(_number: int, _body: Body) -> Step:
    return uses("StructuredOutput", {"verdict": 7})


@scenario("sonone")
def _structured_never(_number: int, _body: Body) -> Step:
    return says("I will not call it.")


@scenario("okrl")
def _warned(_number: int, _body: Body) -> Step:
    soon = str(int(time.time()) + 3600)
    prefix = "anthropic-ratelimit-unified"
    headers = {
        f"{prefix}-status": "allowed_warning",
        f"{prefix}-reset": soon,
        f"{prefix}-representative-claim": "five_hour",
        f"{prefix}-5h-utilization": "0.93",
        f"{prefix}-5h-reset": soon,
        f"{prefix}-5h-status": "allowed_warning",
        f"{prefix}-5h-surpassed-threshold": "0.9",
        f"{prefix}-fallback-percentage": "0.5",
    }
    return replace(says("ok, with headers that warn"), headers=headers)


# What it costs.


@scenario("costly")
def _costly(number: int, _body: Body, count: str = str(EVER)) -> Step:
    line = {"command": f"echo cost {number}", "description": "c"}
    return uses("Bash", line, DEAR) if number < int(count) else says("dear, done")


@scenario("costlytext")
def _costlytext(_number: int, _body: Body) -> Step:
    return says("a dear answer", DEAR)


@scenario("huge")
def _huge(number: int, _body: Body, tokens: str) -> Step:
    line = {"command": f"echo {number}", "description": "h"}
    return uses("Bash", line, Usage(int(tokens), 50)) if number < 3 else says("end of huge", Usage(1000, 5))


# Limits and errors of the API.


@scenario("429")
def _429(number: int, _body: Body, retry_after: str = "-", count: str = str(EVER)) -> Step:
    headers = REQUEST_LIMITS | ({} if retry_after == "-" else {"retry-after": retry_after})
    bad = fails(429, "rate_limit_error", "This request would exceed your rate limit.", headers)
    return answer_after(number, count, bad)


@scenario("429sr")
def _429sr(_number: int, _body: Body) -> Step:
    return fails(429, "rate_limit_error", "no retry please", REQUEST_LIMITS | {"x-should-retry": "false"})


@scenario("429sub")
def _429sub(_number: int, _body: Body) -> Step:
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": str(int(time.time()) + 3600),
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
        "retry-after": "3600",
    }
    return fails(429, "rate_limit_error", "This request would exceed your account's rate limit.", headers)


@scenario("write429")
def _write429(number: int, _body: Body, path: str, retry_after: str = "1") -> Step:
    arguments = {"file_path": path.replace("|", "/"), "content": "x\n"}
    limited = fails(429, "rate_limit_error", "rate limited", REQUEST_LIMITS | {"retry-after": retry_after})
    return uses("Write", arguments) if number == 0 else limited


@scenario("529")
def _529(number: int, _body: Body, count: str = str(EVER)) -> Step:
    return answer_after(number, count, fails(529, "overloaded_error", "Overloaded"))


@scenario("529model")
def _529model(_number: int, body: Body, bad: str) -> Step:
    model = str(body.get("model", ""))
    return fails(529, "overloaded_error", "Overloaded") if bad in model else says(f"ok from {model}")


@scenario("500")
def _500(number: int, _body: Body, count: str = str(EVER)) -> Step:
    return answer_after(number, count, fails(500, "api_error", "Internal server error"))


@scenario("503html")
def _503html(_number: int, _body: Body) -> Step:
    return Step(status=503, raw="<html>bad gateway</html>", headers={"content-type": "text/html"})


@scenario("401")
def _401(number: int, _body: Body, after: str = "0") -> Step:
    """`401,<n>`: n tool turns go well first."""
    return (
        runs(f"echo step {number}") if number < int(after) else fails(401, "authentication_error", "invalid x-api-key")
    )


@scenario("403")
def _403(_number: int, _body: Body) -> Step:
    return fails(403, "permission_error", "Your API key does not have permission.")


@scenario("402")
def _402(_number: int, _body: Body) -> Step:
    return fails(402, "billing_error", "Payment required.")


@scenario("credit")
def _credit(_number: int, _body: Body) -> Step:
    said = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade."
    return fails(400, "invalid_request_error", said)


@scenario("400")
def _400(_number: int, _body: Body) -> Step:
    return fails(400, "invalid_request_error", "messages: bad thing")


@scenario("404")
def _404(_number: int, _body: Body) -> Step:
    return fails(404, "not_found_error", "model: nope")


@scenario("413")
def _413(_number: int, _body: Body) -> Step:
    return fails(413, "request_too_large", "Request exceeds the maximum size")


@scenario("toolong")
def _toolong(_number: int, _body: Body) -> Step:
    return fails(400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum")


# Answers that are no answers, and connections that break.


@scenario("empty")
def _empty(_number: int, _body: Body) -> Step:
    return Step()


@scenario("maxtok")
def _maxtok(_number: int, _body: Body) -> Step:
    return Step(Reply((build_text("truncated ans"),), stop="max_tokens"))


@scenario("refusal")
def _refusal(_number: int, _body: Body) -> Step:
    return Step(Reply((build_text("no"),), stop="refusal"))


@scenario("garbage")
def _garbage(_number: int, _body: Body) -> Step:
    return Step(raw="this is not sse\n\n", headers={"content-type": "text/event-stream"})


@scenario("slow")
def _slow(_number: int, _body: Body, seconds: str) -> Step:
    return replace(says("Hello from a slow stub, one piece at a time, please wait."), delay=float(seconds))


@scenario("slowhead")
def _slowhead(_number: int, _body: Body, seconds: str) -> Step:
    return replace(says("a late header"), head_delay=float(seconds))


@scenario("hang")
def _hang(_number: int, _body: Body) -> Step:
    return Step(hang=True)


@scenario("abort")
def _abort(number: int, _body: Body, count: str = str(EVER)) -> Step:
    return answer_after(number, count, Step(abort=True))


@scenario("stall")
def _stall(number: int, _body: Body, events: str, count: str = str(EVER)) -> Step:
    stalled = replace(says("Hello from a stub that stalls, the rest never comes."), stall_after=int(events))
    return answer_after(number, count, stalled)


@scenario("cut")
def _cut(number: int, _body: Body, events: str, count: str = str(EVER)) -> Step:
    cut = replace(says("Hello from a stub that cuts, the rest never comes."), cut_after=int(events))
    return answer_after(number, count, cut)


@scenario("ssee")
def _stream_error(
    number: int, _body: Body, events: str, count: str = str(EVER), kind: str = "overloaded_error"
) -> Step:
    bad = replace(says("Hello, then an error."), error_after=int(events), error_kind=kind)
    return answer_after(number, count, bad)
