"""The short names of models."""

from __future__ import annotations

import pytest

from watchbill_coordination.core.models import MODEL_ALIASES, resolve_model
from watchbill_coordination.core.specs import MODEL_BY_ROLE


def test_every_role_has_a_model_that_is_known() -> None:
    """Its default is an alias of the table."""
    assert set(MODEL_BY_ROLE.values()) <= set(MODEL_ALIASES)


def test_an_alias_becomes_its_id() -> None:
    """The one that the table gives."""
    assert resolve_model("opus", {}) == "claude-opus-5-5"


@pytest.mark.parametrize("name", ["claude-opus-5-5", "anthropic.claude-v9:0", ""])
def test_what_is_no_alias_stays(name: str) -> None:
    """An id is an id, and nothing is nothing."""
    assert resolve_model(name, {}) == name


def test_overrides_go_first() -> None:
    """Also for names that the table has not."""
    overrides = {"opus": "mine", "house": "ours"}

    assert [resolve_model(name, overrides) for name in ("opus", "house", "haiku")] == [
        "mine",
        "ours",
        MODEL_ALIASES["haiku"],
    ]
