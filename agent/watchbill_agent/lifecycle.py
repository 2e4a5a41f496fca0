"""What an agent does about what it observes: a pure table.

Owns the life of the agent process (Phase) and of its attempts (Stage). Invariant: an attempt is started at most once
in a life of the process and ends with exactly one report, unless the process itself is told to stop: then its running
work goes back by `released`, so that the operator queues it again at once. What is said to an attempt reaches it while
it runs and is not asked to stop. Takes values and returns effects; the loop carries them out. Keeps no clock and does
no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from watchbill_agent.outcome import CANCELLED, SUCCEEDED, Outcome
from watchbill_coordination.core.messages import (
    Accepted,
    Ack,
    Answer,
    Assign,
    Cancel,
    ChildEnded,
    Cleanup,
    Drain,
    Finished,
    Message,
    Registered,
    Released,
)
from watchbill_coordination.core.specs import TaskUid

MAX_REMEMBERED = 256  #: reports that are given again when their attempt is assigned again

Key = tuple[TaskUid, int]


class Phase(StrEnum):
    """Where the process stands."""

    STARTING = "Starting"  #: reads what a former life left in the inbox; starts nothing
    SERVING = "Serving"
    DRAINING = "Draining"  #: takes nothing new, lets the running attempts end
    STOPPING = "Stopping"  #: ends the running attempts and gives them back
    RELEASED = "Released"  #: nothing runs; the process exits


class Stage(StrEnum):
    """Where an attempt stands."""

    RUNNING = "Running"
    ENDING = "Ending"  #: asked to stop


# Observations besides the operator's messages.


@dataclass(frozen=True, slots=True)
class InboxRead:
    """All that a former life left in the inbox was looked at."""


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """A runner returned."""

    key: Key
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class DrainOverdue:
    """The time given for draining is up."""


@dataclass(frozen=True, slots=True)
class StopSignal:
    """SIGTERM or SIGINT."""


Observation = Message | InboxRead | AttemptEnded | DrainOverdue | StopSignal

# Effects.


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """Prepare the folder and run it."""

    assign: Assign


@dataclass(frozen=True, slots=True)
class StopAttempt:
    """Ask its runner to end it."""

    key: Key
    reason: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand it to the attempt's exchange."""

    key: Key
    message: Answer | ChildEnded


@dataclass(frozen=True, slots=True)
class Send:
    """Put a message into the outbox."""

    message: Message


@dataclass(frozen=True, slots=True)
class RemoveSent:
    """Acknowledged: remove these files from the outbox."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveWork:
    """Remove the folders of these tasks."""

    tasks: tuple[TaskUid, ...]


@dataclass(frozen=True, slots=True)
class StartDrainClock:
    """Observe DrainOverdue after that time."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Exit:
    """Leave, as soon as all that was sent is written."""


Effect = StartAttempt | StopAttempt | Deliver | Send | RemoveSent | RemoveWork | StartDrainClock | Exit

NEXT_PHASE: Mapping[tuple[Phase, type], Phase] = {
    (Phase.STARTING, InboxRead): Phase.SERVING,
    (Phase.STARTING, StopSignal): Phase.STOPPING,
    (Phase.SERVING, Drain): Phase.DRAINING,
    (Phase.SERVING, StopSignal): Phase.STOPPING,
    (Phase.DRAINING, DrainOverdue): Phase.STOPPING,
    (Phase.DRAINING, StopSignal): Phase.STOPPING,
}


@dataclass(slots=True)
class Life:
    """The state of one life of the process; `observe` changes it and returns what to do."""

    incarnation: str
    slots: int
    phase: Phase = Phase.STARTING
    attempts: dict[Key, Stage] = field(default_factory=dict)
    reports: dict[Key, Finished] = field(default_factory=dict)  #: the newest MAX_REMEMBERED

    def observe(self, observation: Observation) -> list[Effect]:
        """Take one observation; return its effects in order."""
        former = self.phase
        self.phase = NEXT_PHASE.get((former, type(observation)), former)
        effects = self._about(observation, former)
        if self.phase in (Phase.DRAINING, Phase.STOPPING) and not self.attempts:
            self.phase = Phase.RELEASED
            effects += [Send(Released(incarnation=self.incarnation)), Exit()]
        return effects

    def _about(self, observation: Observation, former: Phase) -> list[Effect]:
        changed = self.phase is not former
        match observation:
            case Ack():
                return [RemoveSent(observation.names)]
            case Cleanup():
                return [RemoveWork(tuple(t for t in observation.tasks if all(t != key[0] for key in self.attempts)))]
            case Assign() if self.phase is Phase.SERVING and observation.incarnation == self.incarnation:
                return self._assigned(observation)
            case Cancel() if former is not Phase.STARTING:
                return self._cancelled((observation.task, observation.attempt), observation.reason)
            case Answer() | ChildEnded() if self._is_working(key := (observation.task, observation.attempt)):
                return [Deliver(key, observation)]
            case AttemptEnded():
                return self._ended(observation.key, observation.outcome)
            case InboxRead() if changed:
                return [Send(Registered(incarnation=self.incarnation, slots=self.slots))]
            case Drain() if changed:
                return [StartDrainClock(observation.deadline_seconds)]
            case StopSignal() | DrainOverdue() if changed:
                return [self._stop(key, "Released") for key in self.attempts]
            case _:
                return []

    def _is_working(self, key: Key) -> bool:
        """Whether it runs and may go on."""
        return self.attempts.get(key) is Stage.RUNNING

    def _assigned(self, assign: Assign) -> list[Effect]:
        """Start it, unless it runs; one that has ended is reported again."""
        key = (assign.task, assign.attempt)
        if key in self.attempts:
            return []
        if key in self.reports:
            return [Send(self.reports[key])]
        self.attempts[key] = Stage.RUNNING
        accepted = Accepted(incarnation=self.incarnation, task=assign.task, attempt=assign.attempt)
        return [StartAttempt(assign), Send(accepted)]

    def _cancelled(self, key: Key, reason: str) -> list[Effect]:
        """Stop it; one that is unknown here does not run, which frees its slot just as well."""
        if key in self.attempts:
            return [] if self.attempts[key] is Stage.ENDING else [self._stop(key, reason)]
        never = Outcome(outcome=CANCELLED, reason="NeverStarted", message="the attempt was not running")
        return [Send(self.reports.get(key) or self._report(key, never))]

    def _stop(self, key: Key, reason: str) -> Effect:
        self.attempts[key] = Stage.ENDING
        return StopAttempt(key, reason)

    def _ended(self, key: Key, outcome: Outcome) -> list[Effect]:
        """Report the end, or give the work back when the process stops."""
        del self.attempts[key]
        if self.phase is Phase.STOPPING and outcome.outcome != SUCCEEDED:
            return []
        return [Send(self._report(key, outcome))]

    def _report(self, key: Key, outcome: Outcome) -> Finished:
        """Build the report and remember it."""
        report = Finished(
            incarnation=self.incarnation,
            task=key[0],
            attempt=key[1],
            outcome=outcome.outcome,
            reason=outcome.reason,
            message=outcome.message,
            retryable=outcome.retryable,
            exit_code=outcome.exit_code,
            result=outcome.result,
            retry_after_seconds=outcome.retry_after_seconds,
            turns=outcome.turns,
            seconds=outcome.seconds,
            usage=outcome.usage,
        )
        self.reports[key] = report
        while len(self.reports) > MAX_REMEMBERED:
            del self.reports[next(iter(self.reports))]
        return report
