"""`make bench`: the figures of docs/benchmarks.md, measured on this machine in one run.

Owns the order and the table. Starts a system of its own in a temporary folder, so that nothing else is disturbed, and
stops it in the end. Prints Markdown.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.bench_system import BenchSystem
from benchmarks.idle import measure_idle
from benchmarks.latency import measure_first_instruction, measure_succeeded
from benchmarks.throughput import measure_throughput

Row = tuple[str, str, str]


def main() -> int:
    """Measure everything and print the table."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="watchbill-bench-") as folder:
        system = BenchSystem(Path(folder) / "home")
        began = time.monotonic()
        say("first start")
        system.start()
        rows.append(
            ("start until the agents are ready, nothing there before", "–", f"{time.monotonic() - began:.1f} s")
        )
        try:
            rows += measure(system)
        finally:
            system.stop()
    print(f"\n{machine()}\n")
    print("| measure | goal | measured |\n|---|---|---|")
    print("\n".join(f"| {what} | {goal} | {value} |" for what, goal, value in rows))
    return 0


def measure(system: BenchSystem) -> list[Row]:
    """All measurements of a running system."""
    say("200 tasks one at a time: first instruction")
    rows = measure_first_instruction(system, 200)
    say("200 tasks one at a time: Succeeded by watch")
    rows += measure_succeeded(system, 200)
    say("1,000 tasks on 8 slots")
    rows += measure_throughput(system, 1000)
    say("idle for 30 s")
    rows += measure_idle(system, 30.0)
    say("stop and start again")
    system.stop()
    began = time.monotonic()
    system.start()
    rows.append(("a later start until the agents are ready", "<= 5 s", f"{time.monotonic() - began:.1f} s"))
    return rows


def machine() -> str:
    """What it was measured on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}."


def say(text: str) -> None:
    """Show progress."""
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
