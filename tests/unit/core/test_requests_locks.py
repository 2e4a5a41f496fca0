"""Locks that attempts ask for while they work."""

from __future__ import annotations

from support.asking import answers, ask_lock, return_lock
from support.deciding import Ledger, accept, finish, names, register, remove, start_pool, submit
from watchbill_coordination.core.commands import LoseReplica
from watchbill_coordination.core.specs import ReplicaName
from watchbill_coordination.core.state import Phase
from watchbill_coordination.core.working_events import LockGranted


def work_on(*uids: str, **spec: object) -> Ledger:
    """A pool in which each of these tasks runs, the first on blue-0, the second on blue-1 and so on."""
    ledger = start_pool(*[f"blue-{number}" for number in range(len(uids))])
    for number, uid in enumerate(uids):
        ledger.do(submit(uid, **spec))
        ledger.do(accept(uid, replica=f"blue-{number}"))
    return ledger


def holders(ledger: Ledger, name: str = "x") -> dict[str, int]:
    """Who holds that lock: uid → token."""
    lock = ledger.state.locks.get(name)
    return {} if lock is None else dict(lock.holders)


def test_a_free_lock_is_granted_with_the_next_token() -> None:
    """At once, to the attempt that asked."""
    ledger = work_on("t")

    assert names(ledger.do(ask_lock("t"))) == ["LockGranted"]
    assert holders(ledger) == {"t": 1}
    assert (answers(ledger)[1].granted, answers(ledger)[1].token) == (True, 1)


def test_a_lock_that_another_attempt_holds_is_denied_by_the_name_of_its_task() -> None:
    """The model is told who has it and what it can do meanwhile."""
    ledger = work_on("t", "u")
    ledger.do(ask_lock("t"))

    ledger.do(ask_lock("u", replica="blue-1"))

    told = answers(ledger, "blue-1")[1]
    assert not told.granted
    assert "held by the Task t (attempt 1 on blue-0)" in told.text
    assert "ask again later" in told.text
    assert holders(ledger) == {"t": 1}


def test_shared_holders_share_and_have_tokens_of_their_own() -> None:
    """Any number of readers."""
    ledger = work_on("t", "u")
    ledger.do(ask_lock("t", shared=True))

    ledger.do(ask_lock("u", shared=True, replica="blue-1"))

    assert holders(ledger) == {"t": 1, "u": 2}


def test_a_lock_that_is_shared_with_others_is_not_had_alone() -> None:
    """Nor is it taken away from them."""
    ledger = work_on("t", "u")
    ledger.do(ask_lock("t", shared=True))
    ledger.do(ask_lock("u", shared=True, replica="blue-1"))

    ledger.do(ask_lock("u", request=2, replica="blue-1"))

    told = answers(ledger, "blue-1")[2]
    assert (told.granted, "shared with the Task t" in told.text) == (False, True)


def test_the_only_reader_becomes_the_writer_with_a_new_token() -> None:
    """Others may have had the lock since its first token."""
    ledger = work_on("t", "u")
    ledger.do(ask_lock("t", shared=True))

    ledger.do(ask_lock("t", request=2))

    assert holders(ledger) == {"t": 2}
    assert names(ledger.do(ask_lock("u", shared=True, replica="blue-1"))) == ["LockDenied"]


def test_a_lock_that_the_attempt_holds_is_granted_again_with_the_same_token() -> None:
    """Asking once more changes nothing, whichever mode is asked for."""
    ledger = work_on("t")
    ledger.do(ask_lock("t"))

    ledger.do(ask_lock("t", request=2, shared=True))

    assert answers(ledger)[2].token == 1
    assert not ledger.state.locks["x"].shared
    assert ledger.replica("blue-0").attempts[ledger.task("t").uid].locks == ("x",)


def test_a_lock_of_the_tasks_own_spec_is_granted_again_with_its_token() -> None:
    """The model need not know what the Task's author asked for."""
    ledger = work_on("t", locks=[{"name": "x"}])

    ledger.do(ask_lock("t"))

    assert (answers(ledger)[1].granted, answers(ledger)[1].token) == (True, 1)


def test_the_same_request_has_the_same_answer_and_one_event() -> None:
    """Delivery is at least once."""
    ledger = work_on("t", "u")
    ledger.do(ask_lock("t"))
    ledger.do(ask_lock("u", replica="blue-1"))
    ledger.do(return_lock("t"))

    assert ledger.do(ask_lock("u", replica="blue-1")) == []
    assert not answers(ledger, "blue-1")[1].granted


