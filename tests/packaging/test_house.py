"""The layout that imports, types and tests rely on."""

from __future__ import annotations

import ast
import importlib.metadata
import io
import subprocess
import sys
import token
import tokenize
from pathlib import Path

import pytest

from watchbill_coordination.core.event_types import EVENT_TYPES
from watchbill_coordination.core.state import State
from watchbill_operator.metrics import Metrics

CHECKOUT = Path(__file__).resolve().parents[2]
ROOMS = ("agent", "cli", "coordination", "local", "operator", "tests")


@pytest.mark.parametrize("room", ROOMS)
def test_no_top_level_folder_is_a_package(room: str) -> None:
    """`operator/__init__.py` would shadow the standard library."""
    assert (CHECKOUT / room).is_dir()
    assert not (CHECKOUT / room / "__init__.py").exists()


def test_no_folder_below_tests_is_a_package() -> None:
    """pytest imports test files by path."""
    assert list((CHECKOUT / "tests").rglob("__init__.py")) == []


def test_the_standard_librarys_operator_is_not_shadowed() -> None:
    """Also when the checkout is the working directory."""
    done = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.add(1, 2))"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == "3"


def test_every_file_keeps_to_its_size() -> None:
    """At most 400 lines; whoever needs more finds a second module in it."""
    long = {
        str(path.relative_to(CHECKOUT)): lines
        for room in ROOMS
        for path in (CHECKOUT / room).rglob("*.py")
        if (lines := path.read_text().count("\n")) > 400
    }

    assert long == {}


def count_code(path: Path) -> int:
    """Lines with code; blank ones, comments and docstrings do not count."""
    text = path.read_text()
    silent = (token.COMMENT, token.NL, token.NEWLINE, token.INDENT, token.DEDENT, token.ENDMARKER)
    tokens = [item for item in tokenize.generate_tokens(io.StringIO(text).readline) if item.type not in silent]
    lines = {line for item in tokens for line in range(item.start[0], item.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)


@pytest.mark.parametrize(("folder", "most"), [("server", 4850), ("node", 1990)])
def test_the_local_control_plane_stays_small(folder: str, most: int) -> None:
    """It is for trying things and for tests; what does not fit is left out (docs/decisions/0007 and 0008)."""
    files = (CHECKOUT / "local" / "watchbill_local" / folder).rglob("*.py")

    assert sum(count_code(path) for path in files) <= most


def test_every_dependency_has_its_reason() -> None:
    """A comment behind each line of pyproject's lists."""
    lines = (CHECKOUT / "pyproject.toml").read_text().splitlines()
    start, end = lines.index("dependencies = ["), lines.index("[project.scripts]")
    named = [line for line in lines[start:end] if line.strip().startswith('"')]

    assert named
    assert [line for line in named if "#" not in line] == []


def test_every_event_is_in_the_docs() -> None:
    """The format on disk is documented whole."""
    text = (CHECKOUT / "docs" / "event-format.md").read_text()

    assert [name for name in EVENT_TYPES if f"`{name}`" not in text] == []


def test_the_command_is_installed() -> None:
    """As a console script of this distribution."""
    scripts = importlib.metadata.distribution("watchbill").entry_points

    assert [entry.value for entry in scripts if entry.name == "watchbill"] == ["watchbill_cli.main:main"]


def test_agents_md_is_short() -> None:
    """At most 80 lines, so that it is read."""
    assert len((CHECKOUT / "AGENTS.md").read_text().splitlines()) <= 80


def test_every_metric_is_in_the_docs() -> None:
    """By its name in the text form."""
    metrics = Metrics()
    metrics.derive_from(State)
    text = (CHECKOUT / "docs" / "metrics.md").read_text()
    names = {family.name for family in metrics.registry.collect()}

    assert len(names) > 10
    assert [name for name in sorted(names) if f"`{name}" not in text] == []
