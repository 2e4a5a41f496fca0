"""Tasks as a user of kubectl sees them, on the whole running system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.system import System, agent, args, shell, task
from support.waiting import wait_for

Name = Callable[[str], str]


def test_an_applied_task_is_done_by_a_warm_agent(system: System, name: Name) -> None:
    """The command runs in the agent and what it prints is the result."""
    system.apply(task(name("hello"), command=args("echo", "hello from a task")))

    status = system.wait_for_phase(name("hello"))

    assert (status["phase"], status["result"].strip()) == ("Succeeded", "hello from a task")


def test_the_log_tells_the_whole_story_of_a_task(system: System, name: Name) -> None:
    """From its submission to its end, in order, each fact once."""
    system.apply(task(name("story"), command=args("true")))
    system.wait_for_phase(name("story"))

    done = system.watchbill("events", name("story"))

    types = [line.split()[2] for line in done.out.splitlines()]
    assert types == ["TaskSubmitted", "TaskQueued", "TaskDispatched", "TaskStarted", "TaskSucceeded"]


def test_kubectl_wait_knows_when_a_task_is_complete(system: System, name: Name) -> None:
    """The conditions are those of a Job."""
    system.apply(task(name("wait"), command=args("true")))

    said = system.kubectl("wait", "--for=condition=Complete", f"task/{name('wait')}", "--timeout=60s")

    assert "condition met" in said


def test_kubectl_wait_knows_when_a_task_has_failed(system: System, name: Name) -> None:
    """As of a Job: nobody waits for Complete until the time is over."""
    system.apply(task(name("fail"), command=args("false"), retryPolicy={"maxRetries": 0}))

    said = system.kubectl("wait", "--for=condition=Failed", f"task/{name('fail')}", "--timeout=60s")

    assert "condition met" in said


def test_tasks_are_selected_by_where_they_stand_and_whose_they_are(system: System, name: Name) -> None:
    """`kubectl get wt --field-selector`, without a look at all that ended long ago."""
    held, done = name("held"), name("done")
    system.apply(task(held, command=args("true"), suspend=True), task(done, command=args("true")))
    system.wait_for_phase(done)

    def selected(selector: str) -> set[str]:
        return {item["metadata"]["name"] for item in system.list("wt", "--field-selector", selector)} & {held, done}

    assert selected("status.phase=Pending") == {held}
    assert selected("status.phase!=Pending,spec.role=blue") == {done}
    assert selected("spec.role=green") == set()


def test_a_prompt_alone_is_read_by_the_agents_own_program(system: System, name: Name) -> None:
    """The Agent's command reads the prompt on standard input."""
    pool = name("cat")
    system.apply(agent(pool, "scribe", runner={"command": {"args": ["cat"]}}))
    system.apply(task(name("prompt"), prompt="what is written", agentRef=pool))

    assert system.wait_for_phase(name("prompt"))["result"] == "what is written"


def test_a_task_waits_for_its_dependency_and_reads_its_result(system: System, name: Name) -> None:
    """A dependant starts after its dependency succeeded and finds the files of its result."""
    first, second = name("first"), name("second")
    system.apply(task(second, dependsOn=[first], command=shell(_READ_DEPENDENCY)))
    held = system.wait_for_phase(second, "Pending")
    system.apply(task(first, command=shell('echo 42 > "$WATCHBILL_RESULT/answer"')))

    assert held["reason"] in ("DependencyPending", "AwaitingOperator")
    assert system.wait_for_phase(second)["result"].strip() == "42"


def test_a_task_whose_dependency_failed_fails(system: System, name: Name) -> None:
    """It never starts, and says which one it was."""
    first, second = name("bad"), name("after")
    system.apply(task(first, command=args("false"), retryPolicy={"maxRetries": 0}))
    system.apply(task(second, dependsOn=[first], command=args("true")))

    status = system.wait_for_phase(second)

    assert (status["phase"], status["reason"]) == ("Failed", "DependencyFailed")
    assert first in status["message"]