def test_a_lock_that_is_given_back_is_free_for_others() -> None:
    """Before the attempt ends."""
    ledger = work_on("t", "u")
    ledger.do(ask_lock("t"))

    ledger.do(return_lock("t"))

    assert answers(ledger)[2].granted
    assert names(ledger.do(ask_lock("u", replica="blue-1"))) == ["LockGranted"]
    assert ledger.task("t").locks == {}


def test_a_lock_that_is_given_back_wakes_who_waits_for_it() -> None:
    """As when a slot is freed."""
    ledger = work_on("t", "u")
    ledger.do(ask_lock("t"))
    ledger.do(finish("u", replica="blue-1"))
    ledger.do(submit("w", locks=[{"name": "x"}]))
    assert ledger.task("w").phase is Phase.QUEUED

    assert "TaskDispatched" in names(ledger.do(return_lock("t")))


def test_a_lock_of_the_tasks_own_spec_cannot_be_given_back() -> None:
    """Its author wanted it held while the task runs."""
    ledger = work_on("t", locks=[{"name": "x"}])

    ledger.do(return_lock("t", request=1))

    told = answers(ledger)[1]
    assert (told.granted, "until this attempt ends" in told.text) == (False, True)
    assert holders(ledger) == {"t": 1}


def test_giving_back_what_is_not_held_is_answered_with_what_is() -> None:
    """Perhaps the name is misspelt."""
    ledger = work_on("t")
    ledger.do(ask_lock("t", "repo:src"))

    ledger.do(return_lock("t", "repo:scr"))

    told = answers(ledger)[2]
    assert (told.granted, told.text) == (
        False,
        "repo:scr is not held by this attempt. It can give back: repo:src.",
    )


def test_the_end_of_an_attempt_frees_what_it_asked_for() -> None:
    """Whether it ends well or not."""
    for outcome in ("Succeeded", "Failed", "Cancelled"):
        ledger = work_on("t")
        ledger.do(ask_lock("t"))

        ledger.do(finish("t", outcome))

        assert holders(ledger) == {}, outcome


def test_a_lost_agent_frees_what_its_attempt_asked_for() -> None:
    """Its successor may ask again and gets a larger token."""
    ledger = work_on("t")
    ledger.do(ask_lock("t"))

    ledger.do(LoseReplica(agent=ReplicaName("blue-0"), incarnation="", reason="PodGone"))
    ledger.do(register("blue-0", "pod-of-blue-0/2"))

    assert holders(ledger) == {}
    ledger.do(ask_lock("t", attempt=2, incarnation="pod-of-blue-0/2"))
    assert holders(ledger) == {"t": 2}


def test_a_deleted_task_holds_what_it_asked_for_until_its_attempt_is_over() -> None:
    """What still runs may still write."""
    ledger = work_on("t")
    ledger.do(ask_lock("t"))

    ledger.do(remove("t"))
    assert holders(ledger) == {"t": 1}

    ledger.do(finish("t", "Cancelled"))
    assert holders(ledger) == {}


def test_a_new_attempt_knows_no_answers_of_the_former_one() -> None:
    """Its requests are numbered anew."""
    ledger = work_on("t", retryPolicy={"initialDelaySeconds": 0})
    ledger.do(ask_lock("t"))
    ledger.do(finish("t", "Failed"))
    ledger.wait(1)

    assert answers(ledger) == {}
    assert names(ledger.do(ask_lock("t", "y", attempt=2))) == ["LockGranted"]


def test_a_lock_may_be_called_what_a_spec_may_call_it() -> None:
    """Blanks and other scripts included."""
    ledger = work_on("t")

    assert names(ledger.do(ask_lock("t", "  репо:  src/** "))) == ["LockGranted"]


def test_a_grant_says_how_the_lock_is_held() -> None:
    """Alone or together."""
    ledger = work_on("t")

    (granted,) = ledger.do(ask_lock("t", shared=True))

    assert isinstance(granted, LockGranted)
    assert granted.shared
    assert "together with others" in answers(ledger)[1].text


def test_many_holders_are_counted_and_few_are_named() -> None:
    """An answer is short."""
    ledger = work_on(*[f"t{number}" for number in range(6)])
    for number in range(5):
        ledger.do(ask_lock(f"t{number}", shared=True, replica=f"blue-{number}"))

    ledger.do(ask_lock("t5", replica="blue-5"))

    told = answers(ledger, "blue-5")[1].text
    assert "t2" in told
    assert "t3" not in told
    assert "and 2 more (shared)" in told
