"""What an attempt asks of the coordinator while it works, and what it is told.

Owns the numbered requests of one attempt, their answers, and what became of the Tasks that it submitted. Invariant: an
answer goes to the request of its number and to no other; every `ask` ends, by an answer, by AttemptStopped when the
attempt is to end, or by NoAnswer when its time is up. A submission that is asked again after NoAnswer keeps its
number, which the operator answers as it answered the first: no Task is made twice. (Locks need no such care: to ask
for one that the attempt holds changes nothing, and an old denial would be of no use.) Reads and writes no file: the
loop posts what is asked and delivers what is answered. Used in the event loop's thread alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from watchbill_coordination.core.messages import Answer, ChildEnded, ChildSubmitted, Message, Progress
from watchbill_coordination.core.requests import MAX_PROGRESS, MAX_REQUESTS, PROGRESS_SECONDS

ANSWER_SECONDS = 60.0  #: that an `ask` waits: an operator restarts in less
TELL_SECONDS = PROGRESS_SECONDS + 0.5  #: between two pieces of progress; the operator drops what comes sooner

Build = Callable[[int], Message]  #: request number → the request


class NoAnswer(Exception):
    """The operator said nothing in time. It may have acted all the same; asking the same again is safe."""


class AttemptStopped(Exception):
    """The attempt is to end: nothing is answered any more."""


class TooManyRequests(Exception):
    """The attempt has used up what it may ask."""


class Exchange(Protocol):
    """An attempt's side of the conversation."""

    async def ask(self, build: Build) -> Answer:
        """Send a request and wait for its answer. Raises NoAnswer, AttemptStopped, TooManyRequests."""
        ...

    def tell(self, message: Progress) -> None:
        """Send what needs no answer."""
        ...

    def children(self) -> Mapping[str, ChildEnded | None]:
        """Return what this attempt and those before it submitted, by name; None for a Task that has not ended."""
        ...


class AttemptExchange:
    """The Exchange of one attempt. `post` puts a message into the outbox, after those that were posted before."""

    def __init__(
        self, post: Callable[[Message], None], *, children: Iterable[str] = (), answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        """`children` are the Tasks that earlier attempts submitted."""
        self._post = post
        self._answer_seconds = answer_seconds
        self._requests = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._submissions: list[ChildSubmitted] = []  # that were asked in vain, or are waiting
        self._unheard: dict[int, Answer] = {}  # answers to submissions whose senders have not taken them
        self._children: dict[str, ChildEnded | None] = dict.fromkeys(children)
        self._tells = 0
        self._untold: Progress | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def ask(self, build: Build) -> Answer:
        """Send a request and wait for its answer; see `Exchange`."""
        if self._is_closed:
            raise AttemptStopped
        request, number = self._number(build)
        if (known := self._unheard.get(number)) is not None:
            self._forget(number)
            return known
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._post(request)
        try:
            await asyncio.wait({answered}, timeout=self._answer_seconds)
        finally:
            del self._waiting[number]
        if not answered.done():
            raise NoAnswer(f"no answer within {self._answer_seconds:g} s")
        answer: Answer = answered.result()
        self._forget(number)
        return answer

    def tell(self, message: Progress) -> None:
        """Send progress, at most once in TELL_SECONDS: the newest of what was said meanwhile follows then."""
        if self._is_closed or self._tells >= MAX_PROGRESS:
            return
        self._untold = message
        if self._pause is None:
            self._tell_newest()

    def children(self) -> Mapping[str, ChildEnded | None]:
        """Return what was submitted, by name; see `Exchange`."""
        return MappingProxyType(self._children)

    def deliver(self, message: Answer | ChildEnded) -> None:
        """Take what the operator said; what nobody waits for, or was said before, is dropped."""
        if isinstance(message, ChildEnded):
            self._children[message.name] = self._children.get(message.name) or message
            return
        submitted = any(former.request == message.request for former in self._submissions)
        if submitted:
            self._unheard.setdefault(message.request, message)
        if submitted and message.granted:
            self._children.setdefault(message.name, None)
        answered = self._waiting.get(message.request)
        if answered is not None and not answered.done():
            answered.set_result(message)

    def close(self) -> None:
        """End the conversation: whoever waits gets AttemptStopped. To close again changes nothing."""
        self._is_closed = True
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(AttemptStopped())
                answered.exception()  # whoever waits may be cancelled as well: then nobody else looks at it
        if self._pause is not None:
            self._pause.cancel()

    def _number(self, build: Build) -> tuple[Message, int]:
        """Build a request with its number. Raises TooManyRequests."""
        for former in self._submissions:
            if former.request not in self._waiting and build(former.request) == former:
                return former, former.request
        if self._requests >= MAX_REQUESTS:
            raise TooManyRequests(f"an attempt may ask {MAX_REQUESTS} times")
        self._requests += 1
        request = build(self._requests)
        if isinstance(request, ChildSubmitted):
            self._submissions.append(request)
        return request, self._requests

    def _forget(self, number: int) -> None:
        """A request was answered: whoever submits the same again wants another Task."""
        self._submissions = [former for former in self._submissions if former.request != number]
        self._unheard.pop(number, None)

    def _tell_newest(self) -> None:
        """Send what was said last, if anything was, and begin the pause after it."""
        self._pause = None
        if self._untold is None or self._is_closed:
            return
        self._post(self._untold)
        self._untold = None
        self._tells += 1
        self._pause = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell_newest)
