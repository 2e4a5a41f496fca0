"""The quickstart on real input: its results are right for the tree given."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from support.system import System

SOURCE = '''"""A module."""

import os
from pathlib import Path


def short(x: int) -> int:
    return x + 1


class Thing:
    def long(self) -> None:
        """Has
        several lines."""
        try:
            os.remove("x")
        except Exception:
            pass  # TODO mend this

    async def waits(self) -> None: ...
'''


def write_tree(folder: Path) -> None:
    """A small project, with a git-ignored look-alike that must not count when git is there."""
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "a.py").write_text(SOURCE)
    (folder / "pkg" / "b.py").write_text(SOURCE)
    (folder / "broken.py").write_text("def (:\n")
    (folder / "notes.md").write_text("FIXME later\nTODOS are not it\n")
    (folder / "data.bin").write_bytes(bytes(range(256)))


def figures(system: System, stem: str) -> dict[str, object]:
    """Figures of the newest Task of that name, as they lie in the shared context."""
    [uid] = [
        task["metadata"]["uid"]
        for task in system.list("tasks")
        if task["metadata"]["name"].rsplit("-", 1)[0] == stem and task["status"]["phase"] == "Succeeded"
    ]
    loaded: dict[str, object] = json.loads((system.root / "shared-context/results" / uid / "figures.json").read_text())
    return loaded


@pytest.mark.agents(blue=2, green=1, red=1)
def test_the_quickstart_counts_what_is_there(own_system: System, tmp_path: Path) -> None:
    """All Tasks succeed, the review agrees, and the figures equal an independent count."""
    tree = tmp_path / "a tree"
    write_tree(tree)

    done = own_system.quickstart(tree)

    assert done.code == 0, done.err + done.out
    assert done.out.count("Succeeded") == 8
    inventory = figures(own_system, "inventory")
    paths = [path for path in tree.rglob("*") if path.is_file()]
    assert inventory["files"] == len(paths)
    assert inventory["bytes"] == sum(path.stat().st_size for path in paths)
    defs = [node for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert figures(own_system, "functions")["functions"] == 2 * len(defs)
    assert figures(own_system, "imports")["statements"] == 4
    marks = figures(own_system, "markers")
    assert (marks["markers"], marks["broad_excepts"]) == (3, 2)

    again = own_system.quickstart(tree)
    assert again.code == 0
    assert len(own_system.list("tasks")) == 8, "an unchanged input shows the table from the log"

    (tree / "notes.md").write_text("nothing left\n")
    changed = own_system.quickstart(tree)
    assert changed.code == 0
    assert len(own_system.list("tasks")) == 16, "a changed input runs anew"
