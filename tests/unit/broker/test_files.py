"""The files around the broker: grants, ledger, credentials, and its environment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_broker.credentials import Credential, CredentialFiles, NoCredential
from watchbill_broker.grants import Grant, GrantsUnreadable, load_grants, parse_grants
from watchbill_broker.ledger import Charge, LedgerUnreadable, Sums, load_sums, save_sums
from watchbill_broker.retry_after import LONGEST_SECONDS, find_retry_after
from watchbill_broker.settings import Endpoint, SettingsError, find_proxy, parse_settings

FOLDERS = {f"WATCHBILL_{name}": f"/run/{name.lower()}" for name in ("SOCKETS", "GRANTS", "LEDGER", "CREDENTIALS")}
COUNTS = st.integers(min_value=0, max_value=10**9)
NOW = 1_800_000_000.0


def test_grants_are_read_by_attempt() -> None:
    """With a budget and without."""
    content = {
        "v": 1,
        "attempts": [{"task": "a", "attempt": 1, "budgetUSD": 0.5}, {"task": "a", "attempt": 2, "budgetUSD": None}],
    }

    assert parse_grants(json.dumps(content).encode()) == {"a-1": Grant("a", 1, 0.5), "a-2": Grant("a", 2, None)}


@pytest.mark.parametrize(
    "attempt",
    [
        {"task": "../x", "attempt": 1},
        {"task": "a", "attempt": -1},
        {"task": "a", "attempt": True},
        {"task": "a", "attempt": 1, "budgetUSD": "1"},
        {"task": "a", "attempt": 1, "budgetUSD": float("nan")},
        {"task": "a", "attempt": 1, "budgetUSD": -0.1},
        "a-1",
    ],
)
def test_grants_with_one_bad_entry_are_not_read_at_all(attempt: Any) -> None:
    """A name becomes a path, and a budget money."""
    with pytest.raises(GrantsUnreadable):
        parse_grants(json.dumps({"v": 1, "attempts": [attempt]}).encode())


@given(st.binary(max_size=200))
def test_no_bytes_but_grants_are_grants(content: bytes) -> None:
    """Every other file is unreadable, and nothing worse."""
    with pytest.raises(GrantsUnreadable):
        parse_grants(content)


def test_a_link_is_not_followed_to_grants(tmp_path: Path) -> None:
    """The operator writes a file."""
    (tmp_path / "other").write_text('{"v": 1, "attempts": []}')
    (tmp_path / "grants.json").symlink_to("other")

    with pytest.raises(GrantsUnreadable):
        load_grants(tmp_path)


@given(
    sums=st.builds(
        Sums,
        requests=COUNTS,
        input_tokens=COUNTS,
        output_tokens=COUNTS,
        guessed=COUNTS,
        unknown_models=st.tuples(st.text(max_size=9)),
    )
)
def test_a_ledger_is_continued_where_it_ended(tmp_path_factory: pytest.TempPathFactory, sums: Sums) -> None:
    """What was written is what is read."""
    path = tmp_path_factory.mktemp("ledger") / "a-1.json"

    save_sums(path, task="a", attempt=1, sums=sums)

    assert load_sums(path) == sums


def test_a_ledger_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    """And no half of a new one."""
    path = tmp_path / "a-1.json"
    path.mkdir()

    with pytest.raises(OSError):
        save_sums(path, task="a", attempt=1, sums=Sums())

    assert os.listdir(tmp_path) == ["a-1.json"]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"v": 2}', '{"v": 1, "costUSD": -1}', '{"v": 1, "costUSD": 0, "requests": "1"}']
)
def test_a_ledger_of_another_form_is_not_continued(tmp_path: Path, content: str) -> None:
    """What was spent is not known then."""
    (tmp_path / "a-1.json").write_text(content)

    with pytest.raises(LedgerUnreadable):
        load_sums(tmp_path / "a-1.json")


def test_an_unknown_model_is_named_once() -> None:
    """However many of its answers there were."""
    charge = Charge(
        model="m",
        input_tokens=1,
        output_tokens=1,
        cache_read_tokens=0,
        cache_write_tokens=0,
        usd=1,
        is_known=False,
        is_guessed=False,
    )

    assert Sums().add(charge).add(charge).unknown_models == ("m",)


def test_a_key_is_what_stands_in_its_file(tmp_path: Path) -> None:
    """White space at its ends is an editor's."""
    (tmp_path / "ANTHROPIC_API_KEY").write_text(" sk-ant-1\r\n")

    assert CredentialFiles(tmp_path, "anthropic").load() == Credential(
        "ANTHROPIC_API_KEY", b"x-api-key", b"sk-ant-1", _secret=b"sk-ant-1"
    )


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a b", "a\0b", "schlüssel", "k" * 20_000])
def test_a_key_that_is_no_header_is_refused_without_showing_it(tmp_path: Path, value: str) -> None:
    """The problem names the file alone."""
    (tmp_path / "ANTHROPIC_API_KEY").write_text(value)

    found = CredentialFiles(tmp_path, "anthropic").load()

    assert isinstance(found, NoCredential)
    assert value[:3] not in found.problem.replace("ANTHROPIC_API_KEY", "")


