"""Log and API are brought together: at the start, from time to time, and after whatever happened in between."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from support.api_server import ApiServer, config_map
from support.operator_process import AGENTS, LEASE_SECONDS, TASKS, OperatorProcess, install_crds, task
from support.waiting import wait_for

Start = Callable[..., OperatorProcess]
QUIET_TURNS = 2  #: renewals of the Lease that are waited for


def phase(server: ApiServer, name: str) -> str:
    """Phase and reason of a Task."""
    status = server.get(f"{TASKS}/{name}")["status"]
    return f"{status['phase']} {status['reason']}"


def expect_phase(server: ApiServer, name: str, wanted: str) -> None:
    """Fail unless the Task comes to stand there."""
    wait_for(lambda: phase(server, name) == wanted, f"{name} is {wanted}")


def passes_a_quiet_turn(one: OperatorProcess) -> bool:
    """Whether the Lease is renewed and all is compared without a patch. What began before may end in the first turn."""
    patched, renewed, lists = one.calls("patch"), one.calls("update"), one.calls("list")
    wait_for(lambda: one.calls("update") >= renewed + QUIET_TURNS, "the lease was renewed")
    wait_for(lambda: one.calls("list") > lists, "all was compared")
    return one.calls("patch") == patched


def test_a_task_that_was_there_before_is_seen(server: ApiServer, operator: Start) -> None:
    """The operator may come later."""
    server.create(TASKS, task("a"))
    operator().lead()

    expect_phase(server, "a", "Queued NoSuchAgent")


def test_a_task_that_comes_later_is_seen(server: ApiServer, operator: Start) -> None:
    """By the watch."""
    operator().lead()
    server.create(TASKS, task("a"))

    expect_phase(server, "a", "Queued NoSuchAgent")


def test_without_crds_it_waits_and_says_so(bare_server: ApiServer, operator: Start) -> None:
    """And goes on by itself when they are there."""
    one = operator().start()
    wait_for(lambda: one.status and "CRDs" in one.get("/readyz")[1], "it says what is missing")
    install_crds(bare_server)
    one.wait_until_leading()

    assert wait_for(lambda: one.get("/readyz")[0] == 200, "it is ready")


def test_a_task_that_was_deleted_meanwhile_is_recorded_as_deleted(server: ApiServer, operator: Start) -> None:
    """There is no finalizer that would have kept it."""
    one = operator("one").lead()
    server.create(TASKS, task("a"))
    expect_phase(server, "a", "Queued NoSuchAgent")
    one.stop(signal.SIGKILL)
    server.delete(f"{TASKS}/a")
    two = operator("two").lead()

    assert wait_for(lambda: "TaskDeleted" in two.types(), "the deletion is recorded")


def test_a_task_of_the_same_name_is_another_one(server: ApiServer, operator: Start) -> None:
    """Deleted and made again while nobody looked."""
    one = operator("one").lead()
    server.create(TASKS, task("a"))
    expect_phase(server, "a", "Queued NoSuchAgent")
    one.stop(signal.SIGKILL)
    server.delete(f"{TASKS}/a")
    server.create(TASKS, task("a"))
    two = operator("two").lead()

    expect_phase(server, "a", "Queued NoSuchAgent")
    assert two.types().count("TaskSubmitted") == 2
    assert two.types().count("TaskDeleted") == 1


def test_a_restart_records_nothing_anew(server: ApiServer, operator: Start) -> None:
    """What is known already leads to no event."""
    one = operator("one").lead()
    server.create(TASKS, task("a"))
    expect_phase(server, "a", "Queued NoSuchAgent")
    one.stop()
    before = one.types()
    two = operator("two").lead()
    two.stop()

    assert two.types()[len(before) :] == ["SegmentOpened", "LogSealed"]


def test_a_status_that_somebody_changed_is_mended(server: ApiServer, operator: Start) -> None:
    """The log says what is so."""
    operator(WATCHBILL_RECONCILE_SECONDS="1").lead()
    server.create(TASKS, task("a"))
    expect_phase(server, "a", "Queued NoSuchAgent")
    server.patch(f"{TASKS}/a/status", {"status": {"phase": "Failed", "reason": "Invented"}})

    expect_phase(server, "a", "Queued NoSuchAgent")


def test_a_status_that_was_lost_comes_back_equal(server: ApiServer, operator: Start) -> None:
    """It is a function of the log."""
    one = operator("one").lead()
    server.create(TASKS, task("a"))
    expect_phase(server, "a", "Queued NoSuchAgent")
    before = server.get(f"{TASKS}/a")["status"]
    one.stop()
    server.patch(f"{TASKS}/a/status", {"status": {"message": "edited", "conditions": None, "queuedAt": None}})
    operator("two").lead()

    assert wait_for(lambda: server.get(f"{TASKS}/a")["status"] == before, "the status is as it was")


def test_an_idle_operator_writes_nothing_but_its_lease(server: ApiServer, operator: Start) -> None:
    """No heartbeat on any object, even where reconciles look at everything each second."""
    one = operator(WATCHBILL_RECONCILE_SECONDS="1").lead()
    server.create(TASKS, task("a"))
    server.create(
        AGENTS,
        {
            "apiVersion": "watchbill.dev/v1alpha1",
            "kind": "Agent",
            "metadata": {"name": "blue"},
            "spec": {"role": "blue", "replicas": 0},
        },
    )
    expect_phase(server, "a", "Queued NoSuchAgent")
    wait_for(lambda: server.get(f"{AGENTS}/blue")["status"].get("conditions"), "the Agent has a status")

    assert wait_for(lambda: passes_a_quiet_turn(one), "it comes to rest")


@pytest.mark.long
def test_an_api_server_that_goes_away_for_a_while_is_no_harm(server: ApiServer, operator: Start) -> None:
    """Watches and the Lease go on when it is back, even if the Lease would have run out meanwhile."""
    one = operator().lead()
    server.stop(signal.SIGKILL)
    unanswered = 'watchbill_api_calls_total{code="0",resource="leases",verb="update"}'
    wait_for(lambda: one.metric(unanswered) > LEASE_SECONDS, "the Lease has run out")
    server.start()
    server.create(TASKS, task("a"))

    expect_phase(server, "a", "Queued NoSuchAgent")
    assert one.is_alive


def test_a_shared_file_is_written_and_withdrawn(server: ApiServer, operator: Start) -> None:
    """It lies below shared-context as long as its ConfigMap is there."""
    one = operator().lead()
    path = one.root / "shared-context" / "requirements.md"
    labels = {"watchbill.dev/shared-context": "file"}
    server.create(
        "/api/v1/namespaces/default/configmaps", config_map("req", {"requirements.md": "be kind"}, labels=labels)
    )
    wait_for(path.exists, "the file is there")
    assert path.read_text() == "be kind"
    server.delete("/api/v1/namespaces/default/configmaps/req")

    wait_for(lambda: not path.exists(), "the file is gone")
    assert [name for name in one.types() if name.startswith("Context")] == ["ContextPublished", "ContextWithdrawn"]


def test_a_config_map_that_cannot_be_used_is_told_where_people_look(server: ApiServer, operator: Start) -> None:
    """As a Kubernetes Event about it."""
    operator().lead()
    labels = {"watchbill.dev/shared-context": "folder"}
    server.create("/api/v1/namespaces/default/configmaps", config_map("bad", labels=labels))

    def told() -> list[str]:
        items = server.get("/api/v1/namespaces/default/events")["items"]
        return [item["reason"] for item in items if item["involvedObject"]["name"] == "bad"]

    wait_for(told, "an Event says what is wrong")
    assert told() == ["Malformed"]


def test_a_finished_task_is_deleted_when_its_time_is_over(server: ApiServer, operator: Start) -> None:
    """ttlSecondsAfterFinished counts from its end."""
    one = operator().lead()
    server.create(TASKS, task("a", ttlSecondsAfterFinished=0))
    server.patch(f"{TASKS}/a", {"spec": {"cancel": True}})

    wait_for(lambda: not server.exists(f"{TASKS}/a"), "the Task is deleted")
    assert wait_for(lambda: "TaskDeleted" in one.types(), "the deletion is recorded")
