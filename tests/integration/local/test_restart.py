"""What outlives the process: objects with uids and versions, watches, port, token, trust."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.api_server import ApiServer, config_map, pod, widget, widget_definition
from support.waiting import wait_for
from watchbill_local.server.auth import write_kubeconfig

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def restart(server: ApiServer, number: int = signal.SIGKILL) -> None:
    """End the process hard and start it again."""
    server.stop(number)
    server.start()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_objects_are_the_same_after_the_end_of_the_process(own_server: ApiServer, number: int) -> None:
    """Every answered write is there byte for byte, with uid and resource version, custom kinds too."""
    own_server.create(DEFINITIONS, widget_definition())
    own_server.create(WIDGETS, widget("one"))
    own_server.patch(f"{WIDGETS}/one/status", {"status": {"phase": "Done"}})
    own_server.create(CONFIG_MAPS, config_map("gone"))
    own_server.delete(f"{CONFIG_MAPS}/gone")
    before = [own_server.get(WIDGETS), own_server.get("/api/v1/configmaps")]

    restart(own_server, number)

    assert [own_server.get(WIDGETS), own_server.get("/api/v1/configmaps")] == before


def test_no_answered_write_is_lost_by_a_kill_in_the_middle_of_many(own_server: ApiServer) -> None:
    """A client that writes as fast as it can finds all that it was told is stored."""
    answered = []
    assert own_server.process is not None
    for number in range(300):
        if number == 250:
            own_server.process.kill()
        try:
            own_server.create(CONFIG_MAPS, config_map(f"m{number}"))
        except OSError:
            break
        answered.append(f"m{number}")
    own_server.process.wait()
    own_server.start()

    names = {item["metadata"]["name"] for item in own_server.get(CONFIG_MAPS)["items"]}

    assert len(answered) >= 250
    assert set(answered) <= names


def test_a_torn_last_line_is_cut_off(own_server: ApiServer) -> None:
    """Half a record, as a crash of the machine may leave it, costs nothing but itself."""
    own_server.create(CONFIG_MAPS, config_map("one"))
    own_server.stop(signal.SIGKILL)
    with (own_server.data / "journal").open("ab") as journal:
        journal.write(b'["stored","","configmaps","default","torn",99]\t{"metadata":{"na')
    own_server.start()
    own_server.create(CONFIG_MAPS, config_map("two"))
    restart(own_server)

    names = {item["metadata"]["name"] for item in own_server.get(CONFIG_MAPS)["items"]}

    assert names >= {"one", "two"}
    assert "torn" not in names


@pytest.mark.parametrize("damage", [b"nonsense", b'["stored","","configmaps","default","x",3]\t{"metadata":'])
def test_a_damaged_journal_is_refused_and_left_alone(own_server: ApiServer, damage: bytes) -> None:
    """A bad line with good ones after it is no torn write: one sentence names it, and nothing is thrown away."""
    own_server.stop()
    journal = own_server.data / "journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], damage + b"\n", *lines[2:]]))
    before = journal.read_bytes()

    done = run_server("--data", str(own_server.data), "--kubeconfig", str(own_server.kubeconfig))

    assert done.returncode == 2
    assert "is damaged in line 3" in done.stderr
    assert journal.read_bytes() == before


def test_a_damaged_certificate_is_refused_with_its_cure(own_server: ApiServer) -> None:
    """One sentence, exit code 2."""
    own_server.stop()
    (own_server.data / "serving.pem").write_text("nonsense")

    done = run_server("--data", str(own_server.data), "--kubeconfig", str(own_server.kubeconfig))

    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "delete it" in done.stderr


def test_a_write_that_the_disk_does_not_take_has_not_happened(own_server: ApiServer) -> None:
    """500 with a sentence; nobody sees the object, and with room again everything goes on, over a restart too."""
    assert own_server.process is not None
    size = (own_server.data / "journal").stat().st_size
    resource.prlimit(own_server.process.pid, resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
    refused = own_server.call("POST", CONFIG_MAPS, config_map("one"))
    resource.prlimit(own_server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    assert (refused.status, "could not be kept" in refused.text) == (500, True)
    assert not own_server.exists(f"{CONFIG_MAPS}/one")
    own_server.create(CONFIG_MAPS, config_map("two"))
    restart(own_server)
    assert own_server.exists(f"{CONFIG_MAPS}/two")


def test_resource_versions_never_go_back(own_server: ApiServer) -> None:
    """Not even when the newest change was a deletion."""
    own_server.create(CONFIG_MAPS, config_map("one"))
    own_server.delete(f"{CONFIG_MAPS}/one")
    before = int(own_server.get(CONFIG_MAPS)["metadata"]["resourceVersion"])

    restart(own_server)

    created = own_server.create(CONFIG_MAPS, config_map("one"))
    assert int(created["metadata"]["resourceVersion"]) == before + 1


def test_a_watch_is_resumed_across_a_restart(own_server: ApiServer) -> None:
    """The history is in the journal, so a client goes on where it was, deletions included."""
    version = own_server.create(CONFIG_MAPS, config_map("one"))["metadata"]["resourceVersion"]
    own_server.patch(f"{CONFIG_MAPS}/one", {"data": {"a": "1"}})
    own_server.delete(f"{CONFIG_MAPS}/one")

    restart(own_server)

    with own_server.watch(CONFIG_MAPS, resourceVersion=version) as events:
        seen = [event["type"] for event in itertools.islice(events, 2)]
    assert seen == ["MODIFIED", "DELETED"]


def test_the_kubeconfig_of_the_last_run_still_works(own_server: ApiServer) -> None:
    """Port, token and certificate stay, so a shell that exported KUBECONFIG goes on."""
    before = own_server.kubeconfig.read_text()

    restart(own_server)

    assert own_server.kubeconfig.read_text() == before


def test_a_deletion_that_was_under_way_is_finished_after_a_restart(own_server: ApiServer) -> None:
    """A namespace that waited for a finalizer goes when the finalizer does, though the process is another."""
    own_server.create("/api/v1/namespaces", {"metadata": {"name": "going"}})
    inside = "/api/v1/namespaces/going/configmaps"
    own_server.create(inside, config_map("held", finalizers=["example.com/hold"]))
    own_server.delete("/api/v1/namespaces/going")

    restart(own_server)
    own_server.patch(f"{inside}/held", {"metadata": {"finalizers": None}})

    assert wait_for(lambda: not own_server.exists("/api/v1/namespaces/going"), "the namespace is gone", 5)


def test_a_second_server_on_one_directory_is_refused(own_server: ApiServer, tmp_path: Path) -> None:
    """One sentence and exit code 2; the first goes on."""
    done = run_server("--data", str(own_server.data), "--kubeconfig", str(tmp_path / "kc"))

    assert done.returncode == 2
    assert "another server is using the data directory" in done.stderr
    assert own_server.exists(f"{CONFIG_MAPS}/kube-root-ca.crt")


def test_a_port_that_was_asked_for_and_is_taken_is_refused(tmp_path: Path) -> None:
    """One sentence that names the port, exit code 2, and no kubeconfig."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_server("--data", str(tmp_path / "data"), "--kubeconfig", str(tmp_path / "kc"), "--port", port)

    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "kc").exists()


