"""Members that occur more than once in a JSON text."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_local.server.values import find_duplicates, format_go

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (b'{"a": 1, "b": "x:y", "a": 2}', ["a"]),
        (b'{"a": {"b": 1, "b": 2}, "a": {}}', ["a.b", "a"]),
        (b'{"a": [{}, {"b": 1, "b": 2, "b": 3}]}', ["a[1].b"]),
        (b'[{"a": 1, "a": 1}]', ["[0].a"]),
        (b'{"a": ":", "b": {"a": 1}}', []),
    ],
)
def test_members_that_stand_twice_are_found(text: bytes, paths: list[str]) -> None:
    """Each is told once, with its path."""
    assert find_duplicates(text, orjson.loads(text)) == paths


@given(VALUES)
def test_nothing_is_found_where_nothing_stands_twice(value: object) -> None:
    """Whatever signs the texts hold."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2)

    assert find_duplicates(text, orjson.loads(text)) == []


def test_a_value_is_shown_as_go_prints_it() -> None:
    """Members in the order of their names, without quotes."""
    assert format_go({"b": ["x", 1], "a": None, "c": {"d": True}}) == "map[a:<nil> b:[x 1] c:map[d:true]]"
