"""Checking log and projections together.

Owns the comparison of each projection with the fold at the projection's own watermark, byte for byte: a running
system's projections may lag behind the log, but never differ from it. Changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from watchbill_coordination.codec.records import Record
from watchbill_coordination.coordinator.projecting import build_projections, fixed_projections, list_projections
from watchbill_coordination.core.evolve import evolve
from watchbill_coordination.core.state import State
from watchbill_coordination.projections.watermark import Watermark, parse_watermark
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.verify import Finding, LogReport, verify_log


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found, and where the log ends."""

    log: LogReport
    state: State  #: the fold, as far as the log could be read
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that keep log and projections from being whole."""
        return tuple(finding for finding in self.findings if finding.is_fault)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    @property
    def watermark(self) -> Watermark:
        """The end of the log."""
        position = self.log.position
        return Watermark(position.log_id, position.ep, position.seq, position.h.hex())


@dataclass(slots=True)
class _Comparison:
    """The projections found on disk, compared while the fold goes by."""

    layout: Layout
    waiting: dict[int, dict[Path, bytes]] = field(default_factory=dict)  #: by watermark
    findings: list[Finding] = field(default_factory=list)

    def load(self) -> None:
        """Read the projections. Before the log is read, so that none can be ahead of it. Raises OSError."""
        for path in fixed_projections(self.layout):
            if not path.exists():
                self._tell("Missing", "missing; it can be built from the log", path)
        for path in list_projections(self.layout):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # a lock that was freed meanwhile
            watermark = parse_watermark(content)
            if watermark is None:
                self._tell("Damaged", "no watermark can be read; it can be built again from the log", path)
            else:
                self.waiting.setdefault(watermark.seq, {})[path] = content

    def compare(self, state: State, watermark: Watermark) -> None:
        """Compare those that say that they are this far."""
        here = self.waiting.pop(watermark.seq, None)
        if here is None:
            return
        expected = build_projections(self.layout, state, watermark)
        for path, content in here.items():
            if content != expected.get(path):
                message = f"differs from the log at seq {watermark.seq}; it can be built again"
                self._tell("Differs", message, path, watermark.seq)
        if self.layout.agent_registry in here:
            self._find_missing_locks(expected, watermark.seq)

    def tell_rest(self, seq: int, *, is_read: bool) -> None:
        """Report those that the fold never met: they are of another log, or the log could not be read that far."""
        for at, files in self.waiting.items():
            for path in files:
                if is_read:
                    self._tell("Ahead", f"says seq {at}; the log ends at {seq}", path, at)
                else:
                    message = f"not compared: the log cannot be read up to seq {at}"
                    self.findings.append(Finding("Unchecked", message, str(path), seq=at, is_fault=False))

    def _find_missing_locks(self, expected: dict[Path, bytes], seq: int) -> None:
        for path in expected:
            if path.parent == self.layout.locks and not path.exists():
                self._tell("MissingLock", "the lock is held or wanted, and has no file", path, seq)

    def _tell(self, kind: str, message: str, path: Path, seq: int = 0) -> None:
        self.findings.append(Finding(kind, message, str(path), seq=seq))


def verify(layout: Layout) -> Report:
    """Check everything below `layout` that is log or projection. Raises OSError."""
    comparison = _Comparison(layout)
    comparison.load()
    state = State()

    def see(record: Record) -> None:
        recorded = record.recorded
        evolve(state, recorded)
        if recorded.seq in comparison.waiting:
            watermark = Watermark(state.log_id, recorded.ep, recorded.seq, record.h.hex())
            comparison.compare(state, watermark)

    log = verify_log(layout, see)
    if log.recovered is None or log.recovered.segment is not None:
        comparison.tell_rest(state.seq, is_read=log.recovered is not None)
    else:
        comparison.findings.clear()  # no log: nothing can be compared
    found = [one for one in comparison.findings if not (log.is_live and one.kind == "MissingLock")]  # freed meanwhile
    return Report(log, state, (*log.findings, *found))
