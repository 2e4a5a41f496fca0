"""What an attempt asks for while it works: the values that state keeps of it, and the limits.

Owns the shape of a working attempt's requests and of the Tasks that it submits, and the bounds on all of it. Invariant:
whatever an agent says, what is kept of it has a limit with a name. Pure; knows no state.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from watchbill_coordination.core.specs import ReplicaName, TaskUid

MAX_REQUESTS = 1000  #: of one attempt; the highest number that a request can have
KEPT_ANSWERS = 128  #: newest answers of one attempt that are given again to a repeated request
MAX_ASKED_LOCKS = 64  #: that one attempt holds besides those of its Task's spec
MAX_LOCK_NAME = 253  #: characters
MAX_CHILDREN = 20  #: Tasks that one attempt may submit
MAX_DEPTH = 2  #: a user's Task is 0, one that its attempt submitted 1, one that that one submitted 2
KEPT_CHILDREN = 100  #: newest submitted Tasks that a Task knows of, over all of its attempts
MAX_PROGRESS = 200  #: pieces of progress of one attempt that are recorded
PROGRESS_SECONDS = 2.0  #: between two of them; what comes sooner is dropped
MAX_PROGRESS_TEXT = 512  #: characters
MAX_ANSWER_TEXT = 1024  #: characters of what a model is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one request was answered with, once and for all."""

    seq: int  #: of the event that answered it
    granted: bool
    text: str = ""
    name: str = ""  #: of the lock, or of the Task that was made
    uid: str = ""  #: of that Task
    token: int = 0  #: fencing token of the lock


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """One attempt's conversation. It ends with the attempt."""

    replies: Mapping[int, Reply] = field(default_factory=dict)  #: request → answer, the newest KEPT_ANSWERS
    waiting: tuple[int, ...] = ()  #: requests that are answered later
    forgotten: int = 0  #: no request up to this number is new
    asked: tuple[str, ...] = ()  #: locks that it asked for and holds, besides those of its Task's spec
    progress_count: int = 0
    progress_at: float = 0.0  #: of the last piece of progress, seconds since the Unix epoch
    progress_key: str = ""  #: of the message that brought it; a smaller one is a repetition

    def is_known(self, request: int) -> bool:
        """Whether a request of that number came before: it had its answer, or will have it."""
        return request in self.replies or request in self.waiting or request <= self.forgotten


SILENT = Requests()  #: an attempt that has asked for nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress:
    """How far the newest attempt says that it is."""

    text: str
    percent: int | None
    at: float  #: seconds since the Unix epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A Task that an attempt submitted, as its parent knows it."""

    attempt: int  #: of the parent
    request: int
    uid: str = ""  #: empty until the API server has it
    phase: str = ""  #: Succeeded | Failed | Cancelled | Deleted; empty until it ended
    text: str = ""  #: why it ended like that
    ended_seq: int = 0  #: of the event that ended it


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildOrder:
    """A Task that is to be created, whatever becomes of the attempt that asked for it, unless its parent is deleted."""

    parent: TaskUid
    parent_name: str
    agent: ReplicaName
    attempt: int
    request: int
    spec: Mapping[str, Any]  #: the API form


def clean_line(said: str, limit: int) -> str:
    """The first part of a text as one line: no control characters, no halves of surrogate pairs, no outer blanks."""
    cut = said[: 4 * limit].encode("utf-8", "replace").decode("utf-8")
    shown = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in cut)
    return " ".join(shown.split())[:limit].rstrip()


def is_plain(text: str) -> bool:
    """Whether it holds neither control characters nor halves of surrogate pairs, which no log could hold."""
    return not any(unicodedata.category(sign) in ("Cc", "Cs") for sign in text)
