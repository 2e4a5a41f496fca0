"""Who leads: a coordination.k8s.io Lease with the identity of the process that holds it.

Owns the Lease object and the rules by which it changes hands. The Lease elects, it does not fence: safety is the
epoch's alone, so a wrong guess here costs a take-over, never a record. A holder that was on this host and is gone, or
is this same pod before its restart, is replaced at once; any other after `seconds` without renewal, measured by our own
monotonic clock. The Lease also carries the id of the log and the newest epoch, for those who come later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from watchbill_operator.api import (
    LEASES,
    Api,
    ApiError,
    ConflictError,
    GoneError,
    NotAllowedError,
    Request,
    UnavailableError,
)

logger = logging.getLogger(__name__)

LEASE_NAME = "watchbill-operator"
LOG_ANNOTATION = "watchbill.dev/log-id"
EPOCH_ANNOTATION = "watchbill.dev/epoch"
RENEWALS = 3  #: within the time after which another may take over
WAIT_SECONDS = 0.5  #: between two looks at a Lease that another holds


class LeaseLostError(Exception):
    """Another process leads, or may by now: stop at once."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, told apart from every other one there was."""

    pod_uid: str = ""
    host: str = ""
    boot: str = ""  #: boot id and pid namespace: where a pid means something
    pid: int = 0
    started: int = 0  #: clock ticks after boot

    def __str__(self) -> str:
        """The form in the Lease."""
        if self.pod_uid:
            return f"pod/{self.pod_uid}"
        return f"host/{self.host}/{self.boot}/{self.pid}/{self.started}"


@dataclass(frozen=True, slots=True)
class LeaseView:
    """What a Lease says."""

    holder: str = ""
    version: str = ""  #: resourceVersion; empty: there is no Lease
    duration_seconds: float = 0.0
    log_id: str = ""
    epoch: int = 0


def parse_identity(text: str) -> Identity | None:
    """Read a holder; None where it is not one of ours."""
    match text.split("/"):
        case ["pod", uid] if uid:
            return Identity(pod_uid=uid)
        case ["host", host, boot, pid, started] if pid.isdecimal() and started.isdecimal():
            return Identity(host=host, boot=boot, pid=int(pid), started=int(started))
    return None


def parse_lease(body: Mapping[str, Any]) -> LeaseView:
    """Read a Lease object; what is not there or not readable is empty."""
    metadata, spec = body.get("metadata") or {}, body.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    epoch = str(annotations.get(EPOCH_ANNOTATION, ""))
    return LeaseView(
        holder=spec.get("holderIdentity") or "",
        version=str(metadata.get("resourceVersion", "")),
        duration_seconds=float(spec.get("leaseDurationSeconds") or 0),
        log_id=str(annotations.get(LOG_ANNOTATION, "")),
        epoch=int(epoch) if epoch.isdecimal() else 0,
    )


def is_gone(holder: str, me: Identity, started_of: Callable[[int], int]) -> bool:
    """Whether that holder cannot live any more, as far as we can know. `started_of` gives 0 where no process is."""
    other = parse_identity(holder)
    if other is None:
        return False
    if other.pod_uid or me.pod_uid:
        return other.pod_uid == me.pod_uid
    if other.host != me.host:
        return False
    return other.boot != me.boot or started_of(other.pid) != other.started


def load_identity(pod_uid: str = "") -> Identity:
    """Who this process is."""
    if pod_uid:
        return Identity(pod_uid=pod_uid)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    space = os.stat("/proc/self/ns/pid").st_ino
    host = socket.gethostname().replace("/", "_")
    return Identity(host=host, boot=f"{boot}.{space}", pid=os.getpid(), started=load_start_time(os.getpid()))


