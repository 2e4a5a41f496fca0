"""Delivery is at least once, whatever restarts in between."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from support.volume import REPLICA, make_volume
from watchbill_coordination.core.messages import Cancel
from watchbill_coordination.core.specs import TaskUid
from watchbill_coordination.storage.mailbox import InboxWriter
from watchbill_coordination.storage.mailbox_agent import InboxReader

KEYS = st.sampled_from("abcdef")


class Delivery(RuleBasedStateMachine):
    """An operator that wants keys read and an agent that reads; each may restart at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="watchbill-test-"))
        self.layout = make_volume(self.root)
        self.inbox = self.layout.workspace(REPLICA) / "inbox"
        self.wanted: set[str] = set()  # to be read by the present life of the agent
        self.got: set[str] = set()  # read by it
        self.seq, self.epoch = 1, 0
        self.restart_operator()
        self.reader = InboxReader(self.inbox)

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def deliver_all(self) -> None:
        """What the operator does after each commit: everything that follows from state."""
        for key in sorted(self.wanted - self.got):
            message = Cancel(task=TaskUid(key), attempt=1, reason="")
            self.writer.deliver(key, message, self.epoch, self.seq)

    @rule(key=KEYS)
    def want(self, key: str) -> None:
        self.seq += 1
        self.wanted.add(key)
        self.deliver_all()

    @rule()
    def read(self) -> None:
        for file in self.reader.poll():
            self.got |= {message.task for message in file.messages if isinstance(message, Cancel)}

    @rule()
    def report(self) -> None:
        """An outbox file of the agent came: it carries what was read."""
        self.writer.forget(self.reader.read)

    @rule()
    def restart_operator(self) -> None:
        self.epoch += 1
        self.writer = InboxWriter(self.layout, REPLICA)
        self.writer.reset()
        self.deliver_all()

    @rule()
    def restart_agent(self) -> None:
        self.reader = InboxReader(self.inbox)
        self.got = set()

    @precondition(lambda self: self.wanted)
    @rule()
    def everything_is_read_in_the_end(self) -> None:
        """One delivery and one look suffice."""
        self.deliver_all()
        self.read()
        assert self.wanted <= self.got

    @invariant()
    def files_are_few(self) -> None:
        """Never two for one key."""
        assert len(os.listdir(self.inbox)) <= 6


Delivery.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestDelivery = Delivery.TestCase
