"""`make bench`: the figures of docs/benchmarks.md, measured on this machine in one run. See `--help` for parts of it.

Owns the order and the tables. Starts a system of its own on each control plane in a temporary folder, so that nothing
else is disturbed, and stops it in the end. Prints Markdown.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench_system import BenchSystem
from benchmarks.control_planes import PLANES, ControlPlane, open_control_plane, why_no_real_one
from benchmarks.idle import measure_idle
from benchmarks.latency import measure_first_instruction, measure_succeeded
from benchmarks.server_rate import measure_server_rate
from benchmarks.table import CLAUDE, KIND, Figures, render_table
from benchmarks.throughput import measure_throughput

FIRST_START = "start until the agents are ready, nothing there before"
LATER_START = "a later start until the agents are ready"


def main() -> int:
    """Measure everything and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Watchbill on this machine.")
    parser.add_argument(
        "--control-plane", choices=(*PLANES, KIND), help="measure on this one alone; by default on the first two"
    )
    parser.add_argument(
        "--claude", action="store_true", help="measure agents that run Claude Code and their broker alone"
    )
    parser.add_argument("--tasks", type=int, help="of the throughput measurement; by default 1,000, on real pods 500")
    arguments = parser.parse_args()
    planes = [arguments.control_plane] if arguments.control_plane else list(PLANES)
    planes = [] if arguments.claude or arguments.control_plane == KIND else planes
    if "real" in planes and (why := why_no_real_one()):
        say(f"nothing is measured on real Kubernetes: {why}")
        planes.remove("real")
    found: dict[str, Figures] = {}
    for name in planes:
        with (
            tempfile.TemporaryDirectory(prefix="watchbill-bench-") as folder,
            open_control_plane(name, folder) as plane,
        ):
            found[name] = measure(plane, Path(folder) / "home", arguments.tasks or 1000)
    if arguments.control_plane == KIND:
        found |= measure_pods(arguments.tasks or 500)
    if not arguments.control_plane:
        found |= measure_runner()
    if found:
        print(f"\n{machine()}")
    for part in (PLANES, (KIND,), (CLAUDE,)):
        if chosen := {name: figures for name, figures in found.items() if name in part}:
            print(f"\n{render_table(chosen)}")
    return 0 if found else 1


def measure_pods(tasks: int) -> dict[str, Figures]:
    """The figures on real pods; nothing where no kind cluster can be had."""
    from benchmarks.kind import measure_kind, why_no_kind

    if why := why_no_kind():
        say(f"nothing is measured on real pods: {why}")
        return {}
    say("a kind cluster")
    with tempfile.TemporaryDirectory(prefix="watchbill-bench-") as folder:
        return {KIND: measure_kind(Path(folder), tasks)}


def measure_runner() -> dict[str, Figures]:
    """What an agent with Claude Code and a broker cost; nothing where Claude Code is not installed."""
    if importlib.util.find_spec("claude_agent_sdk") is None:
        say("nothing is measured of Claude Code, which is not installed: scripts/environment complete")
        return {}
    from benchmarks.broker import measure_broker
    from benchmarks.claude import measure_claude

    say("an agent with Claude Code")
    with tempfile.TemporaryDirectory(prefix="watchbill-bench-") as folder:
        figures = measure_claude(Path(folder))
    say("a broker")
    return {CLAUDE: figures | measure_broker()}


def measure(plane: ControlPlane, home: Path, tasks: int) -> Figures:
    """All measurements on one control plane."""
    say(f"the {plane.name} API server: first start")
    system = BenchSystem(home, plane)
    began = time.monotonic()
    with running(system):
        figures = {FIRST_START: f"{time.monotonic() - began:.1f} s"}
        say("200 tasks one at a time: first instruction")
        figures |= measure_first_instruction(system, 200)
        say("200 tasks one at a time: Succeeded by watch")
        figures |= measure_succeeded(system, 200)
        say("the server alone: 1,000 creates, 1,000 status patches")
        figures |= measure_server_rate(system.config, 1000)
        say(f"{tasks} tasks on 8 slots")
        figures |= measure_throughput(system, tasks)
        say("idle for 30 s")
        figures |= measure_idle(system, 30.0)
        say("stop and start again")
        system.stop()
        began = time.monotonic()
        system.start()
        figures[LATER_START] = f"{time.monotonic() - began:.1f} s"
    return figures


@contextmanager
def running(system: BenchSystem) -> Iterator[None]:
    """Have it started, and stopped in the end."""
    try:
        system.start()
        yield
    finally:
        system.stop()


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
