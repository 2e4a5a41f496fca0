"""How a session ended, as an outcome that the operator can decide on.

Owns the classification. It looks at structured fields alone, in a fixed order: what we did ourselves, then whether the
session says that it failed, its subtype, why its loop ended, the HTTP status, the error of the last message, and the
exit code; never at prose. Success needs a result that is not empty. Pure; knows no SDK.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from watchbill_agent.claude.broker_report import BrokerReport
from watchbill_agent.outcome import (
    FAILED,
    GIVEN_BACK,
    MAX_RESULT,
    SUCCEEDED,
    Outcome,
    cancelled,
    deadline_exceeded,
    with_last_words,
)


class Expired(StrEnum):
    """Which limit of ours ended a session."""

    DEADLINE = "Deadline"  #: the task's timeoutSeconds
    START = "Start"  #: it never came up
    SILENCE = "Silence"  #: no message for too long
    RETRIES = "Retries"  #: it waits to try again, which is the scheduler's business


@dataclass(slots=True, kw_only=True)
class Ending:
    """All that is known of a session when it is over. Filled while it runs."""

    stop_reason: str = ""  #: somebody asked for the end
    expired: Expired | None = None
    has_result: bool = False  #: the last message came; those up to `denied` are from it
    is_error: bool = False
    subtype: str = ""
    terminal_reason: str = ""
    model_stop: str = ""  #: stop_reason of the model's last message
    status: int | None = None  #: HTTP status of the request that failed
    text: str = ""
    structured: Any = None
    errors: tuple[str, ...] = ()
    turns: int = 0
    usage: Mapping[str, int] = field(default_factory=dict)  #: tokens by a ledger's names
    cost_usd: float = 0.0  #: of the session, those that it continues included
    denied: int = 0  #: tool calls that no rule allowed
    answered: bool = False  #: the model said something
    message_error: str = ""  #: error of the last message that had one
    retry_error: str = ""  #: what it last waited for
    retry_status: int | None = None
    reset_seconds: float = 0.0  #: until a rate limit ends; 0: not known
    exit_code: int | None = None  #: negative for a signal; None: not known
    not_started: str = ""  #: why the program could not be started
    failure: str = ""  #: of the SDK, for people
    last_words: str = ""  #: end of its stderr, redacted
    seconds: float = 0.0

    @property
    def never_began(self) -> bool:
        """Whether it ended by itself before the model was asked: so ends one whose former session is not found."""
        by_itself = not self.stop_reason and self.expired is None and self.exit_code == 1
        return by_itself and not (self.answered or self.turns or self.message_error or self.status is not None)


_RETRYABLE, _FINAL = True, False
BY_SUBTYPE: Mapping[str, tuple[str, str]] = {
    "error_max_turns": ("MaxTurnsExceeded", "it took as many turns as its Agent allows (maxTurns)"),
    "error_max_budget_usd": ("BudgetExceeded", "the budget of the task is spent (budget.perTaskUSD)"),
    "error_max_structured_output_retries": ("SchemaNotMet", "no answer fitted the outputSchema"),
}
TOO_MUCH_CONTEXT = ("prompt_too_long", "blocking_limit", "image_error")
NO_FILES = re.compile(r"\b(ENOSPC|EROFS|EDQUOT|EIO|ENOMEM|EMFILE|EAGAIN)\b")  #: codes of the system, not prose


def classify_ending(ending: Ending, report: BrokerReport | None, *, wants_schema: bool, timeout: float) -> Outcome:
    """Judge a session. `report` is what its broker knows; `timeout` the seconds that it was given."""
    code = ending.exit_code
    return replace(
        _judge(ending, report, wants_schema=wants_schema, timeout=timeout),
        exit_code=code if code is None or code >= 0 else 128 - code,
        result="" if ending.is_error else ending.text[:MAX_RESULT],
        turns=ending.turns,
        seconds=round(ending.seconds, 3),
    )


def _judge(ending: Ending, report: BrokerReport | None, *, wants_schema: bool, timeout: float) -> Outcome:
    """Find outcome, reason and message."""
    if ending.stop_reason:
        return cancelled(ending.stop_reason)
    if ending.expired is Expired.DEADLINE:
        return deadline_exceeded(timeout, output=ending.text, errors=ending.last_words)
    if ending.expired is Expired.START:
        return _failed(ending, "StartTimedOut", "Claude Code did not come up in time", _RETRYABLE)
    if ending.expired is Expired.SILENCE:
        return _failed(ending, "NoSignOfLife", "the session said nothing for too long", _RETRYABLE)
    if ending.has_result and not ending.is_error:
        return _judge_answer(ending, wants_schema)
    if ending.has_result or ending.expired is Expired.RETRIES:
        return _judge_failure(ending, report)
    return _judge_program(ending)


def _judge_answer(ending: Ending, wants_schema: bool) -> Outcome:
    """Judge a session that says that all is well."""
    if ending.exit_code:
        what = f"it answered, but ended with exit code {ending.exit_code}: its last steps may not be written"
        return _failed(ending, "CliCrashed", what, _RETRYABLE)
    if wants_schema and ending.structured is None:
        return _failed(ending, "SchemaNotMet", "it ended without the answer that the outputSchema asks for", _FINAL)
    if not ending.text.strip() and ending.structured is None:
        return _failed(ending, "EmptyAnswer", "its final message was empty", _RETRYABLE)
    if ending.model_stop == "max_tokens":
        return _failed(ending, "TruncatedAnswer", "its final message was cut off", _RETRYABLE)
    return Outcome(outcome=SUCCEEDED)


def _judge_failure(ending: Ending, report: BrokerReport | None) -> Outcome:
    """Judge a session that failed, or that we ended while it waited to try again."""
    if report is not None and report.refused == "budget":
        return _failed(ending, *BY_SUBTYPE["error_max_budget_usd"], _FINAL)
    if report is not None and report.refused == "credential":
        return _given_back(ending, "CredentialMissing", "the broker has no credential for the model's API", 0)
    if report is not None and report.refused == "network":
        return _failed(ending, "NetworkError", "the broker could not reach the model's API", _RETRYABLE)
    if ending.expired is Expired.RETRIES:
        return _judge_status(ending, ending.retry_status, ending.retry_error, report)
    if ending.subtype in BY_SUBTYPE:
        return _failed(ending, *BY_SUBTYPE[ending.subtype], _FINAL)
    if ending.terminal_reason in ("aborted_streaming", "aborted_tools"):
        return _failed(ending, "Interrupted", "the session was interrupted", _RETRYABLE)
    if ending.terminal_reason in TOO_MUCH_CONTEXT:
        return _failed(ending, "ContextFull", "the conversation is longer than the model can take", _FINAL)
    if ending.model_stop == "refusal":
        return _failed(ending, "Refused", "the model refused to do it", _FINAL)
    if ending.message_error == "max_output_tokens":
        return _failed(ending, "TruncatedAnswer", "its answer was cut off, again and again", _RETRYABLE)
    return _judge_status(ending, ending.status, ending.message_error, report)


def _judge_status(ending: Ending, status: int | None, error: str, report: BrokerReport | None) -> Outcome:
    """Judge a session whose request to the model's API failed, by its HTTP status and the CLI's word for it."""
    wait = (report.retry_after_seconds if report else None) or ending.reset_seconds
    if status == 429 or error == "rate_limit":
        return _given_back(ending, "RateLimited", "the rate limit of the credential is reached", wait)
    if status == 402 or error == "billing_error":
        return _given_back(ending, "BillingProblem", "the account of the credential has no credit", wait)
    if status in (401, 403) or error == "authentication_failed":
        return _given_back(ending, "AuthenticationFailed", "the model's API does not take the credential", 0)
    if status == 529 or error == "overloaded":
        return _given_back(ending, "Overloaded", "the model is overloaded", wait)
    if status == 404 or error == "model_not_found":
        return _failed(ending, "ModelNotFound", "the model's API does not know the model", _FINAL)
    if status is not None and 400 <= status < 500:
        return _failed(ending, "BadRequest", f"the model's API answered {status}", _FINAL)
    if status is not None and status >= 500:
        return _failed(ending, "ServerError", f"the model's API answered {status}", _RETRYABLE)
    if error == "server_error" or ending.expired is Expired.RETRIES:
        return _failed(ending, "NetworkError", "the model's API could not be reached", _RETRYABLE)
    if error == "unknown":
        return _failed(ending, "ServerError", "the answer of the model's API could not be read", _RETRYABLE)
    return _failed(ending, "CliCrashed", "the session failed without saying why", _RETRYABLE)


def _judge_program(ending: Ending) -> Outcome:
    """Judge a session that ended without a last message."""
    if NO_FILES.search(ending.last_words):
        return _failed(ending, "WorkspaceFailed", "Claude Code could not use its folders", _RETRYABLE)
    if ending.not_started:
        return _failed(ending, "Misconfigured", f"Claude Code cannot be started: {ending.not_started}", _FINAL)
    if ending.exit_code == 1:
        return _failed(ending, "Misconfigured", "Claude Code ended at once with exit code 1", _FINAL)
    if ending.exit_code is None:
        return _failed(ending, "CliCrashed", ending.failure or "Claude Code ended without a result", _RETRYABLE)
    how = f"signal {-ending.exit_code}" if ending.exit_code < 0 else f"exit code {ending.exit_code}"
    return _failed(ending, "CliCrashed", f"Claude Code ended in the middle of the session: {how}", _RETRYABLE)


def _given_back(ending: Ending, reason: str, sentence: str, wait: float) -> Outcome:
    message = _with_words(ending, sentence)
    return Outcome(outcome=GIVEN_BACK, reason=reason, message=message, retry_after_seconds=max(0.0, wait))


def _failed(ending: Ending, reason: str, sentence: str, retryable: bool) -> Outcome:
    return Outcome(outcome=FAILED, reason=reason, message=_with_words(ending, sentence), retryable=retryable)


def _with_words(ending: Ending, sentence: str) -> str:
    """Append what the session said about its failure, or else the end of its stderr."""
    said = "" if ending.expired else "; ".join(ending.errors) or (ending.text if ending.is_error else "")
    return with_last_words(sentence, said or ending.last_words)
