"""Green: a report from what the searches found. The figures stand beside it, for the review."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import tree

TITLES = {
    "inventory": ("Size", ("files", "lines", "bytes")),
    "functions": ("Functions", ("functions", "lines_in_functions")),
    "imports": ("Imports", ("statements", "edges")),
    "markers": ("Unfinished work", ("markers", "broad_excepts")),
    "duplicates": ("Repetition", ("blocks", "repeated")),
}


def section(name: str, figures: dict[str, Any]) -> list[str]:
    """Heading, a table of the figures, and the details as a list."""
    title, members = TITLES[name]
    lines = [f"## {title}", "", "| figure | value |", "|---|---|"]
    lines += [f"| {member.replace('_', ' ')} | {figures[member]} |" for member in members]
    details = figures.get("longest") or []
    return [*lines, "", *[f"- {item['lines']} lines: `{item['where']}`" for item in details], ""]


found = tree.results()
text = ["# What the searches found", ""]
for name in TITLES:
    if name in found:
        text += section(name, found[name])
target = pathlib.Path(os.environ.get("WATCHBILL_RESULT", "result"))
target.mkdir(exist_ok=True)
(target / "report.md").write_text("\n".join(text))
figures = {name: {member: found[name][member] for member in TITLES[name][1]} for name in sorted(found)}
tree.write(figures, f"a report on {', '.join(sorted(found))}: {sum(len(part) for part in figures.values())} figures")
