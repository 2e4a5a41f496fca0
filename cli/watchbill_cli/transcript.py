"""`watchbill transcript`: what an agent did in its attempts at a Task, read while it happens or afterwards.

Owns where a transcript is found: the log says which replica had which attempt, and its file lies in that replica's
workspace or, once its Agent is gone, with the operator. An agent can write there, so files are read as hostile input.
"""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watchbill_cli.home import Refused, default_home, volume_root
from watchbill_cli.transcript_text import Page
from watchbill_coordination.core.events import (
    Recorded,
    TaskCancelled,
    TaskDeleted,
    TaskDispatched,
    TaskFailed,
    TaskSubmitted,
    TaskSucceeded,
)
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.storage.following import FOLLOW_SECONDS, Follower
from watchbill_coordination.storage.hostile import HostileFileError, open_directory, open_regular
from watchbill_coordination.storage.layout import TRANSCRIPTS, Layout, transcript_file

READ_BYTES = 1024 * 1024  #: taken from a file at once
MAX_LINE = 4 * READ_BYTES  #: what has no end by then is no line
MAX_BYTES = 32 * READ_BYTES  #: of one file; an agent that keeps to the rules writes half of that at most
ENDS = (TaskSucceeded, TaskFailed, TaskCancelled, TaskDeleted)

Show = Callable[[Iterable[dict[str, Any]]], bool]  #: prints lines and says whether there were any


def run_transcript(arguments: Namespace) -> int:
    """Print the transcript of one attempt, by default the newest; with `--follow` go on until the Task has ended."""
    layout = Layout(volume_root(default_home()))
    follower = Follower(layout)
    story = Story(arguments.task)
    story.learn(follower.read())
    if not story.uid:
        raise Refused(f"the log knows no Task {arguments.task}: `watchbill events` lists all")
    number = choose_attempt(story, arguments.attempt, is_following=arguments.follow)
    show = show_json if arguments.output == "json" else build_shower(is_whole=arguments.full)
    if arguments.follow:
        is_found = follow_task(Tailing(layout, story, follower), show, number, is_only=bool(arguments.attempt))
    else:
        is_found = show(Tail(layout, story, number).read())
    if not is_found and arguments.output != "json":
        raise Refused(explain_absence(story, max(story.attempts)))
    return 0


@dataclass(slots=True)
class Story:
    """What the log says of one Task, by its name (of several the newest) or uid."""

    wanted: str
    uid: str = ""
    attempts: dict[int, str] = field(default_factory=lambda: {0: ""})  #: number → replica; 0: none yet
    over: set[int] = field(default_factory=set)  #: attempts that another one followed, or the Task's end
    is_over: bool = False

    def learn(self, records: Iterable[Recorded]) -> None:
        """Take in what happened since."""
        for recorded in records:
            event = recorded.event
            if isinstance(event, TaskSubmitted) and self.wanted in (event.name, event.task):
                self.uid, self.attempts, self.over, self.is_over = event.task, {0: ""}, set(), False
            elif getattr(event, "task", "") == self.uid and self.uid:
                self._learn_about(event)

    def _learn_about(self, event: object) -> None:
        if isinstance(event, TaskDispatched):
            self.over.update(self.attempts)
            self.attempts[event.attempt] = event.agent
        elif isinstance(event, ENDS):
            self.over.update(self.attempts)
            self.is_over = True


@dataclass(frozen=True, slots=True)
class Tailing:
    """What a transcript that grows is followed with."""

    layout: Layout
    story: Story
    follower: Follower

    def wait(self) -> None:
        """Let some time pass, and learn what happened meanwhile."""
        time.sleep(FOLLOW_SECONDS)
        self.story.learn(self.follower.read())


def follow_task(tailing: Tailing, show: Show, number: int, *, is_only: bool) -> bool:
    """Show this attempt while it is written, and those that follow unless it `is_only`; say whether there was any."""
    story, is_found = tailing.story, False
    while True:
        tail = Tail(tailing.layout, story, number)
        is_last = False
        while not is_last:
            is_last = tail.is_ended or number in story.over  # what was written before that is read once more
            is_found = show(tail.read()) or is_found
            if not is_last:
                tailing.wait()
        while not (is_only or story.is_over or max(story.attempts) > number):
            tailing.wait()
        if is_only or max(story.attempts) == number:
            return is_found
        number += 1


def choose_attempt(story: Story, wanted: int | None, *, is_following: bool) -> int:
    """The number of the attempt to show. Raises Refused where there is none yet and nobody wants to wait."""
    newest = max(story.attempts)
    if wanted is not None and (wanted < 1 or wanted not in story.attempts):
        raise Refused(f"{story.wanted} has had {newest} attempt{'s' * (newest != 1)}: there is no {wanted}")
    if not newest and story.is_over:
        raise Refused(f"{story.wanted} ended before an agent began it: `watchbill events {story.wanted}` says why")
    if not newest and not is_following:
        raise Refused(f"no agent has begun {story.wanted} yet: --follow waits for it")
    return wanted or newest


def explain_absence(story: Story, number: int) -> str:
    """Why there is nothing to show."""
    replica = story.attempts.get(number, "")
    return (
        f"attempt {number} of {story.wanted} on {replica or 'nobody'} left no transcript: only a session of "
        "Claude Code writes one, and it goes with its Task"
    )


class Tail:
    """One attempt's file, as far as it was read. A file that is not there yet, or is no plain file, has no lines."""

    def __init__(self, layout: Layout, story: Story, number: int) -> None:
        replica = ReplicaName(story.attempts[number])
        self._name = transcript_file(TaskUid(story.uid), number)
        self._places: list[tuple[Path, tuple[str, ...]]] = [(layout.transcripts, ())]
        if replica:
            self._places.insert(0, (layout.workspace(replica), ("state", TRANSCRIPTS)))
        self._offset = 0
        self._rest = b""
        self.is_ended = not number  #: the attempt's last line was read, or there is no attempt

    def read(self) -> Iterator[dict[str, Any]]:
        """The lines that were written since; what is no JSON object is left out."""
        while data := self._read_bytes():
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._rest = self._rest[:MAX_LINE]
            for line in lines:
                if record := _parse(line):
                    self.is_ended = self.is_ended or record.get("kind") == "result"
                    yield record

    def _read_bytes(self) -> bytes:
        for place, below in self._places if self._offset < MAX_BYTES else ():
            try:
                with open_directory(place, below) as folder, open_regular(folder, self._name) as (fd, _):
                    data = os.pread(fd, READ_BYTES, self._offset)
            except (HostileFileError, OSError):
                continue
            self._offset += len(data)
            return data
        return b""


def build_shower(*, is_whole: bool) -> Show:
    """A function that prints lines for people and says whether there were any."""
    page = Page(is_whole=is_whole, is_colored=sys.stdout.isatty())

    def show(records: Iterable[dict[str, Any]]) -> bool:
        found = False
        for record in records:
            found = True
            for line in page.show(record):
                print(line, flush=True)
        return found

    return show


def show_json(records: Iterable[dict[str, Any]]) -> bool:
    """Print lines as they are, in ASCII: a terminal obeys none, and any can be written. Say whether there were any."""
    found = False
    for record in records:
        found = True
        print(json.dumps(record, separators=(",", ":")), flush=True)
    return found


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
