"""Mailbox files: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import string
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_coordination.codec.messages import (
    FROM_OPERATOR,
    MAX_MESSAGES,
    Header,
    MalformedError,
    decode_file,
    encode_file,
    is_task_uid,
    parse_number,
)
from watchbill_coordination.core.messages import (
    MESSAGE_TYPES,
    Accepted,
    Ack,
    Answer,
    Assign,
    Cancel,
    ChildEnded,
    ChildSubmitted,
    Cleanup,
    Drain,
    Finished,
    LockReleased,
    LockRequested,
    Message,
    Progress,
    Registered,
    Released,
)
from watchbill_coordination.core.specs import ReplicaName, TaskUid

UID = TaskUid("0d5a9f6e-3e0c-4b52-9f0a-3c2f8f0f6a11")
FINISHED = Finished(incarnation="pod/1", task=UID, attempt=1, outcome="Succeeded", exit_code=0)
AGENT_HEADER = Header(number=7, agent=ReplicaName("blue-0"), read=3, incarnation="pod/1")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
uids = st.text(string.ascii_letters + string.digits, min_size=1, max_size=40).map(TaskUid)
counts = st.integers(0, 2**53 - 1)
json_values = st.recursive(
    st.none() | st.booleans() | counts | texts, lambda v: st.lists(v) | st.dictionaries(texts, v)
)
shallow_values = st.recursive(
    st.none() | st.booleans() | counts | texts,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=3),
    max_leaves=10,
)
WHO: dict[str, st.SearchStrategy[Any]] = {"incarnation": texts, "task": uids, "attempt": counts}
OPERATOR_MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Assign,
        task=uids,
        attempt=counts,
        name=texts,
        incarnation=texts,
        timeout_seconds=st.floats(0, 1e9),
        prompt=texts,
        command=st.dictionaries(texts, json_values, max_size=3),
        context=st.lists(texts, max_size=3).map(tuple),
        dependencies=st.dictionaries(texts, texts, max_size=3),
        locks=st.dictionaries(texts, counts, max_size=3),
        work=texts,
        task_type=texts,
        output_schema=st.dictionaries(texts, json_values, max_size=3),
        budget_usd=st.none() | st.floats(0, 1e6),
        history=st.lists(texts, max_size=3).map(tuple),
        depth=counts,
        children=st.dictionaries(texts, texts, max_size=3),
    ),
    st.builds(
        Answer,
        task=uids,
        attempt=counts,
        request=counts,
        granted=st.booleans(),
        text=texts,
        name=texts,
        uid=texts,
        token=counts,
    ),
    st.builds(
        ChildEnded, task=uids, attempt=counts, name=texts, uid=texts, phase=texts.map(lambda t: t[:32]), text=texts
    ),
    st.builds(Cancel, task=uids, attempt=counts, reason=texts),
    st.builds(Ack, names=st.lists(texts, max_size=3).map(tuple), seq=counts),
    st.builds(Cleanup, tasks=st.lists(uids, max_size=3).map(tuple)),
    st.builds(Drain, deadline_seconds=st.floats(0, 1e9)),
)
AGENT_MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Registered, incarnation=texts, slots=counts),
    st.builds(Accepted, incarnation=texts, task=uids, attempt=counts),
    st.builds(Released, incarnation=texts),
    st.builds(
        Finished,
        incarnation=texts,
        task=uids,
        attempt=counts,
        outcome=st.sampled_from(["Succeeded", "Failed", "Cancelled", "GivenBack"]),
        reason=texts,
        message=texts,
        retryable=st.booleans(),
        exit_code=st.none() | st.integers(0, 255),
        result=texts,
        inline=st.booleans(),
        retry_after_seconds=st.floats(0, 1e9),
        turns=counts,
        seconds=st.floats(0, 1e9),
    ),
    st.builds(Progress, **WHO, text=texts, percent=st.none() | st.integers(0, 100)),
    st.builds(LockRequested, **WHO, request=counts, name=texts, shared=st.booleans()),
    st.builds(LockReleased, **WHO, request=counts, name=texts),
    st.builds(
        ChildSubmitted, **WHO, request=counts, name=texts, spec=st.dictionaries(texts, shallow_values, max_size=5)
    ),
)


def nest(depth: int) -> object:
    """Return a list in a list in a list …"""
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def damaged(**members: object) -> tuple[str, bytes]:
    """Return a file whose message has these members changed, with a digest that matches."""
    _, data = encode_file(AGENT_HEADER, [FINISHED])
    head, body = data.split(b"\n", 1)
    body = json.dumps(json.loads(body) | members).encode() + b"\n"
    digest = sha256(body).hexdigest()
    return f"{7:020d}-finished-{digest[:8]}.jsonl", json.dumps(
        json.loads(head) | {"sha256": digest}
    ).encode() + b"\n" + body


@given(st.lists(OPERATOR_MESSAGES, min_size=1, max_size=4), counts, counts)
def test_what_the_operator_writes_is_what_the_agent_reads(messages: list[Message], number: int, epoch: int) -> None:
    """Every kind, whole and in order."""
    header = Header(number=number, agent=ReplicaName("blue-0"), epoch=epoch)

    file = decode_file(*encode_file(header, messages), from_operator=True)

    assert (file.header, file.messages) == (header, tuple(messages))


@given(st.lists(AGENT_MESSAGES, min_size=1, max_size=4), counts, counts)
def test_what_an_agent_writes_is_what_the_operator_reads(messages: list[Message], number: int, read: int) -> None:
    """Every kind, whole and in order."""
    header = Header(number=number, agent=ReplicaName("blue-0"), read=read, incarnation="pod/1")

    file = decode_file(*encode_file(header, messages), from_operator=False)

    assert (file.header, file.messages) == (header, tuple(messages))


def test_every_kind_of_message_has_a_direction() -> None:
    """The operator's kinds are listed, the agent's are the others, and this file tries both."""
    from_agents = {
        Registered,
        Accepted,
        Finished,
        Released,
        Progress,
        LockRequested,
        LockReleased,
        ChildSubmitted,
    }
    assert set(MESSAGE_TYPES.values()) == from_agents | set(FROM_OPERATOR)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_malformed_and_nothing_worse(data: bytes) -> None:
    """No other exception comes out."""
    with pytest.raises(MalformedError):
        decode_file(f"{1:020d}-finished-00000000.jsonl", data, from_operator=False)


@given(
    json_values, st.sampled_from(["task", "attempt", "outcome", "message", "retryable", "exit_code", "kind", "result"])
)
def test_any_value_in_any_member_is_read_or_malformed(value: object, member: str) -> None:
    """Types are checked before a message is built."""
    name, data = damaged(**{member: value})
    try:
        file = decode_file(name, data, from_operator=False)
    except MalformedError:
        return
    assert type(getattr(file.messages[0], member, "")) in (str, int, bool, type(None))


@given(st.data())
def test_a_changed_byte_is_found(data: st.DataObject) -> None:
    """In the messages by the digest; in the header it is malformed or says something else about the sender alone."""
    name, whole = encode_file(AGENT_HEADER, [FINISHED])
    body = whole.index(b"\n") + 1
    place = data.draw(st.integers(body, len(whole) - 1))
    changed = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]

    with pytest.raises(MalformedError):
        decode_file(name, changed, from_operator=False)


@pytest.mark.parametrize("length", range(0, 300, 7))
def test_a_file_cut_short_is_malformed(length: int) -> None:
    """Wherever it was cut."""
    name, whole = encode_file(AGENT_HEADER, [FINISHED])

    with pytest.raises(MalformedError):
        decode_file(name, whole[: min(length, len(whole) - 1)], from_operator=False)


@pytest.mark.parametrize(
    "members",
    [
        {"task": "../../etc"},
        {"task": "a/b"},
        {"task": ""},
        {"task": "x" * 254},
        {"attempt": -1},
        {"attempt": 2**60},
        {"attempt": True},
        {"attempt": 1.0},
        {"outcome": "Won"},
        {"result": "x" * 4097},
        {"message": "x" * 4097},
        {"message": "\ud800"},
        {"retryable": "yes"},
        {"exit_code": "0"},
        {"kind": "assign"},
        {"kind": "unheard-of"},
        {"kind": ["finished"]},
    ],
    ids=lambda members: str(members)[:40],
)
def test_a_wrong_value_is_malformed(members: dict[str, object]) -> None:
    """Each breaks one rule of the format."""
    with pytest.raises(MalformedError):
        decode_file(*damaged(**members), from_operator=False)


def test_a_member_that_is_not_known_is_ignored() -> None:
    """The other side may be newer."""
    file = decode_file(*damaged(novelty={"a": [1]}), from_operator=False)

    assert file.messages == (FINISHED,)


def lines(*body: bytes) -> tuple[str, bytes]:
    """Return a file with these lines and a header that fits them."""
    joined = b"".join(line + b"\n" for line in body)
    digest = sha256(joined).hexdigest()
    head = {"v": 1, "n": 7, "agent": "blue-0", "count": len(body), "sha256": digest, "read": 0, "incarnation": "p/1"}
    return f"{7:020d}-released-{digest[:8]}.jsonl", json.dumps(head).encode() + b"\n" + joined


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"kind":"released","incarnation":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
        b'{"kind":"released","incarnation":"a","incarnation":"b"}',
        b'{"kind":"registered","incarnation":"a","slots":NaN}',
        b'{"kind":"registered","incarnation":"a","slots":1e999}',
        b'{"kind":"registered","incarnation":"a","slots":' + b"9" * 10_000 + b"}",
        '{"kind":"released","incarnation":"a"}'.encode("utf-16"),
        b'{"kind":"released","incarnation":"\xff"}',
        b'{"kind":"released"}',
        b"null",
        b"",
    ],
    ids=lambda line: repr(line[:30]),
)
def test_json_that_is_a_trap_is_malformed(line: bytes) -> None:
    """Depth, names given twice, numbers that are none, other encodings."""
    with pytest.raises(MalformedError):
        decode_file(*lines(line), from_operator=False)


def test_more_messages_than_a_file_may_hold_are_malformed() -> None:
    """The limit has a name."""
    with pytest.raises(MalformedError):
        decode_file(*lines(*[b'{"kind":"released","incarnation":"a"}'] * (MAX_MESSAGES + 1)), from_operator=False)


def test_an_agent_cannot_speak_as_the_operator() -> None:
    """Kinds have a direction."""
    name, data = encode_file(AGENT_HEADER, [Cleanup(tasks=(UID,))])

    with pytest.raises(MalformedError):
        decode_file(name, data, from_operator=False)


@pytest.mark.parametrize(
    "name",
    ["", "x", "1-ack-00000000.jsonl", f"../{1:020d}-ack-00000000.jsonl", f"{1:020d}-ack-00000000.jsonl\n"],
)
def test_a_name_outside_the_grammar_has_no_number(name: str) -> None:
    """It is not that of a mailbox file."""
    assert parse_number(name) is None


def test_names_sort_like_their_numbers() -> None:
    """Twenty digits hold every number."""
    names = [encode_file(Header(number=n, agent=ReplicaName("a")), [FINISHED])[0] for n in (9, 10, 2**53 - 1)]

    assert names == sorted(names)
    assert [parse_number(name) for name in names] == [9, 10, 2**53 - 1]


@pytest.mark.parametrize("text", ["..", ".", "a/b", "a\n", "", "-a", "ü"])
def test_a_uid_is_a_path_component_without_surprises(text: str) -> None:
    """These are none."""
    assert not is_task_uid(text)


@pytest.mark.parametrize(
    "message",
    [
        Progress(incarnation="p/1", task=UID, attempt=1, text="x" * 2049),
        Progress(incarnation="p/1", task=UID, attempt=1, text="half", percent=101),
        LockRequested(incarnation="p/1", task=UID, attempt=1, request=1, name="x" * 1025),
        LockReleased(incarnation="p/1", task=UID, attempt=1, request=-1, name="x"),
        ChildSubmitted(incarnation="p/1", task=UID, attempt=1, request=1, name="c", spec={"a": [0] * 2_000}),
        ChildSubmitted(incarnation="p/1", task=UID, attempt=1, request=1, name="c", spec={"a": 2**53}),
        ChildSubmitted(incarnation="p/1", task=UID, attempt=1, request=1, name="c", spec={"a": nest(16)}),
        ChildSubmitted(incarnation="p/1", task=UID, attempt=1, request=1, name="c", spec={"x" * 300_001: 1}),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_an_agent_asks_for_beyond_bounds_is_malformed(message: Message) -> None:
    """Text, percentages, numbers, and the size and depth of what it shapes freely."""
    with pytest.raises(MalformedError):
        decode_file(*encode_file(AGENT_HEADER, [message]), from_operator=False)


def test_what_an_agent_shapes_freely_holds_no_half_of_a_surrogate_pair() -> None:
    """JSON can spell it, a log cannot hold it."""
    body = json.dumps(
        {"kind": "childsubmitted", "incarnation": "p/1", "task": UID, "attempt": 1, "request": 1, "name": "c"}
        | {"spec": {"prompt": ["\ud800"]}}
    )

    with pytest.raises(MalformedError):
        decode_file(*lines(body.encode()), from_operator=False)
