"""What the next attempt is told of those before it.

Owns the sentences: one for each attempt that ended otherwise than well, the newest few, oldest first. Invariant: each
is one line of bounded length. They quote agents, and go to the next attempt of the same task and to nobody else.
"""

from __future__ import annotations

from watchbill_coordination.core.events import AttemptFailed, AttemptLost
from watchbill_coordination.core.requests import clean_line
from watchbill_coordination.core.state import TaskState
from watchbill_coordination.core.working_events import AttemptGivenBack

MAX_SENTENCES = 5
MAX_SENTENCE = 300  #: characters
MAX_PROGRESS = 100  #: characters of it that are for the last progress

Ended = AttemptFailed | AttemptGivenBack | AttemptLost


def add_ended(task: TaskState, event: Ended) -> tuple[str, ...]:
    """The history of a task whose current attempt ended like that."""
    return (*task.history, build_sentence(task, event))[-MAX_SENTENCES:]


def build_sentence(task: TaskState, event: Ended) -> str:
    """Which attempt ended where and why, and how far it had come."""
    message = "" if isinstance(event, AttemptLost) else clean_line(event.message, MAX_SENTENCE)
    head = f"Attempt {event.attempt} on {event.agent} ended: {event.reason}" + (f": {message}" if message else "")
    reached = clean_line(task.progress.text, MAX_PROGRESS) if task.progress is not None else ""
    tail = f" (it had reported: {reached})" if reached else ""
    return shorten(head, MAX_SENTENCE - len(tail)) + tail


def shorten(text: str, limit: int) -> str:
    """At most so many characters, with an ellipsis where some are left out."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