def load_start_time(pid: int) -> int:
    """When that process started, in clock ticks after boot; 0: there is none, or only what is left of one."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


class Election:
    """This process's claim to lead."""

    def __init__(self, api: Api, identity: Identity, *, seconds: float) -> None:
        self._api = api
        self._me = identity
        self._seconds = seconds
        self._view = LeaseView()
        self._annotations: dict[str, str] = {}

    async def acquire(
        self, on_wait: Callable[[str], None], on_other: Callable[[str], None] = lambda _: None
    ) -> LeaseView:
        """Wait until this process leads; return the Lease as it was before, with log id and epoch.

        `on_other` is told who leads, as often as the Lease is looked at; `on_wait` what else is waited for.

        Raises:
            ApiError: the API refuses Leases altogether.
        """
        seen, since = LeaseView(), time.monotonic()
        while True:
            try:
                view = await self._load()
                now = time.monotonic()
                if (view.holder, view.version) != (seen.holder, seen.version):
                    seen, since = view, now
                expired = now - since >= (view.duration_seconds or self._seconds)
                mine = not view.holder or view.holder == str(self._me)
                free = mine or is_gone(view.holder, self._me, load_start_time)
                if (free or expired) and await self._take(view):
                    return view
                if view.holder and not free:
                    on_other(view.holder)
            except UnavailableError as error:
                on_wait(_explain(error))
            await asyncio.sleep(WAIT_SECONDS)

    async def announce(self, log_id: str, epoch: int, *, on_wait: Callable[[str], None]) -> None:
        """Write the log's id and the epoch on the Lease, as soon as the API takes them.

        Raises:
            LeaseLostError: another one leads.
            ApiError: the API refuses it for good.
        """
        self._annotations = {LOG_ANNOTATION: log_id, EPOCH_ANNOTATION: str(epoch)}
        while True:
            try:
                return await self._renew()
            except UnavailableError as error:
                on_wait(_explain(error))
            except (ConflictError, GoneError) as error:  # it changed between our look and our write
                on_wait(f"the lease changes: {error}")
            await asyncio.sleep(WAIT_SECONDS)

    async def keep(self) -> None:
        """Renew until cancelled. An API that cannot be reached is no reason to stop: whoever is elected meanwhile
        claims a higher epoch, and that ends this process at its next commit.

        Raises:
            LeaseLostError: another one leads.
        """
        told = ""
        while True:
            await asyncio.sleep(self._seconds / RENEWALS)
            try:
                await self._renew()
                told = ""
            except ApiError as error:
                if str(error) != told:
                    logger.warning("the lease could not be renewed: %s", error)
                told = str(error)

    async def release(self) -> None:
        """Give the Lease back, if it is ours still: the next leader need not wait. Errors do not matter any more."""
        if self._view.holder != str(self._me):
            return
        try:
            await self._write("PUT", holder="")
        except ApiError as error:
            logger.info("the lease was not given back: %s", error)

    async def _renew(self) -> None:
        """Write ourselves again, also into a Lease that somebody emptied or deleted.

        Raises LeaseLostError where another one holds it, or has held it since.
        """
        try:
            await self._write("PUT", holder=str(self._me))
        except ApiError as error:  # a Lease that is gone is answered with 500, for we name a version of it
            view = await self._load()
            if view.holder not in ("", str(self._me)) or view.epoch > int(self._annotations.get(EPOCH_ANNOTATION, 0)):
                raise LeaseLostError(f"{view.holder or 'nobody any more'} holds the lease now") from error
            await self._write("PUT" if view.version else "POST", holder=str(self._me))

    async def _take(self, view: LeaseView) -> bool:
        """Write ourselves into the Lease as it was seen; False: somebody was faster."""
        self._annotations = {LOG_ANNOTATION: view.log_id, EPOCH_ANNOTATION: str(view.epoch)} if view.log_id else {}
        try:
            await self._write("PUT" if view.version else "POST", holder=str(self._me))
        except (ConflictError, GoneError):
            return False
        return True

    async def _load(self) -> LeaseView:
        try:
            self._view = parse_lease(await self._api.send(Request(method="GET", resource=LEASES, name=LEASE_NAME)))
        except GoneError:
            self._view = LeaseView()
        return self._view

    async def _write(self, method: str, *, holder: str) -> None:
        """Write the Lease over the version that was seen last."""
        metadata: dict[str, Any] = {"name": LEASE_NAME, "annotations": self._annotations}
        if method == "PUT":
            metadata["resourceVersion"] = self._view.version
        body = {
            "apiVersion": LEASES.version,
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": max(1, round(self._seconds)),
                "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            },
        }
        name = LEASE_NAME if method == "PUT" else ""
        request = Request(method=method, resource=LEASES, name=name, body=body)
        self._view = parse_lease(await self._api.send(request, attempts=1))


def _explain(error: UnavailableError) -> str:
    """What is waited for."""
    if isinstance(error, NotAllowedError):
        return f"the API does not know us or our rights: {error}"
    return f"the API does not answer: {error}"
