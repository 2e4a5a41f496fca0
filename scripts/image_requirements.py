"""Prints what one image needs of the dependencies that pyproject.toml names, a requirement a line.

Owns the choice, by name; versions stand in pyproject.toml alone. Invariant: the broker's image gets what the broker
imports and nothing else; the agent's gets no Kubernetes client. Called by the Dockerfile with the name of a target.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

INOTIFY = "asyncinotify"
HTTP = "h11"


def build_requirements(project: dict, target: str) -> list[str]:
    """The requirement lines of a target; raises KeyError or LookupError for a target or package that is not there."""
    core = project["project"]["dependencies"]
    claude = project["project"]["optional-dependencies"]["claude"]
    return {
        "build": project["build-system"]["requires"],
        "operator": core,
        "agent": [find_requirement(core, INOTIFY), *claude],
        "broker": [find_requirement(core, INOTIFY), find_requirement(claude, HTTP)],
    }[target]


def find_requirement(lines: list[str], package: str) -> str:
    """The line that names the package."""
    for line in lines:
        if re.split(r"[^\w.-]", line, maxsplit=1)[0] == package:
            return line
    raise LookupError(f"pyproject.toml does not name {package} where the images look for it")


def main() -> None:
    """Read pyproject.toml beside which this is called."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    sys.stdout.write("\n".join(build_requirements(project, sys.argv[1])) + "\n")


if __name__ == "__main__":
    main()
