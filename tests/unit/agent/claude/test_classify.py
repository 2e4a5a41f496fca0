"""The end of a session as an outcome. The real endings of Claude Code are in the integration tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_agent.claude.broker_report import BrokerReport
from watchbill_agent.claude.classify import Ending, Expired, classify_ending
from watchbill_agent.outcome import MAX_MESSAGE, MAX_RESULT, Outcome

GOOD = Ending(has_result=True, text="done", exit_code=0, turns=2, seconds=1.5)
BAD = Ending(has_result=True, is_error=True, exit_code=1, terminal_reason="api_error")

endings = st.builds(
    Ending,
    stop_reason=st.sampled_from(["", "Released"]),
    expired=st.none() | st.sampled_from(Expired),
    has_result=st.booleans(),
    is_error=st.booleans(),
    subtype=st.sampled_from(["success", "error_max_turns", "error_during_execution", "new"]),
    terminal_reason=st.sampled_from(["", "completed", "api_error", "aborted_tools", "prompt_too_long", "new"]),
    model_stop=st.sampled_from(["", "end_turn", "max_tokens", "refusal"]),
    status=st.none() | st.sampled_from([200, 400, 401, 402, 403, 404, 413, 429, 500, 502, 529]),
    text=st.sampled_from(["", " ", "done", "x" * 10_000]),
    structured=st.none() | st.just({}),
    message_error=st.sampled_from(["", "rate_limit", "server_error", "unknown", "new"]),
    retry_error=st.sampled_from(["", "rate_limit", "overloaded", "new"]),
    exit_code=st.none() | st.sampled_from([0, 1, 143, -9]),
    last_words=st.sampled_from(["", "EROFS: read-only", "y" * 10_000]),
    reset_seconds=st.floats(0, 1e6),
)
reports = st.none() | st.builds(
    BrokerReport,
    retry_after_seconds=st.none() | st.floats(0, 1e6),
    refused=st.sampled_from(["", "budget", "credential", "network", "ledger"]),
)


def judge(ending: Ending, report: BrokerReport | None = None, *, schema: bool = False) -> Outcome:
    return classify_ending(ending, report, wants_schema=schema, timeout=60.0)


@given(endings, reports, st.booleans())
def test_only_a_whole_answer_is_a_success(ending: Ending, report: BrokerReport | None, schema: bool) -> None:
    """Whatever else is said: nothing empty, nothing cut, nothing that was stopped."""
    outcome = judge(ending, report, schema=schema)
    is_whole = ending.has_result and not ending.is_error and ending.model_stop != "max_tokens"
    is_ours = ending.stop_reason or ending.expired in (Expired.DEADLINE, Expired.START, Expired.SILENCE)
    says_something = ending.structured is not None or (bool(ending.text.strip()) and not schema)
    expected = bool(is_whole and not is_ours and not ending.exit_code and says_something)
    assert (outcome.outcome == "Succeeded") == expected


@given(endings, reports, st.booleans())
def test_every_outcome_is_one_that_the_operator_takes(
    ending: Ending, report: BrokerReport | None, schema: bool
) -> None:
    """With a reason in one word, and within the limits."""
    outcome = judge(ending, report, schema=schema)
    assert outcome.outcome in ("Succeeded", "Failed", "Cancelled", "GivenBack")
    assert outcome.reason.isalnum() or outcome.outcome == "Succeeded"
    assert len(outcome.result) <= MAX_RESULT
    assert len(outcome.message) <= MAX_MESSAGE
    assert outcome.retry_after_seconds >= 0
    assert outcome.outcome == "GivenBack" or outcome.retry_after_seconds == 0


@given(endings, reports)
def test_a_stop_counts_before_all_else(ending: Ending, report: BrokerReport | None) -> None:
    """The operator asked for it and knows why."""
    outcome = judge(replace(ending, stop_reason="LeaseLost"), report)
    assert (outcome.outcome, outcome.reason) == ("Cancelled", "LeaseLost")


def test_a_success_has_turns_and_seconds() -> None:
    """As the session told them."""
    outcome = judge(GOOD)
    assert (outcome.outcome, outcome.turns, outcome.seconds, outcome.result) == ("Succeeded", 2, 1.5, "done")


@pytest.mark.parametrize(
    ("fields", "schema", "reason", "retryable"),
    [
        ({"exit_code": 1}, False, "CliCrashed", True),  # a full disk
        ({}, True, "SchemaNotMet", False),
        ({"text": " "}, False, "EmptyAnswer", True),
        ({"model_stop": "max_tokens"}, False, "TruncatedAnswer", True),
    ],
)
def test_an_answer_that_is_not_whole_is_a_failure(
    fields: dict[str, Any], schema: bool, reason: str, retryable: bool
) -> None:
    """Though the session says that all is well."""
    judged = judge(replace(GOOD, **fields), schema=schema)
    assert (judged.outcome, judged.reason, judged.retryable) == ("Failed", reason, retryable)


CASES: list[tuple[dict[str, Any], str, str, bool]] = [
    ({"status": 429}, "GivenBack", "RateLimited", True),
    ({"message_error": "rate_limit"}, "GivenBack", "RateLimited", True),
    ({"status": 529, "message_error": "server_error"}, "GivenBack", "Overloaded", True),
    ({"status": 401}, "GivenBack", "AuthenticationFailed", True),
    ({"status": 403}, "GivenBack", "AuthenticationFailed", True),
    ({"status": 402}, "GivenBack", "BillingProblem", True),
    ({"message_error": "billing_error", "status": 400}, "GivenBack", "BillingProblem", True),
    ({"status": 503}, "Failed", "ServerError", True),
    ({"message_error": "server_error"}, "Failed", "NetworkError", True),
    ({"message_error": "unknown"}, "Failed", "ServerError", True),
    ({"status": 404}, "Failed", "ModelNotFound", False),
    ({"status": 400}, "Failed", "BadRequest", False),
    ({"terminal_reason": "prompt_too_long", "status": 400}, "Failed", "ContextFull", False),
    ({"terminal_reason": "blocking_limit"}, "Failed", "ContextFull", False),
    ({"model_stop": "refusal"}, "Failed", "Refused", False),
    ({"message_error": "max_output_tokens"}, "Failed", "TruncatedAnswer", True),
    ({"subtype": "error_max_turns"}, "Failed", "MaxTurnsExceeded", False),
    ({"subtype": "error_max_budget_usd"}, "Failed", "BudgetExceeded", False),
    ({"subtype": "error_max_structured_output_retries"}, "Failed", "SchemaNotMet", False),
    ({"terminal_reason": "aborted_tools"}, "Failed", "Interrupted", True),
    ({}, "Failed", "CliCrashed", True),
]


@pytest.mark.parametrize(("fields", "outcome", "reason", "retryable"), CASES)
def test_a_failure_has_its_reason(fields: dict[str, Any], outcome: str, reason: str, retryable: bool) -> None:
    """By the fields that tell them apart."""
    judged = judge(replace(BAD, **fields))
    assert (judged.outcome, judged.reason, judged.retryable) == (outcome, reason, retryable)


@pytest.mark.parametrize(
    ("refused", "outcome", "reason", "retryable"),
    [
        ("budget", "Failed", "BudgetExceeded", False),
        ("credential", "GivenBack", "CredentialMissing", True),
        ("network", "Failed", "NetworkError", True),
    ],
)
def test_what_the_broker_refused_is_no_fault_of_the_api(
    refused: str, outcome: str, reason: str, retryable: bool
) -> None:
    """Claude Code sees only a status."""
    judged = judge(replace(BAD, status=403), BrokerReport(refused=refused))
    assert (judged.outcome, judged.reason, judged.retryable) == (outcome, reason, retryable)


def test_the_broker_knows_how_long_to_wait() -> None:
    """Better than the session does."""
    judged = judge(replace(BAD, status=429, reset_seconds=5.0), BrokerReport(retry_after_seconds=90.0))
    assert judged.retry_after_seconds == 90.0


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [("rate_limit", 429, "RateLimited"), ("authentication_failed", 401, "AuthenticationFailed"),
     ("overloaded", 529, "Overloaded"), ("server_error", 500, "ServerError"), ("unknown", None, "NetworkError")],
)  # fmt: skip
def test_a_session_that_was_not_waited_for_is_judged_by_what_it_waited_for(
    error: str, status: int | None, reason: str
) -> None:
    """Not by our interruption."""
    ending = Ending(expired=Expired.RETRIES, retry_error=error, retry_status=status)
    interrupted = replace(ending, has_result=True, is_error=True, terminal_reason="aborted_streaming", errors=("junk",))
    assert judge(ending).reason == judge(interrupted).reason == reason
    assert "junk" not in judge(interrupted).message


PROGRAMS: list[tuple[dict[str, Any], str, bool]] = [
    ({"exit_code": 1, "last_words": "error: unknown option"}, "Misconfigured", False),
    ({"exit_code": 1, "last_words": "EROFS: read-only file system, mkdir"}, "WorkspaceFailed", True),
    ({"exit_code": 1, "last_words": "Error: ENOSPC: no space left"}, "WorkspaceFailed", True),
    ({"not_started": "no such file"}, "Misconfigured", False),
    ({"exit_code": -9}, "CliCrashed", True),
    ({"exit_code": 0}, "CliCrashed", True),  # after SIGINT
    ({"exit_code": 143}, "CliCrashed", True),
    ({"failure": "JSON message exceeded"}, "CliCrashed", True),
    ({}, "CliCrashed", True),
]


@pytest.mark.parametrize(("fields", "reason", "retryable"), PROGRAMS)
def test_a_program_that_ends_without_a_result_has_its_reason(
    fields: dict[str, Any], reason: str, retryable: bool
) -> None:
    """By exit code and the system's error codes."""
    judged = judge(Ending(**fields))
    assert (judged.outcome, judged.reason, judged.retryable) == ("Failed", reason, retryable)


def test_a_signal_is_told_as_shells_tell_it() -> None:
    """128 and its number."""
    assert judge(Ending(exit_code=-9)).exit_code == 137


def test_a_deadline_keeps_what_was_said() -> None:
    """And names the field that set it."""
    judged = judge(replace(GOOD, has_result=False, expired=Expired.DEADLINE))
    assert (judged.reason, judged.retryable) == ("DeadlineExceeded", True)
    assert "timeoutSeconds" in judged.message
