"""The table of figures, and the goals that the project set itself.

Owns the goals: a measurement knows only what it measured.
"""

from __future__ import annotations

from collections.abc import Mapping

Figures = dict[str, str]  #: what was measured → the figure with its unit, in the order of the table

NOTHING = "–"
SMALL_GOALS = {
    "create returned → first instruction of the command": "p50 <= 25 ms, p99 <= 100 ms",
    "create returned → Succeeded seen by watch, `true`": "p50 <= 50 ms",
    "tasks on 8 slots, first create to last Succeeded": ">= 100/s",
    "idle: operator and agents, share of one core": "<= 1 %",
    "idle: writes of the operator in 30 s": "the lease alone",
    "operator, resident": "<= 100 MB",
    "agent and its guard, resident (largest)": "<= 35 MB",
    "a later start until the agents are ready": "<= 5 s",
}
REAL_GOALS = {
    "create returned → first instruction of the command": "p50 <= 30 ms",
    "tasks on 8 slots, first create to last Succeeded": ">= 80/s",
    "API writes a task, all clients, as the server counts them": "<= 3",
    "processor time a task: operator": "<= 6 ms",
    "processor time a task: API server and etcd": "<= 12 ms",
    "processor time a task: all processes": "<= 25 ms",
    "idle: operator and agents, share of one core": "<= 1 %",
    "idle: writes of the operator in 30 s": "the lease alone",
}
CLAUDE = "claude"
CLAUDE_GOALS = {
    "Claude agent before its first session, resident": "<= 45 MB",
    "Claude agent idle after sessions, resident": "<= 95 MB",
    "assignment → Claude Code started, first session": "<= 1.5 s",
    "assignment → Claude Code started, later sessions": "p50 <= 30 ms",
    "broker: added to the first byte of an answer": "p50 <= 2 ms",
    "broker: resident, after a request by TLS": "<= 30 MB",
}
KIND = "kind"
KIND_GOALS = {
    "create returned → first instruction of the command": "p50 <= 60 ms",
    "pod created → its agent registered": "p50 <= 3 s",
    "`kubectl delete pod` of a working agent → its task runs on another": "p50 <= 2 s",
}
GOALS: Mapping[str, Mapping[str, str]] = {
    "small": SMALL_GOALS,
    "real": REAL_GOALS,
    KIND: KIND_GOALS,
    CLAUDE: CLAUDE_GOALS,
}


def render_table(found: Mapping[str, Figures]) -> str:
    """A Markdown table with two columns, goal and figure, for each control plane."""
    measures = list(dict.fromkeys(what for figures in found.values() for what in figures))
    head = ["measure", *(column for name in found for column in (f"{name}: goal", f"{name}: measured"))]
    rows = [head, ["---"] * len(head)]
    for what in measures:
        cells = [
            cell
            for name, figures in found.items()
            for cell in (GOALS[name].get(what, NOTHING), figures.get(what, NOTHING))
        ]
        rows.append([what, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
