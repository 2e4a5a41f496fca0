"""How an operator process ends: exit codes, and a sentence for each.

Owns the translation of what ended it into what a person or a supervisor should do. Pure but for a log line about the
unexpected. Never decides to end anything.
"""

from __future__ import annotations

import logging

from watchbill_coordination.storage.faults import Fenced, LogCorrupt, LogPoisoned, StorageFault
from watchbill_operator.api import ApiError
from watchbill_operator.election import LeaseLostError

logger = logging.getLogger(__name__)

EX_CORRUPT = 65  #: the log is corrupt: `watchbill repair` decides
EX_SOFTWARE = 70
EX_POISONED = 74  #: the volume failed: restart and recover
EX_REPLACED = 75  #: another operator leads: restart as a follower
EX_CONFIG = 78  #: something that a person has to mend


class OtherLogError(Exception):
    """The volume's log is not the one that the Lease names."""


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first cause in a group."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


def explain_end(error: BaseException) -> tuple[int, str]:
    """Exit code and sentence for what ended a process."""
    match error:
        case LogCorrupt():
            return EX_CORRUPT, f"the log is corrupt: {error}; `watchbill repair` shows what can be done"
        case Fenced() | LeaseLostError():
            return EX_REPLACED, f"another operator leads: {error}"
        case LogPoisoned() | StorageFault():
            return EX_POISONED, f"the volume failed: {error}"
        case OtherLogError():
            return EX_CONFIG, str(error)
        case OSError() | ApiError():
            return EX_POISONED, f"cannot go on: {error}"
        case _:
            logger.error("unexpected end", exc_info=error)
            return EX_SOFTWARE, f"unexpected {type(error).__name__}: {error}"
