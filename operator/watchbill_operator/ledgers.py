"""What attempts have used of their model, by the ledgers that the brokers keep.

Owns reading and removing what lies in `ledger/` of a workspace, as hostile input. Invariant: a ledger that makes no
sense counts for nothing, and is told. `parse_`, `plan_` and `build_` functions are pure, the others block. Never prices
anything, the broker does; never decides what a report is worth, the rules do.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from watchbill_coordination.codec.messages import is_task_uid
from watchbill_coordination.core.commands import ReportUsage
from watchbill_coordination.core.messages import Finished
from watchbill_coordination.core.specs import ReplicaName, TaskUid
from watchbill_coordination.core.state import State
from watchbill_coordination.core.usage import Usage
from watchbill_coordination.storage.hostile import (
    GoneError,
    HostileFileError,
    list_names,
    open_directory,
    read_regular,
    remove_file,
)
from watchbill_coordination.storage.layout import Layout, ledger_file

logger = logging.getLogger(__name__)

LEDGER = "ledger"  #: below a workspace
SIZE_LIMIT = 64 * 1024  #: bytes of one ledger, as brokers bound it
LISTING_LIMIT = 10_000  #: names looked at in one folder
MAX_COUNT = 2**53  #: tokens, requests; every JSON reader agrees on integers below it
MAX_COST_USD = 1e6  #: of one attempt
COUNTS = {
    "requests": "requests",
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheReadTokens": "cache_read_tokens",
    "cacheWriteTokens": "cache_write_tokens",
}


@dataclass(frozen=True, slots=True)
class Account:
    """One attempt's use, and the replica whose broker told of it."""

    replica: ReplicaName
    task: TaskUid
    attempt: int
    usage: Usage


def runs_claude(state: State, replica: ReplicaName) -> bool:
    """Whether this replica works with a model, so that it has a broker and its attempts have ledgers."""
    known = state.replicas.get(replica)
    agent = None if known is None else state.agents.get(known.agent)
    return agent is not None and agent.spec.runner == "claude"


def parse_ledger(content: bytes, task: TaskUid, attempt: int) -> Usage:
    """Read the ledger of that attempt. Raises ValueError with a sentence where it is none."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(body, dict) or body.get("v") != 1:
        raise ValueError("it is not a ledger of version 1")
    if body.get("task") != task or body.get("attempt") != attempt:
        raise ValueError("it is about another attempt")
    counts = {field: _parse_count(body, name) for name, field in COUNTS.items()}
    return Usage(cost_usd=_parse_cost(body), **counts)


def parse_said(said: Finished) -> Usage:
    """What an attempt itself says that it used, where no broker counted it. What makes no sense counts for nothing."""
    try:
        counts = {field: _parse_count({name: int(said.usage.get(name, 0))}, name) for name, field in COUNTS.items()}
        return Usage(cost_usd=_parse_cost(dict(said.usage)), **counts)
    except ValueError as error:
        logger.warning("what attempt %d of %s says of its use counts for nothing: %s", said.attempt, said.task, error)
        return Usage()


def _parse_count(body: dict[str, Any], name: str) -> int:
    value = body.get(name, 0)
    if type(value) is not int or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{name} is no count")
    return value


def _parse_cost(body: dict[str, Any]) -> float:
    value = body.get("costUSD", 0)
    if type(value) not in (int, float) or not 0 <= value <= MAX_COST_USD:  # NaN is in no range
        raise ValueError("costUSD is no amount")
    return round(float(value), 6)


def read_ledger(layout: Layout, replica: ReplicaName, task: TaskUid, attempt: int) -> Account | None:
    """The account of one attempt; None where there is no sound one, which is told unless there is none at all."""
    try:
        with open_directory(layout.workspace(replica), (LEDGER,)) as folder:
            content = read_regular(folder, ledger_file(task, attempt), SIZE_LIMIT)
        return Account(replica, task, attempt, parse_ledger(content, task, attempt))
    except GoneError:
        return None
    except (HostileFileError, ValueError) as error:
        logger.warning("the ledger of attempt %d of %s on %s counts for nothing: %s", attempt, task, replica, error)
        return None


def list_ledgers(layout: Layout, replica: ReplicaName) -> list[tuple[TaskUid, int]]:
    """Task and attempt of each ledger of a replica, at most `LISTING_LIMIT`; other names are left out."""
    try:
        with open_directory(layout.workspace(replica), (LEDGER,)) as folder:
            names = list_names(folder, LISTING_LIMIT)
    except (HostileFileError, OSError):
        return []
    parsed = (parse_attempt_name(name, ".json") for name in names)
    return [attempt for attempt in parsed if attempt is not None]


def parse_attempt_name(name: str, suffix: str) -> tuple[TaskUid, int] | None:
    """Task and attempt that a file is called after, `<uid>-<attempt><suffix>`; None for any other name."""
    uid, dash, number = name.removesuffix(suffix).rpartition("-")
    if not name.endswith(suffix) or not dash or not is_task_uid(uid) or not (number.isascii() and number.isdecimal()):
        return None
    if len(number) > 9 or str(int(number)) != number:
        return None
    return TaskUid(uid), int(number)


def remove_ledgers(layout: Layout, replica: ReplicaName, attempts: Iterable[tuple[TaskUid, int]]) -> None:
    """Remove the ledgers of these attempts, as far as permitted."""
    try:
        with open_directory(layout.workspace(replica), (LEDGER,)) as folder:
            for task, attempt in attempts:
                remove_file(folder, ledger_file(task, attempt))
    except HostileFileError as error:
        logger.warning("the ledgers of %s were not removed: %s", replica, error)


def plan_reading(
    present: Iterable[tuple[TaskUid, int]], replica: ReplicaName, state: State
) -> list[tuple[TaskUid, int]]:
    """Of the ledgers that are present, those of attempts that are over and whose Task is still there."""
    known = state.replicas.get(replica)
    live = {} if known is None else known.attempts
    return [
        (task, attempt)
        for task, attempt in present
        if task in state.tasks and not (task in live and live[task].attempt == attempt)
    ]


def plan_ledger_removal(present: Iterable[tuple[TaskUid, int]], state: State) -> list[tuple[TaskUid, int]]:
    """Of the ledgers that are present, those whose Task is gone."""
    return [(task, attempt) for task, attempt in present if task not in state.tasks]


def build_report(account: Account, said: Finished | None = None) -> ReportUsage:
    """What is to be recorded; rules bound it. `said`: the attempt's last words, which tell of turns and seconds."""
    usage = account.usage if said is None else replace(account.usage, turns=said.turns, seconds=round(said.seconds, 3))
    return ReportUsage(agent=account.replica, task=account.task, attempt=account.attempt, usage=usage)
