"""Making whole what can be made whole: a torn tail, the head, names, projections.

Owns the plan from findings to steps, and carrying it out. Invariant: nothing acknowledged is given up unless the
caller accepts the loss in words; damaged bytes are put aside, never deleted; a second run finds nothing to do. It
refuses while a writer lives, and claims an epoch before it changes anything, so a writer that it could not see is
fenced. Where only derived files are wrong the log is not appended to, so that they come back byte-identical.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from watchbill_coordination.coordinator.projecting import Projector
from watchbill_coordination.coordinator.verify import Report, verify
from watchbill_coordination.core.evolve import evolve
from watchbill_coordination.core.state import State
from watchbill_coordination.projections.watermark import Watermark
from watchbill_coordination.storage.epochs import Holder, acquire_epoch
from watchbill_coordination.storage.event_log import EventLog, Opening
from watchbill_coordination.storage.faults import LogCorrupt, StorageFault, WriterAlive
from watchbill_coordination.storage.head import Head, HeadFile
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.segments import name_active
from watchbill_coordination.storage.verify import Finding
from watchbill_coordination.storage.writer import Writer

_DERIVED = ("Missing", "MissingLock", "Damaged", "Differs", "Ahead")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that `repair` would do, or did."""

    kind: str  #: Truncate | Accept | Head | Active | Rebuild | Refuse
    message: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was planned, whether it was done, and what `verify` says now."""

    steps: tuple[Step, ...]
    is_done: bool
    report: Report


def plan_repair(findings: Iterable[Finding], *, accept_loss: bool = False) -> tuple[Step, ...]:
    """Return the steps that answer the faults among `findings`; pure.

    Steps of kind Refuse say what only a person can mend.
    """
    return tuple(_plan_step(finding, accept_loss=accept_loss) for finding in findings if finding.is_fault)


def repair(
    layout: Layout, holder: Holder, *, dry_run: bool = True, accept_loss: bool = False, force: bool = False
) -> Repaired:
    """Find what is wrong and, unless `dry_run`, mend it.

    `force` goes on where it cannot be told from here whether the last writer lives. Raises WriterAlive, naming it;
    LogCorrupt for damage that only a person can mend; Fenced, StorageFault, OSError.
    """
    report = verify(layout)
    steps = plan_repair(report.findings, accept_loss=accept_loss)
    if dry_run or not steps:
        return Repaired(steps, False, report)
    _check_no_writer(report.log.writer, force=force)
    for finding, step in zip(report.faults, steps, strict=True):
        if step.kind == "Refuse":
            raise _refuse(finding)
    if any(step.kind in ("Truncate", "Accept") for step in steps):
        _repair_log(layout, holder, accept_loss=accept_loss)
    else:
        _repair_derived(layout, holder)
    return Repaired(steps, True, verify(layout))


def _plan_step(finding: Finding, *, accept_loss: bool) -> Step:
    match finding.kind:
        case "Torn":
            return Step(
                "Truncate", f"copy the tail to quarantine/ and go on before it: {finding.message}", finding.file
            )
        case "AcknowledgedLost" | "Corrupt" if accept_loss:
            return Step("Accept", f"put the damage aside and accept the loss: {finding.message}", finding.file)
        case "Head":
            return Step("Head", "write it again", finding.file)
        case "Active":
            return Step("Active", "give the newest segment this name again", finding.file)
        case kind if kind in _DERIVED and not finding.message.startswith("there is no log"):
            return Step("Rebuild", f"build it from the log: {finding.message}", finding.file)
        case _:
            return Step("Refuse", finding.message, finding.file)


def _refuse(finding: Finding) -> StorageFault:
    if finding.kind not in ("Corrupt", "AcknowledgedLost"):
        return StorageFault(f"{finding.file}: {finding.message}; nothing was changed")
    remedy = "nothing was changed: bring the file back from a copy, or accept the loss of everything from there on"
    reason = f"{finding.message}; {remedy}"
    return LogCorrupt(reason, file=Path(finding.file), offset=finding.offset, seq=finding.seq)


def _check_no_writer(writer: Writer | None, *, force: bool) -> None:
    if writer is None or writer.is_alive is False:
        return
    if writer.is_alive:
        raise WriterAlive(f"{writer} has the log open; stop it first")
    if not force:
        raise WriterAlive(f"{writer} may have the log open, which cannot be told from this host; stop it, or force")


def _repair_log(layout: Layout, holder: Holder, *, accept_loss: bool) -> None:
    """Begin a new segment behind the last whole record, seal it, and build the projections."""
    state = State()
    opening = Opening(holder, is_exclusive=True, accept_loss=accept_loss)
    log = EventLog.open(layout, opening, lambda recorded: evolve(state, recorded))
    try:
        evolve(state, log.seal())
        watermark = Watermark(log.log_id, log.epoch, log.committed_seq, log.committed_h.hex())
        Projector(layout).write(state, watermark, with_queue=True)
    finally:
        log.close()


def _repair_derived(layout: Layout, holder: Holder) -> None:
    """Write head, name and projections as of the log's end; the log itself stays as it is."""
    claim = acquire_epoch(layout, holder)
    try:
        report = verify(layout)
        recovered = report.log.recovered
        if recovered is None or recovered.segment is None:
            raise LogCorrupt("the log changed meanwhile", file=layout.active, seq=report.state.seq)
        segment, position = recovered.segment, recovered.position
        name_active(layout, segment)
        with HeadFile(layout) as head:
            head.write(Head(position.seq, segment.first, segment.epoch, recovered.sealed_bytes, position.h))
            head.sync()
        Projector(layout).write(report.state, report.watermark, with_queue=True)
    finally:
        claim.release()
