"""Programs that only tests use: built of pinned modules, and one sentence where they cannot be had."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
TOOLS = CHECKOUT / "scripts" / "test-tools"
ABSENT = 3
#: A name in scripts/versions, the go.mod file below tests/tools, and the module that it requires.
REQUIRED = [
    ("ACTIONLINT", "actionlint", "github.com/rhysd/actionlint"),
    ("PROMETHEUS_ADAPTER", "metrics-adapter", "sigs.k8s.io/prometheus-adapter"),
    ("METRICS_APISERVER", "metrics-adapter", "sigs.k8s.io/custom-metrics-apiserver"),
    ("KEDA", "keda", "github.com/kedacore/keda/v2"),
    ("CONTROLLER_TOOLS", "keda", "sigs.k8s.io/controller-tools"),
]


def read_version(name: str) -> str:
    """A plain value of the version file."""
    found = re.search(rf"^{name}=(\S+)", (CHECKOUT / "scripts" / "versions").read_text(), re.MULTILINE)
    assert found, f"scripts/versions has no {name}"
    return found.group(1)


def read_module(folder: str) -> str:
    """The go.mod file of a tool."""
    return (CHECKOUT / "tests" / "tools" / folder / "go.mod").read_text()


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    return subprocess.run(
        [str(TOOLS), *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def no_go(tmp_path: Path) -> str:
    """A path with the programs of the system, and a go that does not run."""
    (tmp_path / "bin").mkdir()
    go = tmp_path / "bin" / "go"
    go.write_text("#!/bin/sh\nexit 127\n")
    go.chmod(0o755)
    return f"{go.parent}:/usr/bin:/bin"


@pytest.mark.parametrize(("name", "folder", "path"), REQUIRED, ids=[name for name, _, _ in REQUIRED])
def test_a_tools_module_requires_the_version_of_the_one_file(name: str, folder: str, path: str) -> None:
    """Who looks for a version finds it in one place."""
    wanted = f"{path} v{read_version(name)}"
    assert wanted in [line.strip().removeprefix("require ") for line in read_module(folder).splitlines()]


def test_the_adapter_is_built_with_the_libraries_of_our_kubernetes() -> None:
    """Else they would be compiled once more, for minutes, and differ from what the cluster speaks."""
    minor = read_version("KUBERNETES").partition(".")[2]
    assert set(re.findall(r"=> k8s\.io/\S+ v(\S+)", read_module("metrics-adapter"))) == {f"0.{minor}"}


@pytest.mark.parametrize("tool", ["actionlint", "keda", "metrics"])
def test_a_tool_that_was_not_built_is_one_sentence(tool: str, tmp_path: Path) -> None:
    """It names what builds it; exit code 3 lets a test skip with it."""
    done = run("where", tool, WATCHBILL_CACHE=str(tmp_path))
    assert (done.returncode, done.stdout) == (ABSENT, "")
    assert done.stderr.strip().endswith(f"`scripts/test-tools build {tool}` builds it")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("tool", ["actionlint", "keda", "metrics"])
def test_without_go_nothing_is_built_and_one_sentence_says_so(tool: str, no_go: str, tmp_path: Path) -> None:
    """CI goes on without it."""
    done = run("build", tool, WATCHBILL_CACHE=str(tmp_path / "cache"), PATH=no_go)
    assert done.returncode == ABSENT, done.stderr
    assert done.stderr.startswith(f"watchbill: Go {read_version('GO')} or newer builds ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [["build", "rocket"], ["where", "rocket"], ["where"], ["launch"], []])
def test_what_it_does_not_know_is_refused_with_what_it_knows(words: list[str], tmp_path: Path) -> None:
    """In one sentence."""
    done = run(*words, WATCHBILL_CACHE=str(tmp_path))
    assert done.returncode == 1
    assert " or " in done.stderr
    assert len(done.stderr.splitlines()) == 1
