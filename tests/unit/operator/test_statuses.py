"""Which statuses of the API are mended, and which are known to be right."""

from __future__ import annotations

from typing import Any, cast

from support.deciding import Ledger, accept, finish, start_pool, submit
from watchbill_coordination.core.commands import SubmitTask
from watchbill_coordination.core.specs import TaskUid
from watchbill_operator.fleet import Fleet
from watchbill_operator.patching import Target
from watchbill_operator.statuses import Statuses, task_target
from watchbill_operator.task_status import build_task_status


class Case:
    """A task that has ended, and its object as the operator left it."""

    def __init__(self) -> None:
        self.ledger: Ledger = start_pool("blue-0")
        for command in (submit("t"), accept("t"), finish("t", result="done")):
            self.ledger.do(command)
        self.statuses = Statuses(self.ledger.state, cast("Fleet", None), dict)  # pools alone need the fleet

    @property
    def target(self) -> Target:
        return task_target(self.ledger.task("t"))

    def body(self, version: int = 7, **status: Any) -> dict[str, Any]:
        """The object at that version; members of its status can be others."""
        right = build_task_status(self.ledger.state, self.ledger.task("t"), self.ledger.now)
        return {"metadata": {"resourceVersion": str(version)}, "status": {**right, **status}}


def test_an_edited_status_is_mended_although_it_was_right_before() -> None:
    """The edit made another version of the object."""
    case = Case()
    assert not case.statuses.differs(case.target, case.body(7))

    assert case.statuses.differs(case.target, case.body(8, message="I was here"))


def test_an_edited_status_stays_wrong_until_it_is_seen_right() -> None:
    """Each comparison says so: the patch may have been lost."""
    case = Case()
    case.statuses.differs(case.target, case.body(7))
    case.statuses.differs(case.target, case.body(8, phase="Failed"))

    assert case.statuses.differs(case.target, case.body(8, phase="Failed"))
    assert not case.statuses.differs(case.target, case.body(9))


def test_a_status_that_the_log_has_left_behind_is_mended() -> None:
    """The object is as it was; the task is not."""
    case = Case()
    before = case.body(7)
    case.statuses.differs(case.target, before)
    task = case.ledger.task("t")
    amended = SubmitTask(task=TaskUid("t"), name=task.name, spec={"role": "blue", "suspend": True}, generation=2)
    assert case.ledger.do(amended)

    assert case.statuses.differs(case.target, before)


def test_a_status_that_was_found_right_is_not_built_again() -> None:
    """Thousands of ended tasks are compared each minute: what the log says of a version that was right is not asked."""
    case = Case()
    case.statuses.differs(case.target, case.body(7))
    unread = {"metadata": {"resourceVersion": "7"}}

    assert not case.statuses.differs(case.target, unread)
