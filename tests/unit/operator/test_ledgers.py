"""What a broker's ledger says, whoever wrote it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.deciding import register, start_pool, submit
from watchbill_coordination.core.messages import Finished
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.usage import Usage
from watchbill_coordination.storage.layout import ledger_file, transcript_file
from watchbill_operator.ledgers import (
    Account,
    build_report,
    parse_attempt_name,
    parse_ledger,
    parse_said,
    plan_ledger_removal,
    plan_reading,
    runs_claude,
)

T1 = TaskUid("t1")
BLUE = ReplicaName("blue-0")
CLAUDE: dict[str, Any] = {"runner": {"claude": {}}}


def ledger(**changes: Any) -> bytes:
    """A sound ledger of attempt 1 of t1, with members changed."""
    body = {
        "v": 1,
        "task": "t1",
        "attempt": 1,
        "requests": 3,
        "inputTokens": 100,
        "outputTokens": 20,
        "cacheReadTokens": 1000,
        "cacheWriteTokens": 50,
        "costUSD": 0.0123456,
    }
    return json.dumps(body | changes).encode()


def test_a_sound_ledger_is_read() -> None:
    """Money to a millionth of a dollar."""
    assert parse_ledger(ledger(), T1, 1) == Usage(
        requests=3,
        input_tokens=100,
        output_tokens=20,
        cache_read_tokens=1000,
        cache_write_tokens=50,
        cost_usd=0.012346,
    )


def said(**usage: float) -> Finished:
    """The last words of an attempt that no broker counted for."""
    return Finished(incarnation="pod/1", task=T1, attempt=1, outcome="Succeeded", usage=usage)


def test_without_a_broker_an_attempt_says_itself_what_it_used() -> None:
    """By the names of a ledger."""
    assert parse_said(said(inputTokens=100.0, costUSD=0.5)) == Usage(input_tokens=100, cost_usd=0.5)


@given(st.dictionaries(st.sampled_from(["requests", "inputTokens", "costUSD", "other"]), st.floats(-1e15, 1e15)))
def test_whatever_an_attempt_says_of_its_use_is_bounded(usage: dict[str, float]) -> None:
    """Or counts for nothing."""
    found = parse_said(said(**usage))

    assert 0 <= found.cost_usd <= 1e6
    assert min(found.requests, found.input_tokens) >= 0


NONSENSE = {
    "no JSON": b"{",
    "another form": b"[1]",
    "deep nesting": b"[" * 4000,
    "another version": ledger(v=2),
    "another task": ledger(task="t2"),
    "another attempt": ledger(attempt=2),
    "negative tokens": ledger(inputTokens=-1),
    "tokens as text": ledger(outputTokens="20"),
    "tokens that are true": ledger(requests=True),
    "a fraction of a token": ledger(cacheReadTokens=0.5),
    "too many tokens": ledger(cacheWriteTokens=2**60),
    "a negative cost": ledger(costUSD=-0.01),
    "no number": ledger(costUSD=float("nan")),
    "no end of money": ledger(costUSD=float("inf")),
    "a cost as text": ledger(costUSD="0.01"),
}


@pytest.mark.parametrize("content", NONSENSE.values(), ids=NONSENSE.keys())
def test_a_ledger_that_makes_no_sense_counts_for_nothing(content: bytes) -> None:
    """It may be anybody's who could write there."""
    with pytest.raises(ValueError, match=r"^[a-zA-Z]+ is "):
        parse_ledger(content, T1, 1)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(content: bytes) -> None:
    """A ledger is an account, or a ValueError."""
    with pytest.raises(ValueError, match=r"^[a-zA-Z]+ is "):
        parse_ledger(content, T1, 1)


@given(uid=st.from_regex(r"[a-z0-9][a-z0-9.-]{0,60}", fullmatch=True), attempt=st.integers(1, 10**9 - 1))
def test_a_files_name_tells_task_and_attempt(uid: str, attempt: int) -> None:
    """Also where the uid itself has dashes."""
    assert parse_attempt_name(ledger_file(TaskUid(uid), attempt), ".json") == (uid, attempt)
    assert parse_attempt_name(transcript_file(TaskUid(uid), attempt), ".jsonl") == (uid, attempt)


@pytest.mark.parametrize(
    "name", ["", "t1.json", "-1.json", "t1-01.json", "t1-x.json", "../t-1.json", "t1-1.txt", "t1-²"]
)
def test_another_name_tells_nothing(name: str) -> None:
    """Such a file is left alone."""
    assert parse_attempt_name(name, ".json") is None


def test_the_last_words_bring_turns_and_seconds() -> None:
    """Tokens and money are the broker's to tell."""
    said = Finished(incarnation="pod/1", task=T1, attempt=1, outcome="Succeeded", turns=4, seconds=12.34567)
    report = build_report(Account(BLUE, T1, 1, Usage(requests=3, cost_usd=0.5)), said)

    assert report.usage == Usage(requests=3, cost_usd=0.5, turns=4, seconds=12.346)


def test_only_replicas_with_a_model_have_ledgers() -> None:
    """A pool of commands costs no look at a file."""
    assert runs_claude(start_pool("blue-0", **CLAUDE).state, BLUE)
    assert not runs_claude(start_pool("blue-0").state, BLUE)


def test_the_ledger_of_an_attempt_that_runs_is_left_to_its_end() -> None:
    """Its last words bring it."""
    ledger = start_pool("blue-0", **CLAUDE)
    ledger.do(submit("t1"))

    assert plan_reading([(T1, 1), (TaskUid("gone"), 1)], BLUE, ledger.state) == []


def test_the_ledger_of_an_attempt_that_was_lost_is_read() -> None:
    """Nobody else tells of it."""
    ledger = start_pool("blue-0", **CLAUDE)
    ledger.do(submit("t1"))
    ledger.do(register("blue-0", "pod-of-blue-0/2"))

    assert plan_reading([(T1, 1), (T1, 2)], BLUE, ledger.state) == [(T1, 1)]


def test_the_ledgers_of_tasks_that_are_gone_are_removed() -> None:
    """Those of others stay."""
    ledger = start_pool("blue-0", **CLAUDE)
    ledger.do(submit("t1"))

    assert plan_ledger_removal([(T1, 1), (TaskUid("gone"), 1)], ledger.state) == [(TaskUid("gone"), 1)]
