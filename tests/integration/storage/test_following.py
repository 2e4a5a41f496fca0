"""Followers: each acknowledged event once, in order, over the lives of writers."""

from __future__ import annotations

from pathlib import Path

from support.logs import NOW, group, open_log, queued
from watchbill_coordination.storage.following import Follower, follow_log
from watchbill_coordination.storage.layout import Layout


def _seqs(follower: Follower) -> list[int]:
    return [recorded.seq for recorded in follower.read()]


def test_a_follower_tells_each_event_once(tmp_path: Path) -> None:
    """It goes on from its place."""
    log = open_log(tmp_path)
    follower = Follower(Layout(tmp_path))
    assert _seqs(follower) == [1]

    log.append_group(group(1), NOW)
    log.commit()
    assert _seqs(follower) == [2, 3]
    assert _seqs(follower) == []


def test_a_follower_moves_on_with_a_new_writer(tmp_path: Path) -> None:
    """Whatever the old one left behind the seal is never told."""
    log = open_log(tmp_path)
    follower = Follower(Layout(tmp_path))
    log.append(queued(1), NOW)
    log.commit()
    assert _seqs(follower) == [1, 2]
    log.abandon()
    with open(Layout(tmp_path).active, "ab") as file:
        file.write(b"half a line")
    again = open_log(tmp_path)
    again.append(queued(2), NOW)
    again.commit()
    open_log(tmp_path).close()

    assert _seqs(follower) == [3, 4, 5, 6, 7]


def test_what_is_not_acknowledged_is_not_told(tmp_path: Path) -> None:
    """Bytes on disk are not enough."""
    log = open_log(tmp_path)
    head = log.layout.head.read_bytes()
    log.append(queued(1), NOW)
    log.commit()
    log.layout.head.write_bytes(head)

    assert _seqs(Follower(Layout(tmp_path))) == [1]


def test_following_can_begin_in_the_middle_and_end(tmp_path: Path) -> None:
    """Earlier events are read for the chain's sake, and left out."""
    log = open_log(tmp_path)
    log.append_group(group(1), NOW)
    log.commit()

    assert [r.seq for r in follow_log(Layout(tmp_path), after=2, is_ended=lambda: True)] == [3]
