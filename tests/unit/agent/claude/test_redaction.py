"""What is taken out of texts before they are written down."""

from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_agent.claude.redaction import REDACTED, SHORTEST, Redactor, find_secrets

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"

secrets = st.text(st.characters(codec="utf-8"), min_size=SHORTEST, max_size=40).filter(
    lambda text: text.strip(". ") != ""
)
surroundings = st.text(max_size=30)


@given(secrets, surroundings, surroundings)
def test_a_known_value_is_never_left(secret: str, before: str, after: str) -> None:
    """Wherever it stands."""
    assert secret not in Redactor([secret]).hide_known(before + secret + after).replace(REDACTED, "")


@given(secrets, surroundings)
def test_a_known_value_is_found_inside_json(secret: str, before: str) -> None:
    """Twice escaped is once escaped in what is written."""
    written = json.dumps(before + secret)
    assert json.dumps(secret)[1:-1] not in Redactor([secret]).hide_known(written).replace(REDACTED, "")


@given(st.text(st.characters(codec="utf-8"), min_size=16, max_size=40), st.binary(max_size=5), st.binary(max_size=5))
def test_a_known_value_is_found_in_base64(secret: str, before: bytes, after: bytes) -> None:
    """At any offset of what was encoded: at most its edges are left."""
    data = secret.encode()
    encoded = base64.b64encode(before + data + after).decode()
    left = Redactor([secret]).hide_known(encoded)
    assert REDACTED in left
    inner = base64.b64encode(b"\0" * (len(before) % 3) + data).decode()[4:-4]
    assert inner not in left


def test_a_known_value_is_found_in_base64_for_addresses() -> None:
    """Whose alphabet has other characters for two."""
    secret = "a key >>>???~~~ with odd characters"
    encoded = base64.urlsafe_b64encode(secret.encode()).decode()
    assert {"-", "_"} <= set(encoded)
    assert len(Redactor([secret]).hide_known(encoded)) < len(REDACTED) + 8


@pytest.mark.parametrize(
    "token",
    [
        "sk-ant-api03-abcdefgh_ijkl-mnop", "AKIAIOSFODNN7EXAMPLE", "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "github_pat_11AAAAAAA0abcdefghijkl_mnop", "glpat-abcdefghijklmnopqrst", "xoxb-123456789012-abcdefghij", JWT,
        "AIzaSyA-1234567890abcdefghijklmnopqrstu", PEM,
    ],
)  # fmt: skip
def test_a_well_known_token_is_hidden(token: str) -> None:
    """In results too."""
    assert Redactor().hide_known(f"a {token} b") == f"a {REDACTED} b"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"),
        ("password=hunter2hunter2", "hunter2hunter2"),
        ('{"db_password": "hunter2hunter2"}', "hunter2hunter2"),
        ('"{\\"api_key\\": \\"hunter2hunter2\\"}"', "hunter2hunter2"),
        ("export SECRET_TOKEN='hunter2hunter2'", "hunter2hunter2"),
        ("postgres://me:hunter2hunter2@db/x", "hunter2hunter2"),
    ],
)
def test_an_assignment_that_looks_secret_is_hidden(text: str, hidden: str) -> None:
    """Its name stays, so that a reader sees what was there."""
    found = Redactor().hide(text)
    assert hidden not in found
    assert REDACTED in found


@pytest.mark.parametrize(
    "text", ["def tokenize(text): return text.split()", "the password is wrong", "max_tokens=4096"]
)
def test_ordinary_text_stays(text: str) -> None:
    """A transcript is to be read."""
    assert Redactor().hide(text) == text


def test_results_keep_what_only_looks_secret() -> None:
    """Code that was asked for is not to be torn up."""
    assert Redactor().hide_known('password = "changeme1234"') == 'password = "changeme1234"'


def test_an_unfinished_private_key_is_hidden_to_the_end() -> None:
    """A text may be cut in the middle of one."""
    assert Redactor().hide("x " + PEM[:50]) == f"x {REDACTED}"


def test_secrets_are_known_by_the_names_of_variables() -> None:
    """Short values are left: they would be found everywhere."""
    environment = {"MY_API_KEY": "k" * 10, "DB_PASSWORD": "p" * 10, "PIN_TOKEN": "1234", "KEYBOARD": "german-layout"}
    assert find_secrets(environment) == {"k" * 10, "p" * 10}


@pytest.mark.parametrize("hostile", ["-----BEGIN PRIVATE KEY-----", "eyJ", "://:", "password", "password= ", "sk-"])
def test_a_hostile_text_takes_no_time(hostile: str) -> None:
    """No pattern looks back and forth: ten times the text takes far less than a hundred times as long."""

    def measure(size: int) -> float:
        text = (hostile * size)[:size]
        began = time.process_time()
        Redactor(["x" * 20]).hide(text)
        return time.process_time() - began

    assert measure(400_000) < 40 * max(measure(40_000), 0.001)
