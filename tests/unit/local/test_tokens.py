"""Who shows a token: the owner, a service account, or nobody."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_local.server.tokens import AUDIENCE, OWNER, Tokens

KEY, NOW, UID = "the-servers-own-token", 1_800_000_000.0, "6f1c"
ACCOUNT = {"name": "robot", "namespace": "fleet", "uid": UID}
TOKENS = Tokens(KEY, {UID})


def issue(audiences: tuple[str, ...] = (AUDIENCE,), seconds: int = 600) -> str:
    """Return a header with a token of the account."""
    return f"Bearer {TOKENS.issue(ACCOUNT, audiences, NOW, seconds)}"


def test_the_servers_token_is_the_owners() -> None:
    """Who may read its file is the owner."""
    assert TOKENS.identify(f"Bearer {KEY}", NOW) == OWNER


def test_an_account_is_named_with_its_groups() -> None:
    """As Kubernetes calls it."""
    user = TOKENS.identify(issue(), NOW)

    assert user is not None
    assert (user.name, user.uid) == ("system:serviceaccount:fleet:robot", UID)
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:fleet", "system:authenticated")


@pytest.mark.parametrize(("after", "is_known"), [(599.0, True), (600.0, False)])
def test_a_token_is_good_until_its_time(after: float, is_known: bool) -> None:
    """And not a second longer."""
    assert (TOKENS.identify(issue(), NOW + after) is not None) == is_known


def test_a_token_dies_with_its_account() -> None:
    """An account of the same name that comes later is another one."""
    assert Tokens(KEY, {"another"}).identify(issue(), NOW) is None


def test_a_token_for_others_is_not_taken_here() -> None:
    """Its audience is somebody else."""
    assert TOKENS.identify(issue(("vault",)), NOW) is None


def test_a_token_of_another_server_is_not_taken() -> None:
    """It was signed with another key."""
    assert Tokens("another-key", {UID}).identify(issue(), NOW) is None


def test_changed_claims_are_not_taken() -> None:
    """The signature is of what was said."""
    head, claims, signature = issue().removeprefix("Bearer ").split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    said["exp"] += 3600
    changed = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")

    assert TOKENS.identify(f"Bearer {head}.{changed}.{signature}", NOW) is None


@given(st.text(max_size=80))
def test_nobody_comes_in_by_chance(text: str) -> None:
    """Whatever stands in the header, with or without the right scheme."""
    assert TOKENS.identify(text, NOW) is None
    assert TOKENS.identify(f"Bearer {text}", NOW) is None