def test_a_failing_task_is_tried_again_as_often_as_its_policy_says(system: System, name: Name) -> None:
    """Two retries are three attempts."""
    policy = {"maxRetries": 2, "initialDelaySeconds": 0}
    system.apply(task(name("retry"), command=args("false"), retryPolicy=policy))

    status = system.wait_for_phase(name("retry"))

    assert (status["phase"], status["attempts"], status["exitCode"]) == ("Failed", 3, 1)


def test_a_task_out_of_time_is_stopped(system: System, name: Name) -> None:
    """Nothing of it runs on, and the reason says so."""
    system.apply(task(name("slow"), command=args("sleep", "300"), timeoutSeconds=1, retryPolicy={"maxRetries": 0}))

    status = system.wait_for_phase(name("slow"))

    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")


def test_a_running_task_can_be_cancelled(system: System, name: Name) -> None:
    """`cancel: true` stops the attempt."""
    system.apply(task(name("cancel"), command=args("sleep", "300")))
    system.wait_for_phase(name("cancel"), "Running")

    system.kubectl("patch", "task", name("cancel"), "--type=merge", "-p", '{"spec":{"cancel":true}}')

    assert system.wait_for_phase(name("cancel"))["phase"] == "Cancelled"


def test_a_suspended_task_waits_until_it_is_resumed(system: System, name: Name) -> None:
    """Suspended it is Pending with that reason; resumed it runs."""
    system.apply(task(name("later"), command=args("true"), suspend=True))
    wait_for(lambda: system.status(name("later")).get("reason") == "Suspended", "the reason is Suspended")

    system.kubectl("patch", "task", name("later"), "--type=merge", "-p", '{"spec":{"suspend":false}}')

    assert system.wait_for_phase(name("later"))["phase"] == "Succeeded"


def test_a_task_deleted_while_it_runs_is_stopped(system: System, name: Name, tmp_path: Path) -> None:
    """The process ends, the slot is free again, and the log says that the object is gone."""
    system.apply(task(name("gone"), command=args("sleep", "301")))
    system.wait_for_phase(name("gone"), "Running")

    system.kubectl("delete", "task", name("gone"))

    def types() -> list[str]:
        return [line.split()[2] for line in system.watchbill("events", name("gone")).out.splitlines()]

    wait_for(lambda: "AttemptAbandoned" in types(), "the agent confirmed the end")
    assert types()[-2:] == ["TaskDeleted", "AttemptAbandoned"]


def test_a_task_created_again_under_its_name_is_another_task(system: System, name: Name) -> None:
    """The first one still runs when the second is created; the second succeeds by its own work."""
    twice = name("twice")
    system.apply(task(twice, command=shell("trap '' TERM; sleep 2; echo first")))
    system.wait_for_phase(twice, "Running")
    system.kubectl("delete", "task", twice, "--wait=false")
    system.apply(task(twice, command=args("echo", "second")))

    status = system.wait_for_phase(twice)

    assert (status["phase"], status["result"].strip(), status["attempts"]) == ("Succeeded", "second", 1)


def test_tasks_with_the_same_exclusive_lock_never_run_together(system: System, name: Name, tmp_path: Path) -> None:
    """The second begins after the first has ended."""
    lock = [{"name": name("lock")}]
    for word in ("one", "two"):
        system.apply(task(name(word), locks=lock, command=shell("sleep 0.3")))
        system.wait_for_phase(name(word), "Queued", "Running", "Succeeded")
    for word in ("one", "two"):
        system.wait_for_phase(name(word))

    uids = {word: (system.get("task", name(word)) or {})["metadata"]["uid"] for word in ("one", "two")}
    order = [
        (event["type"], event["task"])
        for event in system.events()
        if event.get("task") in uids.values() and event["type"] in ("TaskDispatched", "TaskSucceeded")
    ]
    assert order == [(kind, uids[word]) for word in ("one", "two") for kind in ("TaskDispatched", "TaskSucceeded")]


_READ_DEPENDENCY = (
    "python3 -c \"import json, os; [d] = json.loads(os.environ['WATCHBILL_DEPENDENCIES']).values(); "
    "print(open(d + '/answer').read())\""
)
