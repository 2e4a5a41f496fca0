"""The `watchbill` command beside a running system: what it shows, and what it finds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from support.system import BIN, Done, System, args, shell, task
from support.waiting import wait_for

Name = Callable[[str], str]


def test_monitor_tells_the_same_to_people_and_scripts(system: System) -> None:
    """One table, one object."""
    table = system.watchbill("monitor", "--once")
    members = json.loads(system.watchbill("monitor", "--once", "-o", "json").out)

    assert "WANTED" in table.out
    assert {row["name"] for row in members["agents"]} >= {"blue", "green", "red"}


def test_monitor_prints_plain_lines_when_piped(system: System, name: Name) -> None:
    """No cursor is moved, and a change is a line."""
    process = subprocess.Popen(
        [BIN / "watchbill", "monitor"], env=system.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        system.apply(task(name("seen"), command=args("true")))
        system.wait_for_phase(name("seen"))
        second = process.stdout.readline()
    finally:
        process.kill()
        process.wait()

    assert "agents: blue" in first
    assert first != second
    assert "\x1b" not in first + second


def test_events_are_followed_as_they_happen(system: System, name: Name) -> None:
    """A follower sees what comes after it began."""
    process = subprocess.Popen(
        [BIN / "watchbill", "events", "--follow", "-o", "json", name("followed")],
        env=system.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        system.apply(task(name("followed"), command=args("true")))
        assert process.stdout is not None
        types = [json.loads(process.stdout.readline())["type"] for _ in range(5)]
    finally:
        process.kill()
        process.wait()

    assert types == ["TaskSubmitted", "TaskQueued", "TaskDispatched", "TaskStarted", "TaskSucceeded"]


def test_events_of_a_deleted_task_are_still_told(system: System, name: Name) -> None:
    """The log keeps what the API forgot."""
    system.apply(task(name("forgotten"), command=args("true")))
    system.wait_for_phase(name("forgotten"))
    system.kubectl("delete", "task", name("forgotten"))

    wait_for(
        lambda: "TaskDeleted" in system.watchbill("events", name("forgotten")).out, "the log tells of the deletion"
    )


def test_events_of_an_unknown_task_are_refused(system: System) -> None:
    """With the way to list all."""
    done = system.watchbill("events", "never-heard-of")

    assert done.code == 2
    assert "watchbill events" in done.err


def test_a_running_system_verifies_as_whole(system: System) -> None:
    """What is in flight is no finding."""
    done = system.watchbill("verify", "-o", "json")

    assert (done.code, json.loads(done.out)["whole"]) == (0, True)


def test_repair_refuses_while_the_operator_lives(own_system: System) -> None:
    """It names the operator and changes nothing."""
    registry = own_system.root / "orchestration" / "agent-registry.json"
    wait_for(registry.exists, "the registry is written")

    def ask() -> Done | None:
        registry.write_text("{}")
        done = own_system.watchbill("repair", "--yes")
        return None if "nothing to repair" in done.out else done  # the operator may just have written it anew

    done = wait_for(ask, "repair finds the damage")

    assert done is not None
    assert done.code == 2
    assert any(mend in done.err for mend in ("stop it first", "ends it; try again when it is gone"))


def test_a_changed_byte_is_found_with_its_place(own_system: System) -> None:
    """File, offset and seq; and the operator does not start on it."""
    own_system.apply(task("one", command=args("true")))
    own_system.wait_for_phase("one")
    own_system.halt()
    [log] = own_system.root.glob("orchestration/event-log.jsonl")
    data = bytearray(log.read_bytes())
    lines = data.split(b"\n")
    at = len(lines[0]) + 1 + 30
    data[at] ^= 1
    log.write_bytes(data)

    done = own_system.watchbill("verify")
    plan = own_system.watchbill("repair")
    start = own_system.resume()

    assert done.code == 65
    assert "--accept-loss" in plan.out
    assert f"offset {len(lines[0]) + 1}, seq 2" in done.out
    assert start.code == 2
    assert "seq 2" in start.err.splitlines()[-1]
    assert "Traceback" not in start.err


def test_a_torn_tail_is_planned_then_repaired(own_system: System) -> None:
    """By default only the plan; with --yes the bytes are put aside and the log is whole."""
    own_system.apply(task("one", command=args("true")))
    own_system.wait_for_phase("one")
    own_system.halt()
    log = own_system.root / "orchestration" / "event-log.jsonl"
    with log.open("ab") as stream:
        stream.write(b'{"v":1,"seq":')

    before = own_system.watchbill("verify")
    plan = own_system.watchbill("repair")
    done = own_system.watchbill("repair", "--yes")

    assert (before.code, done.code) == (65, 0)
    assert "nothing was changed" in plan.out
    assert any((own_system.root / "orchestration" / "quarantine").iterdir())
    assert own_system.watchbill("verify").code == 0


def test_context_put_offers_a_file_and_a_folder(system: System, name: Name, tmp_path: Path) -> None:
    """What it prints is what a Task names."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "word").write_text("from a folder")
    single = tmp_path / "single.txt"
    single.write_text("from a file")

    paths = [system.watchbill("context", "put", str(path)).out.strip() for path in (tmp_path / "tree", single)]
    line = f'cat "$WATCHBILL_CONTEXT/{paths[0]}/word" "$WATCHBILL_CONTEXT/{paths[1]}"'
    system.apply(task(name("reads"), context=paths, command=shell(line)))

    assert system.wait_for_phase(name("reads"))["result"] == "from a folderfrom a file"
