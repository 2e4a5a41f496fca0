"""Grants, credentials and the life of a real broker."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from http.client import IncompleteRead

import pytest

from support.broker_process import KEY, BrokerProcess, SocketConnection, encode_request
from support.raw_upstream import STALL, Asked, RawUpstream, begins, message, stream, whole
from support.waiting import wait_for
from watchbill_broker.relay import MAX_ERROR_BYTES

REFUSED = {"type": "error", "error": {"type": "authentication_error", "message": f"bad key {KEY}"}}


def test_an_attempt_that_is_no_longer_granted_loses_its_socket_and_its_connections() -> None:
    """An answer under way ends with the grant."""

    def answer(_: Asked) -> Iterator[bytes]:
        yield from stream(begins())[:2]
        yield STALL

    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        path = broker.grant()
        connection = SocketConnection(path)
        connection.request("POST", "/v1/messages", encode_request(None))
        response = connection.getresponse()
        response.readline()

        broker.withdraw()

        with pytest.raises((IncompleteRead, ConnectionError)):
            response.read()
        assert not path.exists()
        assert api.closed_by_client.wait(90)


def test_an_attempt_has_a_socket_that_any_user_can_open() -> None:
    """The agent is another user."""
    with BrokerProcess("http://127.0.0.1:1") as broker:
        assert stat.S_IMODE(broker.grant().stat().st_mode) == 0o666
        assert stat.S_IMODE((broker.root / "sockets").stat().st_mode) == 0o755


def test_a_socket_that_could_not_be_opened_is_tried_again() -> None:
    """Though the grants do not change any more; the failure is said once."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.socket().mkdir()
        broker.grant()
        wait_for(lambda: "no socket for" in broker.log, "the complaint")

        broker.socket().rmdir()

        wait_for(lambda: _gets_answer(broker), "an answer")
        assert broker.log.count("no socket for") == 1


def test_one_attempt_does_not_pay_for_another() -> None:
    """Each socket is one account."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.grant(0, attempt=1)
        broker.grant(1.0, attempt=2)

        assert (broker.ask(attempt=1)[0], broker.ask(attempt=2)[0]) == (403, 200)


def test_grants_that_cannot_be_read_leave_the_last_ones_in_force() -> None:
    """Said once, however often the file is replaced by the same nonsense."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        path = broker.grant()
        for _ in range(3):
            broker.write_grants(b"{")
        wait_for(lambda: "cannot be read" in broker.log, "the complaint")
        broker.write_grants(b"{")

        assert broker.ask()[0] == 200
        assert path.exists()
        assert broker.log.count("cannot be read") == 1


@pytest.mark.parametrize("notify", ["inotify", "poll"])
def test_folders_that_come_later_are_waited_for(notify: str) -> None:
    """The operator may make them after the pod has started."""
    with RawUpstream(lambda _: message()) as api:
        broker = BrokerProcess(api.url, {"WATCHBILL_NOTIFY": notify})
        shutil.rmtree(broker.root / "grants")
        shutil.rmtree(broker.root / "sockets")
        with broker:
            (broker.root / "grants").mkdir()
            broker.grant()

            assert broker.ask()[0] == 200


def test_a_killed_broker_comes_back_with_its_sockets() -> None:
    """What a former life left behind is replaced, also for attempts that have ended meanwhile."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.grant(attempt=1)
        former = broker.grant(attempt=2)
        broker.kill()
        broker.withdraw(attempt=2)

        broker.start()

        wait_for(lambda: _gets_answer(broker), "an answer")
        assert not former.exists()


def test_a_rotated_key_is_used_for_the_next_request() -> None:
    """Without a restart."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.grant()
        broker.ask()

        broker.set_credential("sk-ant-another")
        broker.ask()

        assert [asked.field("x-api-key") for asked in api.asked] == [KEY, "sk-ant-another"]


def test_a_key_that_is_rotated_while_it_is_refused_is_tried_once() -> None:
    """The session goes on and never learns of it."""

    def answer(asked: Asked) -> list[bytes]:
        if asked.field("x-api-key") == "sk-ant-another":
            return message()
        broker.set_credential("sk-ant-another")
        return whole(401, REFUSED)

    with RawUpstream(answer) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        assert (broker.ask()[0], len(api.asked)) == (200, 2)
        assert broker.ledger()["requests"] == 1


def test_a_refused_key_is_never_shown() -> None:
    """An API that repeats it in its error does not make it known."""
    with RawUpstream(lambda _: whole(401, REFUSED)) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        status, fields, body = broker.ask()

        words = json.loads(body)["error"]["message"]
        assert (status, len(api.asked)) == (401, 1)
        assert "refused ANTHROPIC_API_KEY of the Secret watchbill-credentials: bad key ****" in words
        assert KEY not in f"{fields}{body!r}{broker.log}"


