"""Startup, liveness and readiness probes of one running container.

Owns the rhythm of probing and what a run of answers means. Invariant: liveness and readiness begin only after the
startup probe has succeeded, and a probe's own failure (a program that does not exist, a port that nobody listens on)
is an answer, never an error of the node.

The first readiness tries come faster than `periodSeconds`, at 50 ms and then at doubling pauses, until the container
is ready for the first time: early failures are what is to be expected, and they change nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from watchbill_local.node.api import Json

FIRST_PAUSE_SECONDS = 0.05
Execute = Callable[[list[str]], Awaitable[int]]  #: runs a program inside the container; its exit code
Ask = Callable[[Json], Awaitable[bool]]  #: one try of a probe, already bounded in time


@dataclass(slots=True)
class Streak:
    """How many answers of one kind came in a row, and what they have led to."""

    successes: int = 0
    failures: int = 0

    def count(self, good: bool, probe: Json) -> bool | None:
        """Add an answer; True or False once a threshold of `probe` is reached, None while the verdict is open."""
        self.successes, self.failures = (self.successes + 1, 0) if good else (0, self.failures + 1)
        if self.successes >= probe.get("successThreshold", 1):
            return True
        return False if self.failures >= probe.get("failureThreshold", 3) else None


async def watch_startup(probe: Json, ask: Ask) -> bool:
    """Probe until the startup probe's verdict: True, the container has started; False, it never will."""
    return await _await_verdict(probe, ask, (True, False))


async def watch_liveness(probe: Json, ask: Ask) -> None:
    """Probe until the container has failed its liveness probe, and return then."""
    await _await_verdict(probe, ask, (False,))


async def _await_verdict(probe: Json, ask: Ask, verdicts: tuple[bool, ...]) -> bool:
    streak = Streak()
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    while True:
        if (verdict := streak.count(await ask(probe), probe)) in verdicts:
            return bool(verdict)
        await asyncio.sleep(probe.get("periodSeconds", 10))


async def watch_readiness(probe: Json, ask: Ask, on_change: Callable[[bool], None]) -> None:
    """Probe for ever; tells each change of the verdict, which begins as not ready."""
    streak, ready, period = Streak(), False, float(probe.get("periodSeconds", 10))
    pause = FIRST_PAUSE_SECONDS
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    while True:
        verdict = streak.count(await ask(probe), probe)
        if verdict is not None and verdict != ready:
            ready = verdict
            on_change(ready)
        await asyncio.sleep(min(pause, period))
        pause = period if ready else pause * 2


async def ask_once(
    probe: Json, container: Json, address: str, execute: Execute, session: aiohttp.ClientSession
) -> bool:
    """One try: exec, httpGet or tcpSocket. False for any failure and after `timeoutSeconds`."""
    try:
        async with asyncio.timeout(probe.get("timeoutSeconds", 1)):
            if "exec" in probe:
                return await execute(probe["exec"]["command"]) == 0
            if "httpGet" in probe:
                return await _get(probe["httpGet"], container, address, session)
            port = find_port(container, probe["tcpSocket"]["port"])
            _, writer = await asyncio.open_connection(probe["tcpSocket"].get("host") or address, port)
            writer.close()
            return True
    except (OSError, aiohttp.ClientError, TimeoutError, LookupError, ValueError):
        return False


async def _get(action: Json, container: Json, address: str, session: aiohttp.ClientSession) -> bool:
    scheme = action.get("scheme", "HTTP").lower()
    url = (
        f"{scheme}://{action.get('host') or address}:{find_port(container, action['port'])}{action.get('path') or '/'}"
    )
    headers = {header["name"]: header["value"] for header in action.get("httpHeaders") or ()}
    async with session.get(url, headers=headers, ssl=False, allow_redirects=False) as response:
        return 200 <= response.status < 400


def find_port(container: Json, port: int | str) -> int:
    """A port by number or by its name in the container's spec; LookupError if there is none of that name."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise LookupError(f"the container has no port named {port}")
