"""Protobuf bodies: what a real server encodes is read as the JSON that it says of the same object."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_local.server.kinds import build_kinds
from watchbill_local.server.protobuf import MAGIC, NoEnvelopeError, UnknownTypeError, parse_protobuf

#: Answers of kube-apiserver 1.36.3 for one object of each kind, in both forms.
SAMPLES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("protobuf_samples.json").read_text())


def length_delimited(number: int, content: bytes) -> bytes:
    """Return one field of bytes; the content is shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def body(kind: str, raw: bytes, api_version: str = "v1") -> bytes:
    """Return a body in the envelope of Kubernetes."""
    names = length_delimited(1, api_version.encode()) + length_delimited(2, kind.encode())
    return MAGIC + length_delimited(1, names) + length_delimited(2, raw)


def prune(value: Any) -> Any:
    """Return a value without nulls and empty objects, which say nothing."""
    if isinstance(value, list):
        return [prune(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: kept for key, each in value.items() if (kept := prune(each)) not in (None, {})}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample["json"]["kind"]))
def test_what_a_real_server_encodes_is_read_as_its_json(sample: dict[str, Any]) -> None:
    """Zeros that a client set are kept, those of fields that it never named are not there."""
    assert prune(parse_protobuf(base64.b64decode(sample["protobuf"]))) == prune(sample["json"])


def test_there_is_a_sample_of_every_kind() -> None:
    """A kind that is added to the table needs the messages of its body too."""
    assert {sample["json"]["kind"] for sample in SAMPLES} == {kind.kind for kind in build_kinds() if not kind.is_review}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "does not appear to be a protobuf message"),
        (b"k8s\x01", "does not appear to be a protobuf message"),
        (MAGIC, "empty body"),
        (MAGIC + b"zzzz", "unexpected EOF"),
        (MAGIC + b"\x08\x01\x12\x00", "wrong wireType"),
    ],
)
def test_a_body_without_its_envelope_is_told_from_a_broken_one(raw: bytes, words: str) -> None:
    """It is refused before its type is known."""
    with pytest.raises(NoEnvelopeError, match=words):
        parse_protobuf(raw)


def test_an_unknown_type_is_named() -> None:
    """In upstream's words."""
    with pytest.raises(UnknownTypeError, match='no kind "Deployment" is registered for version "apps/v1"'):
        parse_protobuf(body("Deployment", b"", "apps/v1"))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x0a\x09", "unexpected EOF"),
        (b"\x0a\x80", "unexpected EOF"),
        (b"\x0a" + b"\xff" * 11, "integer overflow"),
        (b"\x0b", "illegal wireType 3"),
        (b"\x08\x01", "wrong wireType"),
        (length_delimited(4, b"x"), "wrong wireType for a number"),
        (length_delimited(1, length_delimited(1, b"\xff")), "decode"),
    ],
)
def test_broken_bytes_are_a_value_error(raw: bytes, words: str) -> None:
    """Cut short, of a wrong wire type, or no UTF-8."""
    with pytest.raises(ValueError, match=words):
        parse_protobuf(body("ConfigMap", raw))


def test_messages_within_messages_have_a_bound() -> None:
    """The schema of a definition may hold itself; Python's stack must not end."""
    raw = b""
    for _ in range(5000):
        raw = b"\xe2\x01" + varint(len(raw)) + raw  # field 28 of a schema: `not`
    for number in (1, 4, 7, 2):
        raw = bytes([number << 3 | 2]) + varint(len(raw)) + raw

    with pytest.raises(ValueError, match="max depth"):
        parse_protobuf(MAGIC + length_delimited(1, names_of_definition()) + b"\x12" + varint(len(raw)) + raw)


def names_of_definition() -> bytes:
    """Return the type of a CustomResourceDefinition in the envelope."""
    return length_delimited(1, b"apiextensions.k8s.io/v1") + length_delimited(2, b"CustomResourceDefinition")


def varint(number: int) -> bytes:
    """Return a number as it stands on the wire."""
    low = number & 127
    return bytes([low]) if number < 128 else bytes([low | 128]) + varint(number >> 7)


def test_a_field_of_a_newer_client_is_passed_over() -> None:
    """As Go does it."""
    raw = length_delimited(1, length_delimited(1, b"one")) + b"\xf8\x3f\x01"

    assert parse_protobuf(body("ConfigMap", raw))["metadata"] == {"name": "one"}


@given(st.binary(max_size=200), st.sampled_from(sorted({sample["json"]["kind"] for sample in SAMPLES})))
def test_any_bytes_end_in_a_value_or_a_value_error(raw: bytes, kind: str) -> None:
    """Never in another exception."""
    envelope = MAGIC + length_delimited(1, length_delimited(1, b"v1") + length_delimited(2, kind.encode()))
    with contextlib.suppress(ValueError):
        assert parse_protobuf(envelope + b"\x12" + varint(len(raw)) + raw)["kind"] == kind


@given(st.data())
def test_a_damaged_body_ends_in_a_value_or_a_value_error(data: st.DataObject) -> None:
    """One byte of a sound one changed."""
    raw = bytearray(base64.b64decode(data.draw(st.sampled_from(SAMPLES))["protobuf"]))
    raw[data.draw(st.integers(4, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        assert isinstance(parse_protobuf(bytes(raw)), dict)
