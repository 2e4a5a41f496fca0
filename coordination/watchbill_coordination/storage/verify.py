"""Checking the log without touching it.

Owns the findings about the log: chain, gaps, trailers, seals, head, names, left-overs. Each says where (file, offset,
seq), of which kind, and in a sentence what. Invariant: a log that a live writer appends to verifies as whole: what is
in flight behind the last acknowledged record is no finding. Changes nothing.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from watchbill_coordination.codec.records import NewerFormat, Record
from watchbill_coordination.core.events import LogOpened, LogSealed, Recorded
from watchbill_coordination.storage.faults import AcknowledgedLost, LogCorrupt
from watchbill_coordination.storage.head import load_head
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import Position
from watchbill_coordination.storage.recovery import Recovered, Visit, recover
from watchbill_coordination.storage.segments import Link, load_chain, load_segments, open_segment
from watchbill_coordination.storage.writer import Writer, load_writer


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, or that is worth a look."""

    kind: str  #: CamelCase: Corrupt, AcknowledgedLost, NewerFormat, Torn, Missing, Head, Active, Differs …
    message: str
    file: str = ""
    offset: int = 0  #: bytes from the start of the file
    seq: int = 0
    is_fault: bool = True  #: False: worth knowing, and nothing is wrong


@dataclass(slots=True)
class LogReport:
    """What was found in the log, and where it ends."""

    findings: list[Finding] = field(default_factory=list)
    position: Position = field(default_factory=Position)  #: of the last record that could be verified
    segments: int = 0
    writer: Writer | None = None
    last: Recorded | None = None
    recovered: Recovered | None = None  #: None where the log could not be read to its end

    @property
    def is_live(self) -> bool:
        """Whether a process on this host has the log open."""
        return self.writer is not None and self.writer.is_alive is True


def verify_log(layout: Layout, visit: Visit = lambda record: None) -> LogReport:
    """Read the whole log, hand each verified record to `visit`, and say what is wrong. Raises OSError."""
    report = LogReport()

    def see(record: Record) -> None:
        recorded = report.last = record.recorded
        if isinstance(recorded.event, LogOpened):
            report.position.log_id = recorded.event.log_id
        visit(record)

    try:
        chain = load_chain(layout)
        report.segments = len(chain)
        report.recovered = recover(layout, see)
        report.position = report.recovered.position
    except AcknowledgedLost as fault:
        report.findings.append(_tell_fault(layout, "AcknowledgedLost", fault))
    except LogCorrupt as fault:
        report.findings.append(_tell_fault(layout, "Corrupt", fault))
        report.findings += _check_digests(layout, fault.file)
    except NewerFormat as fault:
        seq = report.last.seq + 1 if report.last else 1
        report.findings.append(Finding("NewerFormat", str(fault), str(layout.active), seq=seq))
    if report.recovered is None and report.last is not None:
        position = report.position
        position.seq, position.ts, position.ep = report.last.seq, report.last.ts, report.last.ep
    is_sealed = report.last is not None and isinstance(report.last.event, LogSealed)
    report.writer = load_writer(layout, is_sealed=is_sealed)
    report.findings += _check_end(layout, report)
    report.findings += _check_names(layout)
    report.findings += _list_left_overs(layout)
    return report


def _check_end(layout: Layout, report: LogReport) -> list[Finding]:
    recovered = report.recovered
    if recovered is None:
        return []
    if recovered.segment is None:
        return [Finding("Missing", "there is no log here", str(layout.active))]
    findings = []
    if recovered.tail is not None and not report.is_live:
        tail = recovered.tail
        message = f"{len(tail.content)} bytes behind the last whole record, never acknowledged: {tail.reason}"
        findings.append(
            Finding("Torn", message, _name(layout, tail.segment.path), tail.offset, report.position.seq + 1)
        )
    if load_head(layout) is None:
        message = "missing or damaged: the end of the log cannot be checked against what was acknowledged"
        findings.append(Finding("Head", message, str(layout.head), seq=recovered.position.seq))
    return findings


def _check_names(layout: Layout) -> list[Finding]:
    """Compare `event-log.jsonl` with the newest segment, and list segments that do not belong to the log."""
    try:
        chain = load_chain(layout)
    except (LogCorrupt, NewerFormat):
        return []  # told already
    if not chain:
        return []
    newest = chain[-1].segment
    findings = []
    if not _is_same(layout.active, newest.path):
        is_copy = layout.active.is_file() and filecmp.cmp(layout.active, newest.path, shallow=False)
        what = "a copy" if is_copy else "another file" if layout.active.exists() else "missing"
        message = f"{what}; the newest segment is {newest.path.name}"
        findings.append(Finding("Active", message, str(layout.active), seq=newest.first, is_fault=not is_copy))
    names = {link.segment.name for link in chain}
    for orphan in load_segments(layout):
        if orphan.name not in names:
            message = "not part of the log: its writer was deposed before it acknowledged anything, or it was given up"
            findings.append(Finding("Orphan", message, str(orphan.path), seq=orphan.first, is_fault=False))
    return findings


def _check_digests(layout: Layout, reported: Path) -> list[Finding]:
    """Check the sealed segments one by one by their digests, where the walk stopped at one."""
    try:
        chain = load_chain(layout)
    except (LogCorrupt, NewerFormat):
        return []
    return [
        Finding("Corrupt", "differs from what its successor sealed", str(link.segment.path), seq=link.segment.first)
        for link in chain
        if link.sealed_bytes is not None and link.segment.path != reported and not _is_as_sealed(link)
    ]


def _is_as_sealed(link: Link) -> bool:
    digest = hashlib.sha256()
    left = link.sealed_bytes or 0
    with open_segment(link.segment) as file:
        while block := file.read(min(left, 1 << 20)):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest() == link.sealed_sha256


def _list_left_overs(layout: Layout) -> list[Finding]:
    """Name what lies in quarantine."""
    try:
        names = sorted(os.listdir(layout.quarantine))
    except FileNotFoundError:
        return []
    message = "damaged bytes or a malformed message, put aside"
    return [Finding("Quarantine", message, str(layout.quarantine / name), is_fault=False) for name in names]


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except FileNotFoundError:
        return False


def _tell_fault(layout: Layout, kind: str, fault: LogCorrupt) -> Finding:
    return Finding(kind, fault.reason, _name(layout, fault.file), fault.offset, fault.seq)


def _name(layout: Layout, segment: Path) -> str:
    """Name a file as people know it: the newest segment is `event-log.jsonl`."""
    return str(layout.active if _is_same(layout.active, segment) else segment)