def test_a_credential_does_not_show_itself(tmp_path: Path) -> None:
    """Neither in a log nor in a traceback."""
    (tmp_path / "ANTHROPIC_AUTH_TOKEN").write_text("secret-token")

    assert "secret-token" not in repr(CredentialFiles(tmp_path, "anthropic").load())


def test_files_that_a_kubelet_swaps_are_read_anew(tmp_path: Path) -> None:
    """A mounted Secret is a link to a link."""
    for name, value in (("one", "first"), ("two", "second")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ANTHROPIC_API_KEY").write_text(value)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "ANTHROPIC_API_KEY").symlink_to("..data/ANTHROPIC_API_KEY")
    files = CredentialFiles(tmp_path, "anthropic")
    before = files.load()
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").rename(tmp_path / "..data")

    after = files.load()

    assert isinstance(before, Credential)
    assert isinstance(after, Credential)
    assert (before.value, after.value) == (b"first", b"second")


@pytest.mark.parametrize(
    ("status", "fields", "seconds"),
    [
        (429, [(b"retry-after", b"30")], 30),
        (529, [(b"retry-after", b"1.5")], 1.5),
        (429, [(b"retry-after", b"Fri, 15 Jan 2027 08:01:00 GMT")], 60),
        (429, [(b"retry-after", b"soon")], None),
        (
            429,
            [
                (b"anthropic-ratelimit-unified-status", b"rejected"),
                (b"anthropic-ratelimit-unified-reset", b"1800000600"),
            ],
            600,
        ),
        (
            429,
            [
                (b"anthropic-ratelimit-tokens-remaining", b"0"),
                (b"anthropic-ratelimit-tokens-reset", b"2027-01-15T08:02:00Z"),
            ],
            120,
        ),
        (
            429,
            [
                (b"anthropic-ratelimit-tokens-remaining", b"9"),
                (b"anthropic-ratelimit-tokens-reset", b"2027-01-15T08:02:00Z"),
            ],
            None,
        ),
        (429, [(b"retry-after", b"99999999999")], LONGEST_SECONDS),
        (200, [(b"retry-after", b"30")], None),
    ],
)
def test_the_time_to_wait_is_found_in_every_form(
    status: int, fields: list[tuple[bytes, bytes]], seconds: float | None
) -> None:
    """Seconds, dates, and the reset of whichever limit is exhausted."""
    assert find_retry_after(status, fields, NOW) == seconds


def test_an_environment_without_more_than_folders_is_enough() -> None:
    """The provider's own address, and the usual Secret."""
    settings = parse_settings(FOLDERS)

    assert (settings.provider, settings.upstream, settings.secret) == ("anthropic", None, "watchbill-credentials")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WATCHBILL_SOCKETS", "", "WATCHBILL_SOCKETS is not set"),
        ("WATCHBILL_PROVIDER", "azure", "not one of anthropic, bedrock, vertex"),
        ("WATCHBILL_UPSTREAM", "ftp://x", "does not begin with http"),
        ("WATCHBILL_UPSTREAM", "https://user:secret@x", "credentials belong into the Secret"),
        ("WATCHBILL_UPSTREAM", "https://x/a b", "characters"),
        ("WATCHBILL_UPSTREAM", "https://x:99999", "is not a URL"),
        ("WATCHBILL_PRICES", "[", "is not JSON"),
    ],
)
def test_a_wrong_environment_is_said_by_variable_and_without_its_secrets(name: str, value: str, words: str) -> None:
    """One sentence in the pod's log."""
    with pytest.raises(SettingsError, match=words) as caught:
        parse_settings({**FOLDERS, name: value})

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "authority", "prefix"),
    [
        ("http://127.0.0.1:8787/s/a/", "127.0.0.1:8787", "/s/a"),
        ("https://gateway.example", "gateway.example", ""),
        ("http://[::1]:80", "[::1]", ""),
    ],
)
def test_a_gateways_address_keeps_its_prefix(url: str, authority: str, prefix: str) -> None:
    """Requests are appended to it."""
    upstream = parse_settings({**FOLDERS, "WATCHBILL_UPSTREAM": url}).upstream

    assert upstream is not None
    assert (upstream.authority, upstream.prefix) == (authority, prefix)


@pytest.mark.parametrize(
    ("no_proxy", "endpoint", "is_used"),
    [
        ("", Endpoint("https", "api.anthropic.com", 443), True),
        ("anthropic.com", Endpoint("https", "api.anthropic.com", 443), False),
        ("*", Endpoint("https", "api.anthropic.com", 443), False),
        ("thropic.com", Endpoint("https", "api.anthropic.com", 443), True),
        ("", Endpoint("http", "127.0.0.1", 80), False),
    ],
)
def test_a_proxy_is_for_https_to_hosts_that_are_not_excluded(no_proxy: str, endpoint: Endpoint, is_used: bool) -> None:
    """The usual variables."""
    settings = parse_settings({**FOLDERS, "HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": no_proxy})

    assert (find_proxy(settings, endpoint) is not None) is is_used
