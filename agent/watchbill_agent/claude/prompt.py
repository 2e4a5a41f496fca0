"""What the session is told first.

Owns the words around a task's prompt. Invariant: the task's own words stand first and unchanged, whatever they hold;
what Watchbill adds stands after a line that says so. Pure.
"""

from __future__ import annotations

from pathlib import Path

from watchbill_agent.settings import Settings
from watchbill_coordination.core.messages import Assign

LINE = "\n\n---\nFrom Watchbill, which runs this task:\n"
MAX_LISTED = 50  #: paths and dependencies that are named; read_context lists them all


def build_prompt(settings: Settings, assign: Assign, directory: Path) -> str:
    """Return the prompt of a session that begins anew."""
    facts = [
        f"Task {assign.name}, attempt {assign.attempt}. It has {assign.timeout_seconds:g} seconds.",
        f"Your working folder is {directory}; it was empty when you began.",
        f"Files to hand over go into {directory / 'result'}. Your final message is kept beside them by itself.",
        *_list_inputs(settings, assign),
        *assign.history,
    ]
    return _append(assign.prompt, facts)


def build_continuation(assign: Assign, directory: Path, former: Path) -> str:
    """Return the prompt of a session that is continued."""
    last = assign.history[-1:] or ("The last attempt was interrupted.",)
    facts = [
        *last,
        f"This is attempt {assign.attempt} of the same task, and the same conversation. Go on where it broke off; the"
        " last tool call may or may not have had its effect, so look before you repeat it.",
        f"Your working folder is now {directory}. All that you had in {former} was moved there.",
        f"It has {assign.timeout_seconds:g} seconds from now. End with the whole result in your final message.",
    ]
    return _append("Continue the task.", facts)


def _list_inputs(settings: Settings, assign: Assign) -> list[str]:
    """Return sentences about what there is to read, and which locks are held."""
    results = settings.context / "results"
    facts = [f"To read: {settings.context / path}" for path in assign.context[:MAX_LISTED]]
    named = sorted(assign.dependencies.items())[:MAX_LISTED]
    facts += [f"Result of the task {name}, which came before: {results / uid}" for name, uid in named]
    left_out = max(0, len(assign.context) - MAX_LISTED) + max(0, len(assign.dependencies) - MAX_LISTED)
    facts += [f"{left_out} more are not named here; the tool read_context lists them."] if left_out else []
    facts += [f"Locks that you hold until you end: {', '.join(sorted(assign.locks))}"] if assign.locks else []
    return facts


def _append(words: str, facts: list[str]) -> str:
    return words + LINE + "\n".join(f"- {fact}" for fact in facts) + "\n"
