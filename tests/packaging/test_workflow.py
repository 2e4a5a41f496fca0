"""The workflow for forks: its form, and each of its steps run here, or collected, or named with why it cannot be."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

CHECKOUT = Path(__file__).resolve().parents[2]
WORKFLOW = CHECKOUT / ".github" / "workflows" / "ci.yaml"
BIN = Path(sys.executable).parent
ABSENT = 3  #: the scripts' exit code where what is needed is not on this machine
JOBS: Mapping[str, Any] = YAML(typ="safe").load(WORKFLOW.read_text())["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
LINES = list(dict.fromkeys(step["run"] for step in STEPS if "run" in step))

RUN_HERE = {
    "scripts/workflow versions",
    "scripts/workflow environment",
    "ruff format --check .",
    "ruff check .",
    "mypy",
    "lint-imports",
}
#: They are instant where the cache has what they build; the command that says so.
RUN_WHERE_BUILT = {
    "scripts/control-plane build": ["scripts/control-plane where"],
    "scripts/test-tools build actionlint": ["scripts/test-tools where actionlint"],
    "scripts/test-tools build keda metrics": ["scripts/test-tools where keda", "scripts/test-tools where metrics"],
}
NOT_HERE = {
    'pytest -m "not long" tests/packaging/test_workflow.py': "it is this file",
    "scripts/workflow kind": "it fetches a module; scripts/kind-node builds the same version from a pinned one",
    'docker pull "$KIND_NODE_IMAGE"': "it needs an image registry; here the node image is a built one",
    "scripts/images build": "scripts/check runs it, before the tests with real pods",
}
TESTING = [line for line in LINES if re.search(r"(^|\s)pytest -n ", line)]  #: they run for minutes; here they collect


def run(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step as the runner does: in the checkout, with the environment's programs on the path."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-ec", line],
        cwd=CHECKOUT,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def build_versions(folder: Path) -> dict[str, str]:
    """What the step about versions leaves for those after it."""
    left = folder / "env"
    done = run("scripts/workflow versions", GITHUB_ENV=str(left), GITHUB_PATH=str(folder / "path"))
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in left.read_text().splitlines())


def walk_uses() -> Iterator[str]:
    """The actions that are used."""
    yield from (step["uses"] for step in STEPS if "uses" in step)


def test_actionlint_finds_nothing() -> None:
    """Expressions, keys, actions' inputs, the labels of runners."""
    where = run("scripts/test-tools where actionlint")
    if where.returncode == ABSENT:
        pytest.skip(where.stderr.strip())
    done = subprocess.run([where.stdout.strip(), str(WORKFLOW)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_step_is_run_here_or_said_not_to_be() -> None:
    """A new step needs a place in one of the tables above, and a table names no step that is gone."""
    assert sorted(LINES) == sorted([*RUN_HERE, *RUN_WHERE_BUILT, *NOT_HERE, *TESTING])


def test_the_workflow_may_only_read() -> None:
    """A fork's token cannot change anything, whatever a test does."""
    content = YAML(typ="safe").load(WORKFLOW.read_text())
    assert content["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in JOBS.values())


def test_every_job_ends() -> None:
    """After an hour at the latest."""
    assert all(job["timeout-minutes"] <= 60 for job in JOBS.values())


@pytest.mark.parametrize("action", sorted(set(walk_uses())))
def test_actions_are_pinned_by_their_whole_version(action: str) -> None:
    """`v6` would be another program tomorrow."""
    assert re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", action)


@pytest.mark.parametrize("line", LINES)
def test_steps_are_one_short_line(line: str) -> None:
    """What is longer belongs into a script, which can be run and tested here."""
    assert len(line) <= 230
    assert "\n" not in line.strip()


def test_steps_after_it_know_the_versions(tmp_path: Path) -> None:
    """Also those that are made of another one."""
    versions = build_versions(tmp_path)
    assert versions["KIND_NODE_BUILT"] == f"local/kind-node:v{versions['KUBERNETES']}"
    assert re.fullmatch(r"kindest/node:v[\d.]+@sha256:[0-9a-f]{64}", versions["KIND_NODE_IMAGE"])


def test_steps_use_only_variables_that_another_step_leaves(tmp_path: Path) -> None:
    """A misspelt one would be empty."""
    left = {*build_versions(tmp_path), "KIND_BIN", "KUBECTL_BIN", "PATH"}
    used = {name for line in LINES for name in re.findall(r"\$(\w+)", line)}
    used |= set(re.findall(r"env\.(\w+)", WORKFLOW.read_text()))
    assert used <= {*left, "WATCHBILL_CACHE"}


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("line", sorted(RUN_HERE))
def test_a_step_runs(line: str, tmp_path: Path) -> None:
    """As the workflow has it."""
    if line.endswith("environment") and not is_made("complete"):
        pytest.skip("this environment was made without Claude Code, and a test does not change it")
    done = run(line, GITHUB_ENV=str(tmp_path / "env"), GITHUB_PATH=str(tmp_path / "path"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("line", sorted(RUN_WHERE_BUILT))
def test_a_step_that_builds_finds_what_is_built(line: str) -> None:
    """It is not built by a test: that takes minutes and fetches modules."""
    for question in RUN_WHERE_BUILT[line]:
        where = run(question)
        if where.returncode == ABSENT:
            pytest.skip(where.stderr.strip())
    done = run(line)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("line", TESTING)
def test_a_step_that_tests_finds_its_tests(line: str, tmp_path: Path) -> None:
    """pytest knows all options, files and marks, and finds something."""
    variables = {**build_versions(tmp_path), "KIND_BIN": "/usr/bin/env", "KUBECTL_BIN": "/usr/bin/env"}
    found = run(f"{line[line.index('pytest ') :]} --collect-only --quiet -p no:cacheprovider", **variables)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr


def is_made(kind: str) -> bool:
    """Whether the environment is one of that kind, of the present pyproject.toml."""
    mark = BIN.parent / f".watchbill-{kind}"
    known = subprocess.run(
        ["sh", "-c", "cksum <pyproject.toml"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    return mark.exists() and mark.read_text().startswith(known.stdout.strip())
