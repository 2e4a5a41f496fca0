"""Attempts that ask for things while they work, as rules of a state machine, and what must hold of their answers.

Owns the rules that `CoreMachine` shares with nobody else's concern: locks, Tasks of an attempt's own making, progress.
The machine that mixes them in has a ledger, `do`, and the names of the present objects.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from support.asking import ask_child, ask_lock, report, return_lock, settle
from support.deciding import Ledger, remove
from support.lock_history import check_lock_history
from watchbill_coordination.core.assignments import pending_messages
from watchbill_coordination.core.commands import Command, SubmitTask
from watchbill_coordination.core.messages import Answer
from watchbill_coordination.core.requests import KEPT_ANSWERS, MAX_CHILDREN
from watchbill_coordination.core.scheduling import blocking_lock
from watchbill_coordination.core.specs import TaskUid

LOCK_NAMES = st.sampled_from(["x", "y", "z"])
REPEATED = st.sampled_from([0, 0, 0, 0, 1, 2])  #: which of its former requests is sent again, from the newest; 0: none
CHILD_SPECS = st.sampled_from(
    [{}, {}, {"priority": 0}, {"role": "green"}, {"locks": [{"name": "x"}]}, {"dependsOn": ["nobody"]}]
)


class AskingRules(RuleBasedStateMachine):
    """What attempts that have a slot say before they end."""

    ledger: Ledger
    objects: dict[str, str]

    def do(self, command: Command) -> None:
        """Do it, and see that doing it again changes nothing."""
        raise NotImplementedError

    def number_request(self, slot: tuple[str, dict[str, Any]], repeated: int) -> int:
        """The next number that the attempt uses, or one that it used before."""
        requests = self.ledger.replica(slot[1]["replica"]).attempts[TaskUid(slot[0])].requests
        newest = max([0, *requests.replies, *requests.waiting])
        return max(1, newest + 1 - repeated)

    def choose_slot(self, data: st.DataObject) -> tuple[str, dict[str, Any]] | None:
        """An attempt that has a slot: its task's uid and how it names itself."""
        slots = [(one, uid) for one in self.ledger.state.replicas.values() for uid in one.attempts]
        if not slots:
            return None
        replica, uid = data.draw(st.sampled_from(slots))
        number = replica.attempts[uid].attempt
        return uid, {"replica": replica.name, "incarnation": replica.incarnation, "attempt": number}

    @rule(data=st.data(), name=LOCK_NAMES, shared=st.booleans(), repeated=REPEATED)
    def ask_for_lock(self, data: st.DataObject, name: str, shared: bool, repeated: int) -> None:
        """An attempt wants a lock."""
        if slot := self.choose_slot(data):
            request = self.number_request(slot, repeated)
            self.do(ask_lock(slot[0], name, shared=shared, request=request, **slot[1]))

    @rule(data=st.data(), name=LOCK_NAMES, repeated=REPEATED)
    def give_lock_back(self, data: st.DataObject, name: str, repeated: int) -> None:
        """An attempt needs a lock no longer, or believes that it had it."""
        if slot := self.choose_slot(data):
            self.do(return_lock(slot[0], name, request=self.number_request(slot, repeated), **slot[1]))

    @rule(data=st.data(), spec=CHILD_SPECS, repeated=REPEATED)
    def submit_child(self, data: st.DataObject, spec: dict[str, Any], repeated: int) -> None:
        """An attempt submits a Task."""
        if slot := self.choose_slot(data):
            self.do(ask_child(slot[0], request=self.number_request(slot, repeated), **slot[1], **spec))

    @rule(data=st.data(), how=st.sampled_from(["created", "created", "seen", "refused"]))
    def settle_child(self, data: st.DataObject, how: str) -> None:
        """The API server has a Task that was asked for, the watch shows it, or it is refused."""
        if not self.ledger.state.children:
            return
        name = data.draw(st.sampled_from(sorted(self.ledger.state.children)))
        order = self.ledger.state.children[name]
        if how == "refused":
            self.do(settle(name, message="no"))
            return
        uid = f"child-{len(self.ledger.records)}"
        self.objects[name] = uid
        if how == "created":
            self.do(settle(name, uid))
        self.do(SubmitTask(task=TaskUid(uid), name=name, spec=order.spec, generation=1, parent=order.parent))

    @rule(data=st.data())
    def delete_child(self, data: st.DataObject) -> None:
        """A user deletes a Task that an attempt submitted."""
        known = sorted(name for name, uid in self.objects.items() if uid.startswith("child-"))
        if known:
            self.do(remove(self.objects.pop(data.draw(st.sampled_from(known)))))

    @rule(data=st.data(), percent=st.integers(0, 100))
    def report_progress(self, data: st.DataObject, percent: int) -> None:
        """An attempt says how far it is."""
        if slot := self.choose_slot(data):
            self.do(report(slot[0], "on", percent, **slot[1]))

    @invariant()
    def answers_hold(self) -> None:
        """What was answered once stays so while the attempt works, and everything kept is bounded."""
        check_conversations(self.ledger)
        state = self.ledger.state
        said: dict[tuple[str, int, int], Answer] = getattr(self, "said", {})
        now = {
            (answer.task, answer.attempt, answer.request): answer
            for replica in state.replicas.values()
            for answer in [sent.message for sent in pending_messages(state, replica)]
            if isinstance(answer, Answer)
        }
        assert {key: answer for key, answer in said.items() if key in now} == {
            key: answer for key, answer in now.items() if key in said
        }
        self.said = said | now

    def teardown(self) -> None:
        """The log alone says who held what."""
        check_lock_history(self.ledger)
        super().teardown()


def check_conversations(ledger: Ledger) -> None:
    """Orders belong to tasks that are there, answers to attempts that are; keys of messages are unique."""
    state = ledger.state
    for name, order in state.children.items():
        parent = state.tasks[order.parent]
        child = parent.children.get(name)
        assert child is None or (child.uid, child.attempt, child.request) == ("", order.attempt, order.request)
    for task in state.tasks.values():
        assert {name for name, child in task.children.items() if not child.uid} <= state.children.keys()
        numbers = [child.attempt for child in task.children.values()]
        assert all(numbers.count(number) <= MAX_CHILDREN for number in numbers)
    for replica in state.replicas.values():
        for attempt in replica.attempts.values():
            assert len(attempt.requests.replies) <= KEPT_ANSWERS
            assert set(attempt.requests.asked) <= set(attempt.locks)
            own = (attempt.task, attempt.attempt)
            orders = [order for order in state.children.values() if (order.parent, order.attempt) == own]
            assert set(attempt.requests.waiting) == {order.request for order in orders} or attempt.stopping
            task = state.tasks.get(attempt.task)
            assert task is None or set(task.locks) == set(attempt.locks)
        keys = [sent.key for sent in pending_messages(state, replica)]
        assert len(keys) == len(set(keys))
    for task in state.tasks.values():
        check_child_ends(ledger, task.uid)
    for queues in state.index.ready.values():
        for queue in queues.values():
            assert blocking_lock(state, state.tasks[queue.items[0].uid]) is None


def check_child_ends(ledger: Ledger, uid: TaskUid) -> None:
    """A parent knows the end of a Task that it submitted exactly when that has ended."""
    for name, child in ledger.state.tasks[uid].children.items():
        known = ledger.state.tasks.get(TaskUid(child.uid))
        if known is not None and known.parent == uid:
            assert child.phase == (known.phase if known.phase.is_terminal else ""), name
