"""A context folder that cannot be unpacked is told where people look: at its ConfigMaps and at the Tasks that wait."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from support.api_server import ApiServer, config_map
from support.archives import a_special, folder_maps, pack
from support.operator_process import TASKS, OperatorProcess, task
from support.waiting import wait_for

Start = Callable[..., OperatorProcess]
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
EVENTS = "/api/v1/namespaces/default/events"
ARCHIVE = pack(a_special("leak", b"2", "/etc"))
PATH = f"input/{hashlib.sha256(ARCHIVE).hexdigest()[:16]}"


def offer_bad_folder(server: ApiServer) -> str:
    """Create the ConfigMap of a folder with a link in it; return its name."""
    [body] = folder_maps(ARCHIVE)
    metadata = {key: body["metadata"][key] for key in ("name", "labels", "annotations")}
    server.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", **body, "metadata": metadata})
    return str(metadata["name"])


def warnings(server: ApiServer, name: str) -> list[dict[str, Any]]:
    """Events about that ConfigMap."""
    events = server.get(EVENTS)["items"]
    return [event for event in events if event["involvedObject"]["name"] == name]


def message(server: ApiServer, name: str) -> str:
    """Message of a Task's status."""
    return str(server.get(f"{TASKS}/{name}")["status"]["message"])


def test_the_config_map_gets_a_warning(server: ApiServer, operator: Start) -> None:
    """One that names the member of the archive."""
    name = offer_bad_folder(server)
    operator().lead()
    [event] = wait_for(lambda: warnings(server, name), "there is an Event")

    assert (event["type"], event["reason"]) == ("Warning", "ArchiveRefused")
    assert "'leak' is a link" in event["message"]
    assert event["involvedObject"]["kind"] == "ConfigMap"


def test_a_restart_makes_no_second_warning(server: ApiServer, operator: Start) -> None:
    """Its name follows from what it says."""
    name = offer_bad_folder(server)
    one = operator("one").lead()
    wait_for(lambda: warnings(server, name), "there is an Event")
    one.stop()
    two = operator("two").lead()
    wait_for(lambda: "ArchiveRefused" in two.log, "the second one has found it too")
    server.create(CONFIG_MAPS, config_map("later", labels={"watchbill.dev/shared-context": "tree"}))
    wait_for(lambda: warnings(server, "later"), "an Event is written that comes after it")

    assert len(warnings(server, name)) == 1


def test_a_task_that_waits_for_it_says_why(server: ApiServer, operator: Start) -> None:
    """Whether the Task or the folder came first; and no longer when the folder is gone."""
    server.create(TASKS, task("early", context=[PATH]))
    operator().lead()
    wait_for(lambda: "not there yet" in message(server, "early"), "it waits")
    name = offer_bad_folder(server)
    wait_for(lambda: "'leak' is a link" in message(server, "early"), "the early one says why")
    server.create(TASKS, task("late", context=[PATH]))
    wait_for(lambda: "'leak' is a link" in message(server, "late"), "the late one says why")
    server.delete(f"{CONFIG_MAPS}/{name}")

    assert wait_for(lambda: "not there yet" in message(server, "early"), "it waits again")
