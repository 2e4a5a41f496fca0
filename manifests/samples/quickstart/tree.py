"""What the searches share: the files of a tree in a fixed order, and how a result is written."""

from __future__ import annotations

import ast
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any


def files(root: pathlib.Path) -> list[pathlib.Path]:
    """All regular files below `root`, sorted."""
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def text_of(path: pathlib.Path) -> str | None:
    """The file's text, or None where it is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def python_trees(root: pathlib.Path) -> Iterator[tuple[str, ast.Module]]:
    """(path below root, syntax tree) of each Python file that parses."""
    for path in files(root):
        text = text_of(path) if path.suffix == ".py" else None
        if text is None:
            continue
        try:
            yield str(path.relative_to(root)), ast.parse(text)
        except (SyntaxError, ValueError):
            continue


def argument() -> pathlib.Path:
    """The tree to work on: the first argument."""
    root = pathlib.Path(sys.argv[1])
    if not root.is_dir():
        sys.exit(f"{root} is no folder: is it named in the Task's context?")
    return root


def write(figures: dict[str, Any], summary: str) -> None:
    """Put the figures into the attempt's result and say one line."""
    target = pathlib.Path(os.environ.get("WATCHBILL_RESULT", "result"))
    target.mkdir(exist_ok=True)
    (target / "figures.json").write_text(json.dumps(figures, indent=1, sort_keys=True))
    print(summary)


def results() -> dict[str, dict[str, Any]]:
    """Figures of the Tasks that this one depends on, by the first word of their names."""
    folders = json.loads(os.environ["WATCHBILL_DEPENDENCIES"])
    loaded: dict[str, dict[str, Any]] = {}
    for name, folder in folders.items():
        stem = name.rsplit("-", 1)[0]
        loaded[stem] = json.loads((pathlib.Path(folder) / "figures.json").read_text())
    return loaded
