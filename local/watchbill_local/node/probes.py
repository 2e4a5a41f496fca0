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


@dataclass(frozen=True, slots=True)
class Probing:
    """What the probes of one container need."""

    spec: Json  #: the container's
    address: str  #: the pod's
    execute: Callable[[list[str]], Awaitable[int]]  #: runs a program inside the container; its exit code
    session: aiohttp.ClientSession


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


async def run_probes(probing: Probing, on_ready: Callable[[bool], None]) -> str:
    """Tell each change of readiness; returns `startup` or `liveness` when that probe has failed, else never."""
    startup, readiness, liveness = (probing.spec.get(f"{kind}Probe") for kind in ("startup", "readiness", "liveness"))
    if startup and not await _await_verdict(startup, probing, (True, False)):
        return "startup"
    on_ready(not readiness)
    watching = asyncio.create_task(_watch_readiness(readiness, probing, on_ready)) if readiness else None
    try:
        await (_await_verdict(liveness, probing, (False,)) if liveness else asyncio.Event().wait())
    finally:
        if watching:
            watching.cancel()
    return "liveness"


async def _await_verdict(probe: Json, probing: Probing, verdicts: tuple[bool, ...]) -> bool:
    streak = Streak()
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    while True:
        if (verdict := streak.count(await _ask(probe, probing), probe)) in verdicts:
            return bool(verdict)
        await asyncio.sleep(probe.get("periodSeconds", 10))


async def _watch_readiness(probe: Json, probing: Probing, on_ready: Callable[[bool], None]) -> None:
    streak, ready, period = Streak(), False, float(probe.get("periodSeconds", 10))
    pause = FIRST_PAUSE_SECONDS
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    while True:
        verdict = streak.count(await _ask(probe, probing), probe)
        if verdict is not None and verdict != ready:
            ready = verdict
            on_ready(ready)
        await asyncio.sleep(min(pause, period))
        pause = period if ready else pause * 2


async def _ask(probe: Json, probing: Probing) -> bool:
    """One try: exec, httpGet or tcpSocket. False for any failure and after `timeoutSeconds`."""
    try:
        async with asyncio.timeout(probe.get("timeoutSeconds", 1)):
            if "exec" in probe:
                return await probing.execute(probe["exec"]["command"]) == 0
            if "httpGet" in probe:
                return await _get(probe["httpGet"], probing)
            action = probe["tcpSocket"]
            port = find_port(probing.spec, action["port"])
            (await asyncio.open_connection(action.get("host") or probing.address, port))[1].close()
            return True
    except (OSError, aiohttp.ClientError, TimeoutError, LookupError, ValueError):
        return False


async def _get(action: Json, probing: Probing) -> bool:
    scheme, path = action.get("scheme", "HTTP").lower(), action.get("path") or "/"
    url = f"{scheme}://{action.get('host') or probing.address}:{find_port(probing.spec, action['port'])}{path}"
    headers = {header["name"]: header["value"] for header in action.get("httpHeaders") or ()}
    async with probing.session.get(url, headers=headers, ssl=False, allow_redirects=False) as response:
        return response.status < 400


def find_port(container: Json, port: int | str) -> int:
    """A port by number or by its name in the container's spec; LookupError if there is none of that name."""
    names = {entry.get("name"): int(entry["containerPort"]) for entry in container.get("ports") or ()}
    return names[port] if port in names else int(port)
