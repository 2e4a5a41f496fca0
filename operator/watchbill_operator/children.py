"""Tasks that agents asked for, made in the API.

Owns the step from a wish in the log to a Task object, and the answer to it. Invariants: a wish is acted on only when it
is durable and while this process leads; it leads to one Task however often it is acted on, since its name follows from
the attempt's request and its annotations say whose it is; an API that is away puts wishes off and loses none, and one
that it never answers holds up no other. Never decides whether a wish is granted: the rules did before it came here, and
the API server's schema does after.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from watchbill_coordination.core.commands import Command, SettleChild
from watchbill_coordination.core.requests import ChildOrder
from watchbill_coordination.core.state import State
from watchbill_operator.api import (
    TASKS,
    Api,
    ApiError,
    ConflictError,
    GoneError,
    RefusedError,
    Request,
    UnavailableError,
)
from watchbill_operator.conditions import clip
from watchbill_operator.observations import PARENT_UID, Observation, parse_observation
from watchbill_operator.outages import Outage

logger = logging.getLogger(__name__)

PARENT_LABEL = "watchbill.dev/parent"  #: the parent's name, for people and selectors
PARENT_ATTEMPT = "watchbill.dev/parent-attempt"
REQUEST = "watchbill.dev/request"
PARALLEL = 4  #: Tasks that are made at once
MESSAGE_LIMIT = 1024  #: characters of a refusal
LABEL_LIMIT = 63  #: characters of a label's value


@dataclass(slots=True)
class ChildWiring:
    """What making Tasks is connected to. All are called from the event loop."""

    submit: Callable[[Command], None]
    observe: Callable[[Observation], None]  #: the new Task, as the watch would bring it
    settled: asyncio.Event  #: the state is durable: it may be acted on
    is_deposed: Callable[[], bool]  #: another operator leads. Raises OSError


def build_child(name: str, order: ChildOrder, namespace: str) -> dict[str, Any]:
    """The Task object of a wish."""
    return {
        "apiVersion": TASKS.version,
        "kind": "Task",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {PARENT_LABEL: build_label(order.parent_name)},
            "annotations": build_origin(order),
        },
        "spec": dict(order.spec),
    }


def build_origin(order: ChildOrder) -> dict[str, str]:
    """The annotations that say which request of which attempt a Task comes from."""
    return {PARENT_UID: order.parent, PARENT_ATTEMPT: str(order.attempt), REQUEST: str(order.request)}


def build_label(name: str) -> str:
    """A Task's name as a label's value: its beginning where it is too long."""
    return re.sub(r"[^A-Za-z0-9]+$", "", name[:LABEL_LIMIT])


def is_from(body: Mapping[str, Any], order: ChildOrder) -> bool:
    """Whether that Task is the one which was asked for."""
    annotations = (body.get("metadata") or {}).get("annotations") or {}
    return all(annotations.get(name) == value for name, value in build_origin(order).items())


class ChildMaker:
    """Makes the Tasks that `State.children` holds."""

    def __init__(self, api: Api, state: State, wiring: ChildWiring) -> None:
        self._api = api
        self._state = state
        self._wiring = wiring
        self._outage = Outage("Tasks that agents asked for")
        self._wake = asyncio.Event()
        self._under_way: dict[str, asyncio.Task[None]] = {}  #: by the new Task's name
        self._told: set[str] = set()  #: answered, but not recorded yet
        self._put_off: dict[str, None] = {}  #: names of wishes whose last try failed, the newest failure last

    def wake(self) -> None:
        """There may be a new wish."""
        self._wake.set()

    def mend(self) -> None:
        """Try again whatever still is in the state, though it was answered."""
        self._told.clear()
        self._wake.set()

    async def run(self) -> None:
        """Make Tasks until cancelled."""
        try:
            while True:
                await self._wiring.settled.wait()
                self._wake.clear()
                self._start_due()
                await self._sleep()
        finally:
            for making in self._under_way.values():
                making.cancel()

    async def _sleep(self) -> None:
        """Wait for a wish or, in an outage with wishes waiting, for the time of the next try."""
        pause = max(0.0, self._outage.until - time.monotonic())
        waiting = self._state.children.keys() - self._told - self._under_way.keys()
        try:
            async with asyncio.timeout(pause if waiting and self._outage.lasts and not self._under_way else None):
                await self._wake.wait()
        except TimeoutError:
            return

    def _start_due(self) -> None:
        """Start what may start. Called while the state is durable."""
        self._told &= self._state.children.keys()
        for gone in self._put_off.keys() - self._state.children.keys():
            del self._put_off[gone]
        if time.monotonic() < self._outage.until:
            return
        limit = 1 if self._outage.lasts else PARALLEL
        for name in self._list_in_turn():
            if len(self._under_way) >= limit:
                return
            if name not in self._told and name not in self._under_way:
                making = asyncio.create_task(self._make(name, self._state.children[name]))
                self._under_way[name] = making
                making.add_done_callback(partial(self._ended, name))

    def _list_in_turn(self) -> Iterator[str]:
        """All wishes: those that have not failed, oldest first, then those that did, the oldest failure first."""
        yield from (name for name in self._state.children if name not in self._put_off)
        yield from self._put_off

    def _put_behind(self, name: str, error: UnavailableError) -> None:
        """The API did not take it: the others come first now."""
        self._put_off.pop(name, None)
        self._put_off[name] = None
        self._outage.fail(error, time.monotonic())

    def _ended(self, name: str, _: object) -> None:
        self._under_way.pop(name, None)
        self._wake.set()

    async def _make(self, name: str, order: ChildOrder) -> None:
        """Make one Task, and say what became of it; where the API or the volume fails, it stays as it is."""
        try:
            if self._wiring.is_deposed():
                self._told.add(name)  # the successor's to make: not looked at again
                return
            self._accept(name, await self._post_or_find(name, order))
        except RefusedError as error:
            self._settle(SettleChild(name=name, message=clip(str(error), MESSAGE_LIMIT)))
        except UnavailableError as error:
            self._put_behind(name, error)
            return
        except (ApiError, OSError) as error:  # not served, or gone between two looks: as if the API were away
            self._put_behind(name, UnavailableError(getattr(error, "code", 0), str(error)))
            return
        self._outage.end()

    async def _post_or_find(self, name: str, order: ChildOrder) -> dict[str, Any]:
        """The Task as the API has it now. Raises RefusedError where it has none of ours and takes none, ApiError."""
        body = build_child(name, order, self._api.namespace)
        try:
            return await self._api.send(
                Request(method="POST", resource=TASKS, body=body), attempts=self._outage.attempts
            )
        except ConflictError:
            found = await self._find(name)
        if not is_from(found, order):
            raise RefusedError(
                409, f"the name {name} is taken by somebody else's Task; another request gets another name"
            )
        return found

    async def _find(self, name: str) -> dict[str, Any]:
        """The Task of that name, listed: a right to read single ones is not needed otherwise. Raises ApiError."""
        params = {"fieldSelector": f"metadata.name={name}"}
        found = await self._api.send(Request(method="GET", resource=TASKS, params=params))
        for item in found.get("items") or ():
            return dict(item)
        raise GoneError(404, f"the Task {name} is gone again")

    def _accept(self, name: str, body: Mapping[str, Any]) -> None:
        """Take the Task in as if the watch had brought it, which may be behind, and answer the wish.

        Raises UnavailableError where that is no object.
        """
        observation = parse_observation("Task", body)
        if observation is None:
            raise UnavailableError(0, f"create tasks: no Task in the answer about {name}")
        self._wiring.observe(observation)
        self._settle(SettleChild(name=name, uid=observation.uid))

    def _settle(self, command: SettleChild) -> None:
        self._told.add(command.name)
        self._wiring.submit(command)
