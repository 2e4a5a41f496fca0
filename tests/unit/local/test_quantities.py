"""Quantities in their one form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_local.server.quantities import format_quantity, parse_quantity

SUFFIXES = ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "E2"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1000m", "1"),
        ("0.0001", "1m"),
        ("1e3", "1e3"),
        ("+2", "2"),
        ("0Gi", "0"),
        ("-1Gi", "-1Gi"),
        ("1e999999999", "1e999999999"),
    ],
)
def test_a_quantity_has_one_form(sent: str, kept: str) -> None:
    """The form that upstream writes; what is beyond all use is kept, and costs nothing."""
    assert format_quantity(sent) == kept


@given(st.integers(-(10**9), 10**9), st.integers(0, 999), st.sampled_from(SUFFIXES))
def test_the_form_says_the_same_amount_and_is_its_own_form(whole: int, part: int, suffix: str) -> None:
    """But for what is less than a thousandth, which is rounded away from nothing."""
    sent = f"{whole}.{part:03}{suffix}"

    kept = format_quantity(sent)

    assert format_quantity(kept) == kept
    assert abs(parse_quantity(kept) - parse_quantity(sent)) <= 0.001 + abs(parse_quantity(sent)) * 1e-12
