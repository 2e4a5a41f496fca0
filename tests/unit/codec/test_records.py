"""Records: one event, one line, and no bit of it that can change unseen."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_coordination.codec.canonical import Unencodable, encode_canonical
from watchbill_coordination.codec.records import (
    MAX_BLOB,
    MAX_INLINE,
    TRAILER,
    CorruptRecord,
    NewerFormat,
    compute_genesis,
    compute_trailer,
    decode,
    encode,
    encode_data,
    read_header,
)
from watchbill_coordination.core.event_types import EVENT_TYPES
from watchbill_coordination.core.events import Event, LogOpened, Recorded, TaskQueued, TaskSubmitted
from watchbill_coordination.core.specs import TaskUid

GENESIS = compute_genesis("0" * 32)
QUEUED = Recorded(TaskQueued(task=TaskUid("t-1")), seq=7, ts=1_763_799_999_123_456, ep=2, key="k", cause=5)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGERS = st.integers(min_value=-(2**53), max_value=2**53)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
BY_TYPE: Mapping[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: INTEGERS,
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    int | None: st.none() | INTEGERS,
    Mapping[str, Any]: st.dictionaries(TEXT, JSON, max_size=4),
    Mapping[str, int]: st.dictionaries(TEXT, INTEGERS, max_size=4),
}


def _build_values(kind: Any) -> st.SearchStrategy[Any]:
    return BY_TYPE[getattr(kind, "__supertype__", kind)]


def _build_events(event_type: type[Event]) -> st.SearchStrategy[Event]:
    hints = typing.get_type_hints(event_type)
    return st.builds(event_type, **{field.name: _build_values(hints[field.name]) for field in fields(event_type)})


EVENTS = st.sampled_from(sorted(EVENT_TYPES)).flatmap(lambda name: _build_events(EVENT_TYPES[name]))
PLACES = st.integers(min_value=0, max_value=2**53)


@given(event=EVENTS, seq=PLACES, ts=PLACES, ep=PLACES, key=TEXT, cause=PLACES, tx=st.integers(0, 1000))
def test_what_is_encoded_decodes_to_the_same(
    event: Event, seq: int, ts: int, ep: int, key: str, cause: int, tx: int
) -> None:
    """Every type of event survives the line, with its place, its group and the chain."""
    recorded = Recorded(event, seq, ts, ep, key, cause)

    line, h = encode(recorded, GENESIS, tx=tx)
    record = decode(line, GENESIS)

    assert (record.recorded, record.tx, record.h) == (recorded, tx, h)


@given(event=EVENTS)
def test_equal_events_give_equal_bytes(event: Event) -> None:
    """Members of mappings are written in one order, whatever order they came in."""
    turned = {
        f.name: dict(reversed(value.items())) if isinstance(value := getattr(event, f.name), dict) else value
        for f in fields(event)
    }

    assert encode_data(type(event)(**turned)) == encode_data(event)


def test_a_line_is_ordinary_json_with_its_members_in_order() -> None:
    """jq and grep read it."""
    line, h = encode(QUEUED, GENESIS, tx=1)

    members = json.loads(line)
    assert list(members) == ["v", "seq", "ts", "ep", "type", "task", "key", "cause", "tx", "data", "h", "c"]
    assert members["h"] == h.hex()
    assert line.index(b',"h":"') == len(line) - TRAILER


def test_what_does_not_apply_is_left_out() -> None:
    """An event about no task and no agent, without a key, has none of these members."""
    line, _ = encode(Recorded(LogOpened(log_id="0" * 32), seq=1, ts=1, ep=1), GENESIS)

    assert not {"task", "agent", "key"} & set(json.loads(line))


def test_every_flipped_bit_is_found() -> None:
    """Not even a letter's case in the trailer may change."""
    line, _ = encode(QUEUED, GENESIS)

    for place in range(len(line) * 8):
        flipped = bytearray(line)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(CorruptRecord):
            decode(bytes(flipped), GENESIS)


def test_a_line_cut_anywhere_is_found() -> None:
    """A torn write is no record."""
    line, _ = encode(QUEUED, GENESIS)

    for length in range(len(line)):
        with pytest.raises(CorruptRecord):
            decode(line[:length], GENESIS)


