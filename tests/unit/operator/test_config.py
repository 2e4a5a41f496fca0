"""Settings of the operator, and the sentences for wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchbill_operator.config import ConfigError, load_config, parse_config

ROOT = {"WATCHBILL_ROOT": "/srv/watchbill"}


def test_the_root_alone_is_enough() -> None:
    """Everything else has a default."""
    config = parse_config(ROOT)

    assert (config.root, config.namespace, config.kubeconfig) == (Path("/srv/watchbill"), "default", None)


def test_without_a_root_the_sentence_names_the_variable() -> None:
    """It is the only one that cannot be guessed."""
    with pytest.raises(ConfigError, match="WATCHBILL_ROOT"):
        parse_config({})


def test_the_environment_goes_before_the_file() -> None:
    """A file is for many, a variable for one."""
    config = parse_config(ROOT | {"WATCHBILL_NAMESPACE": "mine"}, "namespace: theirs\nlease_seconds: 5\n", "f.yaml")

    assert (config.namespace, config.lease_seconds) == ("mine", 5.0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("namspace: x\n", "f.yaml:1:1: namspace is not a setting"),
        ("namespace: x\nlease_seconds: soon\n", "f.yaml:2:1: lease_seconds"),
        ("lease_seconds: -1\n", "f.yaml:1:1: lease_seconds"),
        ("namespace: [1\n", "f.yaml:2:1"),
        ("- a\n", "f.yaml:1:1: a mapping is wanted"),
        ("http_port: 70000\n", "70000 is not a port"),
        ("log_level: LOUD\n", "is not one of DEBUG"),
    ],
)
def test_a_wrong_file_is_told_with_line_and_column(text: str, sentence: str) -> None:
    """What is wrong, and where."""
    with pytest.raises(ConfigError) as caught:
        parse_config(ROOT, text, "f.yaml")

    assert sentence in str(caught.value)


@pytest.mark.parametrize("address", ["8080", "host:", "host:99999", "host:http"])
def test_a_wrong_address_is_refused(address: str) -> None:
    """HOST:PORT is wanted."""
    with pytest.raises(ConfigError, match="WATCHBILL_HTTP"):
        parse_config(ROOT | {"WATCHBILL_HTTP": address})


def test_an_ipv6_address_is_taken_out_of_its_brackets() -> None:
    """As sockets want it."""
    config = parse_config(ROOT | {"WATCHBILL_HTTP": "[::1]:8080"})

    assert (config.http_host, config.http_port) == ("::1", 8080)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """One sentence with its name."""
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        load_config(ROOT, tmp_path / "missing.yaml")
