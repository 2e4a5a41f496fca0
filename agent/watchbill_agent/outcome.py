"""How an attempt ended, as a value that the operator can decide on.

Owns the classification of exit codes and of programs that could not be started: which of them another try may mend.
Pure. The reasons are CamelCase words for status conditions, the messages sentences for people.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

MAX_RESULT = 4096  #: characters of `Outcome.result`
MAX_MESSAGE = 2000  #: characters of `Outcome.message`
EX_TEMPFAIL, EX_CONFIG = 75, 78  #: sysexits(3): try again later; try not again before somebody mends it
KILLED = 128 + signal.SIGKILL  #: also what shells answer when a program of theirs was killed
NOT_EXECUTABLE, NOT_FOUND = 126, 127  #: what shells answer for a program that they cannot start

SUCCEEDED, FAILED, CANCELLED, GIVEN_BACK = "Succeeded", "Failed", "Cancelled", "GivenBack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """End of an attempt."""

    outcome: str  #: Succeeded | Failed | Cancelled | GivenBack
    reason: str = ""
    message: str = ""
    retryable: bool = True
    exit_code: int | None = None  #: 128 + signal for a program that a signal ended
    result: str = ""  #: first part of its output
    retry_after_seconds: float = 0.0  #: GivenBack: nobody with this credential need try sooner
    turns: int = 0  #: of the model
    seconds: float = 0.0  #: that the model session took
    usage: Mapping[str, float] = field(default_factory=dict)  #: tokens and costUSD, where no broker counts them


def classify_exit(code: int, *, output: str, errors: str) -> Outcome:
    """Judge a program that ended by itself. `code` is negative for a signal; `errors` is the end of its stderr."""
    if code == 0:
        return Outcome(outcome=SUCCEEDED, exit_code=0, result=output[:MAX_RESULT])
    if code < 0:
        reason, retryable, what = "Signalled", True, f"ended by {_signal_name(-code)}"
    elif code == NOT_FOUND:
        reason, retryable, what = "ProgramNotFound", False, "exit code 127: a program was not found"
    elif code == NOT_EXECUTABLE:
        reason, retryable, what = "NotExecutable", False, "exit code 126: a program could not be executed"
    elif code == EX_CONFIG:
        reason, retryable, what = "NonZeroExit", False, "exit code 78: it says that another try will not help"
    elif code == EX_TEMPFAIL:
        reason, retryable, what = "NonZeroExit", True, "exit code 75: it says that another try may help"
    else:
        reason, retryable, what = "NonZeroExit", True, f"exit code {code}"
    return Outcome(
        outcome=FAILED,
        reason=reason,
        message=with_last_words(what, errors),
        retryable=retryable,
        exit_code=code if code > 0 else 128 - code,
        result=output[:MAX_RESULT],
    )


def tell_starved(outcome: Outcome) -> Outcome:
    """The same end, known to have come while the kernel ended processes of this container for want of memory."""
    if outcome.outcome != FAILED or outcome.exit_code != KILLED:
        return outcome
    message = f"more memory was needed than the container may use: {outcome.message}"
    return replace(outcome, reason="OutOfMemory", message=message[:MAX_MESSAGE])


def classify_start_failure(error: OSError | ValueError, program: str) -> Outcome:
    """Judge a program that could not be started."""
    name = program if len(program) <= 200 else program[:200] + "…"
    if isinstance(error, ValueError):
        return _cannot_start("InvalidCommand", f"the command holds a NUL character or an invalid text: {name!r}")
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return _cannot_start("ProgramNotFound", f"there is no program {name!r}, or its interpreter is missing")
    if error.errno in (errno.EACCES, errno.ENOEXEC, errno.EISDIR, errno.EPERM):
        return _cannot_start("NotExecutable", f"{name!r} is not a program that can be executed")
    if error.errno == errno.E2BIG:
        return _cannot_start("ArgumentsTooLong", "arguments and environment are longer than the system allows")
    why = os.strerror(error.errno or 0)
    return Outcome(outcome=FAILED, reason="StartFailed", message=f"{name!r} could not be started: {why}")


def no_command() -> Outcome:
    """Judge a task that names no program, on an agent that has none by default."""
    return _cannot_start("NoCommand", "the Task names no command and its Agent has none by default")


def deadline_exceeded(seconds: float, *, output: str, errors: str) -> Outcome:
    """Judge an attempt that was stopped because its time was up."""
    message = with_last_words(f"stopped after {seconds:g} s, its timeoutSeconds", errors)
    return Outcome(outcome=FAILED, reason="DeadlineExceeded", message=message, result=output[:MAX_RESULT])


def cancelled(reason: str, *, output: str = "") -> Outcome:
    """Judge an attempt that was stopped because somebody asked for it."""
    return Outcome(outcome=CANCELLED, reason=reason[:64], message="stopped on request", result=output[:MAX_RESULT])


def with_last_words(sentence: str, errors: str) -> str:
    """Append the end of what the program wrote to stderr, within MAX_MESSAGE characters."""
    words = errors.strip()
    room = MAX_MESSAGE - len(sentence) - 2
    return sentence if not words else f"{sentence}: {words if len(words) <= room else '…' + words[1 - room :]}"


def _cannot_start(reason: str, message: str) -> Outcome:
    return Outcome(outcome=FAILED, reason=reason, message=message, retryable=False)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
