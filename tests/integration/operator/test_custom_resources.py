"""The definitions of Task and Agent on a server: what kubectl may select by, and that samples can be applied again."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.api_server import ApiServer
from support.operator_process import AGENTS, TASKS, task

FOLDER = Path(__file__).parents[3] / "manifests" / "samples"
SAMPLES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "repair-job.yaml")  # no Jobs on this server


def selected(server: ApiServer, kind: str, selector: str) -> list[str]:
    """Names that kubectl lists with that field selector."""
    done = server.kubectl("get", kind, "--field-selector", selector, "-o", "name")
    assert done.returncode == 0, done.stderr
    return [line.partition("/")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("status.phase=Running", ["b"]),
        ("status.phase!=Running", ["a", "c"]),
        ("status.phase=Pending,spec.role=blue", ["a"]),
        ("spec.role=", ["c"]),
        ("spec.type=fix", ["c"]),
    ],
)
def test_tasks_are_selected_by_phase_role_and_type(server: ApiServer, selector: str, names: list[str]) -> None:
    """The three questions that a person asks of many tasks."""
    for name, route in (("a", {"role": "blue"}), ("b", {"role": "blue"}), ("c", {"type": "fix"})):
        body = task(name, **route)
        del body["spec"]["agentRef"]
        server.create(TASKS, body)
    server.patch(f"{TASKS}/b/status", {"status": {"phase": "Running"}})

    assert selected(server, "wt", selector) == names


def test_agents_are_selected_by_role(server: ApiServer) -> None:
    """All pools of a role."""
    for name, role in (("x", "blue"), ("y", "green")):
        body = {"apiVersion": "watchbill.dev/v1alpha1", "kind": "Agent", "metadata": {"name": name}}
        server.create(AGENTS, {**body, "spec": {"role": role}})

    assert selected(server, "ag", "spec.role=green") == ["y"]


def test_a_watch_by_phase_tells_who_enters_the_phase_and_who_leaves_it(server: ApiServer) -> None:
    """As of a label: an object that no longer fits is DELETED for that watch."""
    version = server.create(TASKS, task("a"))["metadata"]["resourceVersion"]
    with server.watch(TASKS, resourceVersion=version, fieldSelector="status.phase%3DRunning") as events:
        for phase in ("Queued", "Running", "Succeeded"):
            server.patch(f"{TASKS}/a/status", {"status": {"phase": phase}})
        told = [
            (event["type"], event["object"]["metadata"]["name"]) for _, event in zip(range(2), events, strict=False)
        ]

    assert told == [("ADDED", "a"), ("DELETED", "a")]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_that_is_applied_again_is_unchanged(server: ApiServer, path: Path) -> None:
    """What the server fills in below a list would look like a change, so samples say it themselves."""
    first = server.kubectl("apply", "-f", str(path))
    assert first.returncode == 0, first.stderr
    again = server.kubectl("apply", "-f", str(path))

    lines = again.stdout.splitlines()
    assert lines
    assert [line for line in lines if not line.endswith(" unchanged")] == []