def test_an_error_that_repeats_the_key_is_blanked_in_every_form() -> None:
    """Plain, as base64, and in a header."""
    shown = base64.b64encode(KEY.encode()).decode()
    answer = whole(500, f"{KEY} {shown}".encode(), x_debug=KEY)
    with RawUpstream(lambda _: answer) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        status, fields, body = broker.ask()

        assert (status, "x-debug" in fields) == (500, False)
        assert KEY.encode() not in body
        assert shown.rstrip("=").encode() not in body


@pytest.mark.parametrize(
    ("status", "before"), [(302, 0), (400, MAX_ERROR_BYTES - 20), (400, MAX_ERROR_BYTES - len(KEY) - 1)]
)
def test_a_key_that_a_long_error_or_a_redirection_repeats_is_blanked(status: int, before: int) -> None:
    """Also where the text is cut in its middle."""
    answer = whole(status, b"." * before + KEY.encode() + b"." * 1000)
    with RawUpstream(lambda _: answer) as api, BrokerProcess(api.url) as broker:
        broker.grant()

        answered, _, body = broker.ask()

        assert answered == status
        assert KEY[:8].encode() not in body


def test_a_missing_secret_says_how_to_make_it() -> None:
    """And the CLI does not try again."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.set_credential(None)
        broker.grant()

        status, fields, body = broker.ask()

        assert (status, fields["x-should-retry"], broker.usage()["refused"]) == (401, "false", "credential")
        made = "kubectl create secret generic watchbill-credentials --from-file=ANTHROPIC_API_KEY=/dev/stdin"
        assert made in body.decode()  # and not --from-literal: that shows the key to every process
        assert api.asked == []


def test_a_key_with_a_line_break_is_refused_without_being_shown() -> None:
    """It would become a header of its own."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.set_credential(f"{KEY}\r\nx-other: 1")
        broker.grant()

        status, _, body = broker.ask()

        assert (status, api.asked) == (401, [])
        assert b"holds a line break" in body
        assert KEY not in body.decode() + broker.log


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("ANTHROPIC_AUTH_TOKEN", "authorization", f"Bearer {KEY}"),
        ("CLAUDE_CODE_OAUTH_TOKEN", "authorization", f"Bearer {KEY}"),
        ("ANTHROPIC_API_KEY", "x-api-key", KEY),
    ],
)
def test_each_kind_of_credential_has_its_header(name: str, field: str, value: str) -> None:
    """Files are named as Claude Code's variables."""
    with RawUpstream(lambda _: message()) as api, BrokerProcess(api.url) as broker:
        broker.set_credential(None)
        broker.set_credential(f"{KEY}\n", name)
        broker.grant()

        broker.ask()

        assert api.asked[0].field(field) == value
        assert (api.asked[0].field("anthropic-beta") == "oauth-2025-04-20") == (name == "CLAUDE_CODE_OAUTH_TOKEN")


def test_a_wrong_environment_ends_with_78_and_one_sentence() -> None:
    """Starting again will not help."""
    environment = {**os.environ, "WATCHBILL_SOCKETS": "relative"}

    done = subprocess.run([sys.executable, "-m", "watchbill_broker"], env=environment, capture_output=True, timeout=90)

    assert (done.returncode, b"WATCHBILL_SOCKETS is 'relative'" in done.stderr) == (78, True)


def test_no_core_is_written_and_nobody_can_attach() -> None:
    """The kernel's own words, asked in a process that has hardened itself."""
    program = (
        "import ctypes, resource; from watchbill_broker.hardening import apply_hardening; apply_hardening();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90, check=True)

    assert done.stdout == "0 (0, 0)\n"


def test_a_broker_ends_with_its_parent() -> None:
    """Nobody could find it by its environment."""
    with BrokerProcess("http://127.0.0.1:1") as broker:
        environment = {
            f"WATCHBILL_{name.upper()}": str(broker.root / name) for name in ("grants", "ledger", "credentials")
        }
        environment |= {**os.environ, **environment, "WATCHBILL_SOCKETS": str(broker.root / "others")}
        program = (
            "import subprocess, sys; child = subprocess.Popen([sys.executable, '-m', 'watchbill_broker'],"
            "stderr=subprocess.PIPE); child.stderr.readline(); print(child.pid)"
        )

        done = subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, timeout=90)

        pid = int(done.stdout)
        wait_for(lambda: not _is_alive(pid), "its end")


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().split()[2] != "Z"
    except OSError:
        return False


def _gets_answer(broker: BrokerProcess) -> bool:
    try:
        return broker.ask()[0] == 200
    except OSError:
        return False
