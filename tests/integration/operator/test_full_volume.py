"""A volume without space: nothing is done that could not be recorded, and all goes on when there is room."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support.api_server import ApiServer
from support.operator_process import TASKS, OperatorProcess, task
from support.waiting import wait_for

Start = Callable[..., OperatorProcess]


@contextmanager
def full_volume(operator: OperatorProcess) -> Iterator[None]:
    """Let this process write no file beyond what the log has now, as on a full volume."""
    assert operator.process is not None
    size = (operator.root / "orchestration" / "event-log.jsonl").stat().st_size
    former = resource.prlimit(operator.process.pid, resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))
    yield
    resource.prlimit(operator.process.pid, resource.RLIMIT_FSIZE, former)


def test_a_full_volume_holds_new_work_and_says_so(server: ApiServer, operator: Start) -> None:
    """What cannot be recorded is not acted on; with space it is taken up again, in the same process."""
    one = operator().lead()
    with full_volume(one):
        server.create(TASKS, task("a"))
        wait_for(lambda: one.get("/readyz")[0] == 503, "it says that it cannot record")
        assert "event-log.jsonl" in one.get("/readyz")[1]
        assert one.get("/healthz")[0] == 200
        assert server.get(f"{TASKS}/a")["status"]["reason"] == "AwaitingOperator"
        assert one.calls("patch") == 0

    wait_for(lambda: server.get(f"{TASKS}/a")["status"]["reason"] == "NoSuchAgent", "the work goes on")
    assert one.get("/readyz")[0] == 200
    assert one.is_alive
