"""Findings as Kubernetes Events, results as outcomes, ends as exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchbill_coordination.core.commands import FinishAttempt
from watchbill_coordination.storage.faults import Fenced, LogCorrupt, LogPoisoned
from watchbill_coordination.storage.results import ResultCopied, ResultRefused
from watchbill_operator.conditions import Finding
from watchbill_operator.election import LeaseLostError
from watchbill_operator.endings import explain_end
from watchbill_operator.mail import accept_result
from watchbill_operator.notices import Subject, build_notice

SUBJECT = Subject("v1", "ConfigMap", "a" * 253, "uid", "default")


def finish() -> FinishAttempt:
    """A success, as the agent tells it."""
    return FinishAttempt(agent="blue-0", incarnation="p/1", task="t", attempt=1, outcome="Succeeded")


def test_the_same_finding_makes_the_same_event() -> None:
    """Saying it twice makes one."""
    finding = Finding("Malformed", "It is not base64.")

    assert build_notice(SUBJECT, finding, 1.0)["metadata"] == build_notice(SUBJECT, finding, 2.0)["metadata"]


def test_an_events_name_fits_whatever_its_object_is_called() -> None:
    """253 characters are the most for a name."""
    assert len(build_notice(SUBJECT, Finding("Malformed", "x" * 5000), 1.0)["metadata"]["name"]) <= 253


def test_an_accepted_result_tells_its_size() -> None:
    """As it was copied, not as the agent said."""
    accepted = accept_result(finish(), ResultCopied(files=2, bytes=10))

    assert (accepted.outcome, accepted.files, accepted.bytes) == ("Succeeded", 2, 10)


def test_a_refused_result_makes_the_attempt_fail_for_good() -> None:
    """The same command would make the same result."""
    refused = accept_result(finish(), ResultRefused(reason="it has a link"))

    assert (refused.outcome, refused.reason, refused.retryable) == ("Failed", "ResultRefused", False)
    assert "it has a link" in refused.message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LogCorrupt("wrong hash", file=Path("f"), offset=3, seq=4), 65),
        (LogPoisoned("sync failed"), 74),
        (OSError(5, "I/O error"), 74),
        (Fenced("epoch 3"), 75),
        (LeaseLostError("gone"), 75),
        (ZeroDivisionError("oops"), 70),
    ],
)
def test_every_end_has_its_exit_code(error: BaseException, code: int) -> None:
    """Scripts and people go by it."""
    assert explain_end(error)[0] == code