def test_a_whole_line_in_the_wrong_place_is_found() -> None:
    """The chain tells a swapped or foreign line from its checksum alone."""
    line, _ = encode(QUEUED, GENESIS)

    with pytest.raises(CorruptRecord, match="does not follow its predecessor"):
        decode(line, compute_genesis("1" * 32))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", 2**53 + 1, -(2**60), {1, 2}, {"a": "\udfff"}])
def test_what_other_readers_cannot_hold_is_refused(value: object) -> None:
    """NaN, infinity, lone surrogates and integers beyond 2^53 never reach the log."""
    with pytest.raises(Unencodable):
        encode(replace(QUEUED, event=TaskSubmitted(task=TaskUid("t"), name="n", spec={"x": [value]})), GENESIS)


def test_a_lone_surrogate_in_the_key_is_refused() -> None:
    """The members beside data obey the same rule."""
    with pytest.raises(Unencodable):
        encode(replace(QUEUED, key="\ud800"), GENESIS)


def test_long_data_goes_to_a_blob() -> None:
    """The line carries the digest, and decoding asks for the blob."""
    event = TaskSubmitted(task=TaskUid("t"), name="n", spec={"prompt": "p" * MAX_INLINE})

    data = encode_data(event)
    line, _ = encode(replace(QUEUED, event=event), GENESIS, data=data)

    assert data.blob is not None
    assert len(line) < 500
    assert decode(line, GENESIS, lambda digest: data.blob or b"").recorded.event == event


def test_data_beyond_any_limit_is_refused() -> None:
    """A blob has a limit as well."""
    with pytest.raises(Unencodable, match="at most"):
        encode_data(TaskSubmitted(task=TaskUid("t"), name="n", spec={"prompt": "p" * MAX_BLOB}))


def test_a_line_over_its_limit_is_refused() -> None:
    """A key of a mebibyte makes the line too long, however short its data is."""
    with pytest.raises(Unencodable, match="a line of"):
        encode(replace(QUEUED, key="k" * (1 << 20)), GENESIS)


def _sign(body: dict[str, object]) -> bytes:
    encoded = json.dumps(body, separators=(",", ":")).encode()
    return encoded[:-1] + compute_trailer(encoded, GENESIS)[0]


BODY: dict[str, object] = {"v": 1, "seq": 1, "ts": 1, "ep": 1, "type": "TaskQueued", "task": "t", "cause": 0, "tx": 0}


def test_another_format_version_stops_with_a_sentence() -> None:
    """A newer writer's log is not guessed at."""
    with pytest.raises(NewerFormat, match="format version 2; this program reads version 1"):
        decode(_sign(BODY | {"v": 2, "data": {}}), GENESIS)


def test_an_unknown_type_says_that_the_log_is_newer() -> None:
    """It is no damage, and it is not skipped."""
    with pytest.raises(NewerFormat, match=r"TaskTeleported at seq 1; a newer version"):
        decode(_sign(BODY | {"type": "TaskTeleported", "data": {}}), GENESIS)


def test_an_unknown_field_of_a_known_type_is_ignored() -> None:
    """Fields are only ever added."""
    record = decode(_sign(BODY | {"data": {"colour": "blue"}}), GENESIS)

    assert record.recorded.event == TaskQueued(task=TaskUid("t"))


def test_a_missing_field_without_default_is_damage() -> None:
    """A whole line that says too little is told by the field's name."""
    with pytest.raises(CorruptRecord, match="without name, spec"):
        decode(_sign(BODY | {"type": "TaskSubmitted", "data": {"generation": 1}}), GENESIS)


def test_a_header_is_read_before_its_predecessor_is_known() -> None:
    """The way back through the segments starts from it."""
    line, _ = encode(Recorded(LogOpened(log_id="a" * 32), seq=1, ts=1, ep=1), b"unknown")

    header = read_header(line)

    assert header is not None
    assert header.event == LogOpened(log_id="a" * 32)
    assert read_header(line.replace(b"aaaa", b"aaab", 1)) is None


@given(JSON)
def test_canonical_bytes_survive_a_round_trip(value: object) -> None:
    """Reading and writing again gives the same bytes."""
    encoded = encode_canonical(value)

    assert encode_canonical(json.loads(encoded)) == encoded
