"""The recorded answers of the real server, and the table of known differences: files of the differential test.

Owns their formats. A recording is one JSON file for each theme, one line for each answer, in the order of the requests,
under the version of Kubernetes that gave them, so that a change of one answer is a change of one line. The known
differences are one YAML list: a reason, and for each request that it explains the paths that differ with what the small
server answers there. Invariant: what is written is read back as the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from support.differential_requests import Obj, Scenario

#: Answers by the id of their request.
Answers = dict[str, Obj]


def load_recording(folder: Path, theme: str) -> Obj:
    """Return `kubernetes`, a version, and `scenarios`, answers by scenario and request; both empty at first."""
    path = folder / f"{theme}.json"
    if not path.exists():
        return {"kubernetes": "", "scenarios": {}}
    loaded: Obj = json.loads(path.read_text())
    return loaded


def record_scenario(folder: Path, scenario: Scenario, answers: Answers, version: str) -> None:
    """Put the answers of one scenario in the place of what was recorded of it."""
    scenarios = {**load_recording(folder, scenario.theme)["scenarios"], scenario.name: answers}
    (folder / f"{scenario.theme}.json").write_text(format_recording(scenarios, version))


def keep_only(folder: Path, theme: str, names: list[str]) -> None:
    """Forget scenarios that are no longer there, and bring the others into the order of `names`."""
    recording = load_recording(folder, theme)
    kept = {name: recording["scenarios"][name] for name in names if name in recording["scenarios"]}
    (folder / f"{theme}.json").write_text(format_recording(kept, recording["kubernetes"]))


def format_recording(scenarios: Mapping[str, Answers], version: str) -> str:
    """Return the text of a recording, a line for each answer."""
    blocks = []
    for name, answers in scenarios.items():
        lines = [f"   {_format(key)}: {_format(answer)}" for key, answer in answers.items()]
        blocks.append(f"  {_format(name)}: {{\n" + ",\n".join(lines) + "\n  }")
    return f'{{\n "kubernetes": {_format(version)},\n "scenarios": {{\n' + ",\n".join(blocks) + "\n }\n}\n"


def load_known(path: Path) -> list[Obj]:
    """Return the known differences, each with `reason` and `requests`: theme/scenario/id -> path -> small's value."""
    loaded: list[Obj] = yaml.safe_load(path.read_text()) or []
    return loaded


def find_known(known: list[Obj], scenario: Scenario, request: str) -> Obj:
    """Return what is known to differ in the answer to one request: path -> what the small server says there."""
    key = f"{scenario.theme}/{scenario.name}/{request}"
    return {path: value for each in known for path, value in (each["requests"].get(key) or {}).items()}


def _format(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=isinstance(value, dict))
