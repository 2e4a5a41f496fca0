"""`watchbill events`: the log, for people or line by line for scripts.

Owns how a record is shown. Reads the log with its checks; whatever is damaged ends the listing with the place of it.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from watchbill_cli.home import Refused, default_home, volume_root
from watchbill_coordination.core.events import Recorded, TaskSubmitted
from watchbill_coordination.storage.following import follow_log
from watchbill_coordination.storage.layout import Layout
from watchbill_coordination.storage.reading import read_log

SHORT = 60  #: characters of a value in the text form


def run_events(arguments: Namespace) -> int:
    """Print the events of all, or of some tasks, and follow if asked to."""
    layout = Layout(volume_root(default_home()))
    records = follow_log(layout) if arguments.follow else read_log(layout)
    names: dict[str, str] = {}
    known: set[str] = set()
    for recorded in select(records, arguments.tasks, names):
        known |= {getattr(recorded.event, "task", ""), names.get(getattr(recorded.event, "task", ""), "")}
        print(to_json(recorded) if arguments.output == "json" else to_text(recorded, names), flush=arguments.follow)
    if unknown := [task for task in arguments.tasks if task not in known]:
        raise Refused(f"the log knows no Task {unknown[0]}: `watchbill events` lists all")
    return 0


def select(records: Iterable[Recorded], tasks: Collection[str], names: dict[str, str]) -> Iterator[Recorded]:
    """Yield the records of these tasks, by name or uid (all without any), and learn the tasks' names on the way."""
    for recorded in records:
        event = recorded.event
        if isinstance(event, TaskSubmitted):
            names[event.task] = event.name
        uid = getattr(event, "task", "")
        if not tasks or (uid and (uid in tasks or names.get(uid) in tasks)):
            yield recorded


def to_members(recorded: Recorded) -> dict[str, Any]:
    """The record's members but for the trailer, as on disk; empty ones left out."""
    event = recorded.event
    data = {f.name: _plain(getattr(event, f.name)) for f in fields(event) if f.name not in ("task", "agent")}
    subjects = {name: getattr(event, name) for name in ("task", "agent") if getattr(event, name, "")}
    place = {"seq": recorded.seq, "ts": recorded.ts, "ep": recorded.ep, "type": type(event).__name__}
    return {**place, **subjects, "data": data}


def to_json(recorded: Recorded) -> str:
    """One line."""
    return json.dumps(to_members(recorded), ensure_ascii=False, separators=(",", ":"))


def to_text(recorded: Recorded, names: Mapping[str, str]) -> str:
    """One line: seq, time, type, task, agent, and the data in short."""
    members = to_members(recorded)
    at = datetime.fromtimestamp(recorded.at, UTC).strftime("%H:%M:%S.%f")[:-3]
    task = members.get("task", "")
    who = " ".join(part for part in (names.get(task, task), members.get("agent", "")) if part)
    data = " ".join(f"{key}={_short(value)}" for key, value in members["data"].items() if value not in ("", {}, None))
    return f"{recorded.seq:>6}  {at}  {members['type']:<19}  {who:<32}  {data}".rstrip()


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = " ".join(text.split())
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