def test_the_last_port_is_given_up_when_another_program_has_it(own_server: ApiServer) -> None:
    """Without --port any free one will do."""
    port = urlsplit(own_server.cluster["server"]).port
    assert port is not None
    own_server.stop()

    with socket.create_server(("127.0.0.1", port)):
        own_server.start()

    assert urlsplit(own_server.cluster["server"]).port != port


def test_a_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    """Somebody could have put a token there that they know."""
    tmp_path.chmod(0o777)

    done = run_server("--data", str(tmp_path), "--kubeconfig", str(tmp_path / "kc"))

    assert done.returncode == 2
    assert "open to" in done.stderr


def test_a_link_where_the_kubeconfig_is_written_is_not_followed(tmp_path: Path) -> None:
    """The token never goes into a file that somebody else has prepared."""
    trap, target = tmp_path / f"kubeconfig.{os.getpid()}.new", tmp_path / "theirs"
    target.write_text("theirs")
    trap.symlink_to(target)

    write_kubeconfig(str(tmp_path / "kubeconfig"), url="https://127.0.0.1:1", token="secret", authority="")

    assert target.read_text() == "theirs"
    assert "secret" in (tmp_path / "kubeconfig").read_text()


def test_nobody_else_can_read_what_the_server_keeps(own_server: ApiServer) -> None:
    """Token, key, journal and kubeconfig are for their owner alone."""
    files = [own_server.kubeconfig, *own_server.data.iterdir()]

    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(own_server.data.stat().st_mode) == 0o700


def test_objects_of_a_pod_keep_their_grace_over_a_restart(own_server: ApiServer) -> None:
    """A pod that waits for its node still waits."""
    path = "/api/v1/namespaces/default/pods"
    own_server.create(path, pod("one", {"nodeName": "n1"}))
    own_server.delete(f"{path}/one")

    restart(own_server)

    assert own_server.get(f"{path}/one")["metadata"]["deletionGracePeriodSeconds"] == 30


def run_server(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to refuse."""
    command = [sys.executable, "-m", "watchbill_local.server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=dict(os.environ))
