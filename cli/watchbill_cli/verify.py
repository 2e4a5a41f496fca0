"""`watchbill verify`: is the log whole, and does every projection agree with it?

Owns how the findings are shown. Exit code 0 only if nothing is wrong, 65 if the log itself is damaged, 1 if something
derived is.
"""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict

from watchbill_cli.home import DAMAGED, default_home, volume_root
from watchbill_coordination.coordinator.verify import Report, verify
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.verify import Finding


def run_verify(arguments: Namespace) -> int:
    """Check, show every finding, say the verdict."""
    report = verify(Layout(volume_root(default_home())))
    print(json.dumps(to_members(report), indent=1) if arguments.output == "json" else render(report))
    return exit_code(report)


def exit_code(report: Report) -> int:
    """0 whole, 65 the log is damaged, 1 something derived is."""
    if report.is_whole:
        return 0
    return DAMAGED if any(finding.is_fault for finding in report.log.findings) else 1


def render(report: Report) -> str:
    """A line a finding, and the verdict."""
    lines = [render_finding(finding) for finding in report.findings]
    place = f"{report.log.position.seq} records in {report.log.segments} segments"
    tasks = f"{len(report.state.tasks)} tasks, {len(report.state.replicas)} replicas"
    verdict = "whole" if report.is_whole else f"{len(report.faults)} faults; `watchbill repair` says what can be done"
    return "\n".join([*lines, f"{place}, {tasks}: {verdict}"])


def render_finding(finding: Finding) -> str:
    """`fault Corrupt: file: offset 1, seq 2: sentence`."""
    place = [finding.file] if finding.file else []
    place += [f"offset {finding.offset}"] if finding.offset else []
    place += [f"seq {finding.seq}"] if finding.seq else []
    return f"{'fault' if finding.is_fault else 'note'} {finding.kind}: {', '.join(place)}: {finding.message}"


def to_members(report: Report) -> dict[str, object]:
    """The same for a script."""
    return {
        "whole": report.is_whole,
        "seq": report.log.position.seq,
        "segments": report.log.segments,
        "logId": report.log.position.log_id,
        "findings": [asdict(finding) for finding in report.findings],
    }
