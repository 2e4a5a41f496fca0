"""`watchbill repair`: make whole what can be made whole.

Owns the talk about it: by default the plan alone, with `--yes` its execution. Refuses while an operator is live, and
names it; in a pod the API server is asked for that, elsewhere the volume. Deletes nothing.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import asdict

from watchbill_cli.home import DAMAGED, Refused, default_home, volume_root
from watchbill_cli.operator_pods import Unanswered, check_none_lives, is_in_pod
from watchbill_cli.verify import exit_code, render
from watchbill_coordination.coordinator.repair import Repaired, Step, repair
from watchbill_coordination.storage.epochs import load_highest_epoch, load_holder, load_own_holder
from watchbill_coordination.storage.faults import LogCorrupt, StorageFault
from watchbill_coordination.storage.layout import Layout


def run_repair(arguments: Namespace) -> int:
    """Plan, carry out if asked to, and say what is left. Exit code as of `verify` afterwards."""
    layout = Layout(volume_root(default_home()))
    try:
        repaired = repair(
            layout,
            load_own_holder("watchbill repair"),
            dry_run=not arguments.yes,
            accept_loss=arguments.accept_loss,
            force=(arguments.yes and _is_pod_gone(layout, force=arguments.force)) or arguments.force,
        )
    except LogCorrupt as error:
        print(f"watchbill: {error} (`watchbill repair --accept-loss` shows what that gives up)", file=sys.stderr)
        return DAMAGED
    except StorageFault as error:
        raise Refused(str(error)) from error
    print(to_json(repaired) if arguments.output == "json" else to_text(repaired))
    return exit_code(repaired.report)


def _is_pod_gone(layout: Layout, *, force: bool) -> bool:
    """Whether the API server knows that the last writer, a pod, is gone; False: it cannot be told from here.

    Raises Refused where a pod of the operator is there, and where the API server says nothing unless `force` is given.
    """
    if not is_in_pod():
        return False
    try:
        check_none_lives()
    except Unanswered:
        if not force:
            raise
        return False
    holder = load_holder(layout, load_highest_epoch(layout))
    return holder is not None and bool(holder.pod_uid)


def to_text(repaired: Repaired) -> str:
    """A line a step, and what `verify` says now."""
    if not repaired.steps:
        return f"nothing to repair; {render(repaired.report)}"
    lines = [to_line(step, is_done=repaired.is_done) for step in repaired.steps]
    if repaired.is_done:
        return "\n".join([*lines, render(repaired.report)])
    if any(step.kind == "Refuse" for step in repaired.steps):
        mend = "bring the file back from a copy, or see with `--accept-loss` what would be given up"
        return "\n".join([*lines, f"nothing was changed, and `--yes` would change nothing: {mend}"])
    return "\n".join([*lines, "nothing was changed; the same with `--yes` carries it out"])


def to_line(step: Step, *, is_done: bool) -> str:
    """`would Rebuild: file: sentence`."""
    if step.kind == "Refuse":
        return f"cannot mend {step.file}: {step.message}"
    return f"{'done' if is_done else 'would'} {step.kind}: {step.file}{': ' if step.file else ''}{step.message}"


def to_json(repaired: Repaired) -> str:
    """The same for a script."""
    steps = [asdict(step) for step in repaired.steps]
    return json.dumps({"done": repaired.is_done, "whole": repaired.report.is_whole, "steps": steps}, indent=1)
