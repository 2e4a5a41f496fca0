"""Who leads: one operator at a time, and the next one soon."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from support.api_server import ApiServer
from support.local_system import agent
from support.operator_process import AGENTS, LEASE, TASKS, OperatorProcess, task
from support.volumes import hold_up_opening, let_go
from support.waiting import wait_for
from watchbill_coordination.storage.epochs import acquire_epoch, load_own_holder
from watchbill_coordination.storage.layout import Layout

PODS = "/api/v1/namespaces/default/pods"
Start = Callable[..., OperatorProcess]
LONG_LEASE = {"WATCHBILL_LEASE_SECONDS": "3600"}  #: whoever leads within a test has not waited for its end
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("server")]  # Leases run out


def test_the_lease_names_the_log_and_the_epoch(server: ApiServer, operator: Start) -> None:
    """Those who come later go by them."""
    one = operator().lead()
    lease = server.get(LEASE)

    assert lease["spec"]["holderIdentity"].startswith("host/")
    assert lease["metadata"]["annotations"]["watchbill.dev/epoch"] == str(one.status["epoch"])
    assert len(lease["metadata"]["annotations"]["watchbill.dev/log-id"]) == 32


def test_a_second_operator_stands_by_and_says_for_whom(server: ApiServer, operator: Start) -> None:
    """It is alive, and ready to take over."""
    operator("one").lead()
    holder = server.get(LEASE)["spec"]["holderIdentity"]
    two = operator("two").start()
    wait_for(lambda: two.status.get("http") and "host/" in two.get("/readyz")[1], "the second one waits")

    assert two.get("/readyz") == (200, f"standing by: {holder} leads\n")
    assert two.get("/healthz")[0] == 200


def test_a_clean_stop_hands_over_at_once(operator: Start) -> None:
    """The Lease is given back, so nobody waits for it to run out."""
    one, two = operator("one", **LONG_LEASE).lead(), operator("two", **LONG_LEASE).start()
    wait_for(lambda: two.status, "the second one waits")
    assert one.stop() == 0
    two.wait_until_leading()

    assert two.status["epoch"] == one.status["epoch"] + 1


def test_a_killed_operator_is_replaced_at_once_on_its_host(operator: Start) -> None:
    """Its process is gone for certain."""
    operator("one", **LONG_LEASE).lead().stop(signal.SIGKILL)

    assert operator("two", **LONG_LEASE).lead().is_alive


def test_an_operator_that_stood_still_is_replaced_and_gives_up(server: ApiServer, operator: Start) -> None:
    """It finds out that another leads before it writes anything, and says so with its exit code."""
    one, two = operator("one").lead(), operator("two").start()
    one.send(signal.SIGSTOP)
    two.wait_until_leading()
    server.create(TASKS, task("a"))
    wait_for(lambda: "TaskSubmitted" in two.types(), "the new leader records")
    one.send(signal.SIGCONT)

    assert one.wait() == 75
    assert "another operator leads" in one.log
    assert [recorded for recorded in two.types() if recorded == "TaskSubmitted"] == ["TaskSubmitted"]


def test_a_leader_that_lost_its_lease_leaves_that_of_its_successor_alone(server: ApiServer, operator: Start) -> None:
    """It gives back nothing that is not its own."""
    one, two = operator("one").lead(), operator("two").start()
    one.send(signal.SIGSTOP)
    two.wait_until_leading()
    holder = server.get(LEASE)["spec"]["holderIdentity"]
    one.send(signal.SIGCONT)
    one.wait()

    assert server.get(LEASE)["spec"]["holderIdentity"] == holder
    renewed = server.get(LEASE)["spec"]["renewTime"]
    wait_for(lambda: server.get(LEASE)["spec"]["renewTime"] != renewed, "the second one renews it")
    assert two.is_alive


def test_a_deposed_operator_makes_no_pod(server: ApiServer, operator: Start) -> None:
    """Another one claimed the volume, and the first has nothing to record that would tell it so."""
    one = operator().lead()
    server.create(AGENTS, agent("blue"))
    wait_for(lambda: server.exists(f"{PODS}/blue-0"), "the pod is made")
    claim = acquire_epoch(Layout(one.root), load_own_holder("second"))
    server.delete(f"{PODS}/blue-0", {"gracePeriodSeconds": 0})

    assert one.wait() == 75
    assert not server.exists(f"{PODS}/blue-0")
    claim.release()


def test_a_lease_that_somebody_deleted_is_made_anew(server: ApiServer, operator: Start) -> None:
    """Nobody else leads, so there is no reason to stop."""
    one = operator("one").lead()
    holder = server.get(LEASE)["spec"]["holderIdentity"]
    server.delete(LEASE)

    wait_for(lambda: server.exists(LEASE), "the lease is there again")
    assert server.get(LEASE)["spec"]["holderIdentity"] == holder
    assert one.is_alive


def test_a_later_epoch_on_a_status_ends_an_operator(server: ApiServer, operator: Start) -> None:
    """The API server fences it where the Lease did not."""
    one = operator("one").lead()
    server.create(TASKS, task("a"))
    server.patch(f"{TASKS}/a/status", {"status": {"epoch": 41, "lastSeq": 1}})
    server.patch(f"{TASKS}/a", {"spec": {"cancel": True}})

    assert one.wait() == 75
    two = operator("two").lead()
    assert two.status["epoch"] == 42
    wait_for(lambda: server.get(f"{TASKS}/a")["status"]["phase"] == "Cancelled", "the new leader tells of the task")
    assert two.is_alive
    assert server.get(f"{TASKS}/a")["status"]["epoch"] == 42


def test_another_log_is_not_led_from(operator: Start) -> None:
    """A new volume under an old Lease is a mistake until somebody says that it is none."""
    operator("one").lead().stop()
    other = operator("two", root="another volume").start()

    assert other.wait() == 78
    assert "watchbill adopt" in other.log


def test_the_lease_is_kept_while_the_log_is_read(server: ApiServer, operator: Start) -> None:
    """A long log, or many results that a power cut took, may take longer than the Lease lasts."""
    one = operator()
    pipe = hold_up_opening(one.root)
    one.start()
    wait_for(lambda: one.status.get("http") and "reading the log" in one.get("/readyz")[1], "it reads the log")
    renewed = server.get(LEASE)["spec"]["renewTime"]
    wait_for(lambda: server.get(LEASE)["spec"]["renewTime"] != renewed, "the lease is renewed")

    assert one.get("/healthz")[0] == 200
    let_go(pipe)
    one.wait_until_leading()


def test_a_stop_while_the_log_is_read_leaves_nobody_behind_on_the_volume(operator: Start) -> None:
    """It waits until the log is open, and lets go of it."""
    one = operator()
    pipe = hold_up_opening(one.root)
    one.start()
    wait_for(lambda: one.status.get("http") and "reading the log" in one.get("/readyz")[1], "it reads the log")
    one.send(signal.SIGTERM)
    let_go(pipe)

    assert one.wait() == 0
    assert operator("two").lead().is_alive


def test_a_stop_is_quick_and_seals_the_log(operator: Start) -> None:
    """The next start need not repair anything."""
    one = operator("one", **LONG_LEASE).lead()

    assert one.stop() == 0
    assert one.types()[-1] == "LogSealed"


def test_a_stop_while_waiting_is_quick_too(operator: Start) -> None:
    """Nothing is held then."""
    operator("one").lead()
    two = operator("two").start()
    wait_for(lambda: two.status, "the second one waits")

    assert two.stop() == 0


def test_a_wrong_setting_is_told_in_one_sentence(operator: Start) -> None:
    """With the name of the variable."""
    one = operator(WATCHBILL_LEASE_SECONDS="soon").start()

    assert one.wait() == 78
    assert "WATCHBILL_LEASE_SECONDS" in one.log
    assert "Traceback" not in one.log


def test_a_corrupt_log_is_left_alone(operator: Start) -> None:
    """Exit code 65, and the word for what to do."""
    one = operator().lead()
    one.stop()
    segment = one.root / "orchestration" / "event-log.jsonl"
    content = bytearray(segment.read_bytes())
    content[len(content) // 3] ^= 1
    segment.write_bytes(content)
    two = operator("two").start()

    assert two.wait() == 65
    assert "watchbill repair" in two.log
