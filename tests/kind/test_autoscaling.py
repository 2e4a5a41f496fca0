"""A HorizontalPodAutoscaler on the queue's length: the real controller, a real Prometheus, pods that come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.kind_cluster import RunCluster
from support.kind_system import KindSystem
from support.kind_tools import CHECKOUT
from support.metrics_pipeline import MetricsPipeline, find_crd
from support.system import shell, task
from support.waiting import wait_for

pytestmark = [pytest.mark.kind, pytest.mark.timeout(600)]  # the first one lives through the whole story

TASKS = [f"held-{number}" for number in range(22)]
HELD = shell("until [ -e /tmp/gate ]; do sleep 0.1; done")  #: /tmp is the pod's own
DRAIN = '[{"op": "add", "path": "/spec/drainSeconds", "value": 240}]'
AT_ONCE: Mapping[str, Any] = {  #: the example waits five minutes before it takes a pod away
    "op": "replace",
    "path": "/spec/behavior/scaleDown",
    "value": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 8, "periodSeconds": 1}]},
}
KEDA = CHECKOUT / "manifests" / "autoscaling" / "keda.yaml"


@dataclass
class Story:
    """What was seen while 22 tasks came to two replicas and were done."""

    system: KindSystem
    shown: str = ""  #: by `kubectl get hpa`, with all replicas busy
    scale_at_peak: dict[str, Any] = field(default_factory=dict)
    busy_at_peak: dict[str, str] = field(default_factory=dict)  #: which task each pod ran
    last: str = ""  #: the task that its replica was asked to leave with
    while_draining: dict[str, Any] = field(default_factory=dict)  #: that task's status
    scale_at_end: dict[str, Any] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def scale(self) -> dict[str, Any]:
        """The Agent's scale subresource, as the controller reads it."""
        done = self.system.get("agent.v1alpha1.watchbill.dev/blue", "--subresource=scale")
        assert done is not None
        return done

    def running(self) -> dict[str, str]:
        """The running tasks by pod."""
        statuses = {each["metadata"]["name"]: each.get("status", {}) for each in self.system.list("tasks")}
        return {status["agent"]: name for name, status in statuses.items() if status.get("phase") == "Running"}

    def pods(self) -> set[str]:
        """Names of the pods that are there."""
        return {each["metadata"]["name"] for each in self.system.list("pods", "-l", "watchbill.dev/agent=blue")}

    def open_gate(self, pod: str) -> None:
        """Let that pod's tasks end, the running one and all later ones."""
        self.system.kubectl("exec", pod, "-c", "agent", "--", "touch", "/tmp/gate")


@pytest.fixture(scope="module")
def pipeline(
    run_cluster: RunCluster, make_system: Callable[..., KindSystem], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MetricsPipeline]:
    """A system with two replicas of blue, and metrics about it."""
    patches = [{"target": {"kind": "Agent", "name": "blue"}, "patch": DRAIN}]
    system = make_system(tmp_path_factory.mktemp("scaled") / "home", {"blue": 2}, patches=patches)
    metrics = MetricsPipeline(run_cluster, system)
    try:
        done = system.start()
        assert done.code == 0, done.err + done.out
        metrics.start()
        yield metrics
    finally:
        metrics.stop()
        system.stop()


@pytest.fixture(scope="module")
def story(pipeline: MetricsPipeline) -> Story:
    """Let tasks queue up, let all but one be done, then that one too."""
    seen = Story(pipeline.system)
    pipeline.system.apply(*(task(name, command=HELD) for name in TASKS))
    pipeline.wait_for_metric("watchbill_queue_depth", "role%3Dblue", "20")
    pipeline.autoscale(AT_ONCE)
    wait_for(lambda: len(seen.running()) == 5, "five replicas run a task each", every=0.5)
    wait_for(lambda: "3400m/4" in pipeline.system.kubectl("get", "hpa"), "17 queued for 5 replicas", every=0.5)
    seen.shown = pipeline.system.kubectl("get", "hpa", "blue", "--no-headers")
    seen.scale_at_peak, seen.busy_at_peak = seen.scale(), seen.running()
    seen.last = seen.busy_at_peak["blue-4"]
    for pod in seen.pods() - {"blue-4"}:
        seen.open_gate(pod)
    wait_for(lambda: seen.pods() == {"blue-0", "blue-4"}, "idle replicas leave, the busy one stays", every=0.5)
    seen.while_draining, seen.scale_at_end = pipeline.system.status(seen.last), seen.scale()
    seen.open_gate("blue-4")
    wait_for(lambda: seen.pods() == {"blue-0"}, "the last one leaves when its task is done", every=0.5)
    seen.results = {name: pipeline.system.wait_for_phase(name) for name in TASKS}
    return seen


def test_a_queue_of_twenty_makes_five_replicas_of_two(story: Story) -> None:
    """Four queued tasks a replica: 22 tasks, of which two run at first, then five."""
    assert story.scale_at_peak["spec"]["replicas"] == 5


def test_the_new_replicas_take_tasks(story: Story) -> None:
    """Each pod ran one at the same moment."""
    assert sorted(story.busy_at_peak) == [f"blue-{ordinal}" for ordinal in range(5)]


def test_the_scale_subresource_tells_the_controller_pods_and_how_to_find_them(story: Story) -> None:
    """The autoscaler refuses a target without a selector."""
    assert story.scale_at_peak["status"] == {"replicas": 5, "selector": "watchbill.dev/agent=blue"}


def test_kubectl_get_hpa_shows_both_values_for_each_replica(story: Story) -> None:
    """17 queued and 5 busy, divided by 5."""
    assert story.shown.split()[:2] == ["blue", "Agent/blue"]
    assert "3400m/4 (avg), 1/1 (avg)" in story.shown


def test_an_empty_queue_leaves_as_many_replicas_as_are_busy(story: Story) -> None:
    """One task still ran."""
    assert story.scale_at_end["spec"]["replicas"] == 1


def test_a_replica_that_has_to_leave_finishes_its_task_first(story: Story) -> None:
    """Its task went on while the Agent was scaled below it."""
    draining = story.while_draining
    assert (draining["phase"], draining["agent"], draining["attempts"]) == ("Running", "blue-4", 1)


def test_no_work_is_lost_or_done_twice_by_scaling(story: Story) -> None:
    """Every task succeeded with its first attempt."""
    assert {(result["phase"], result["attempts"]) for result in story.results.values()} == {("Succeeded", 1)}


def test_the_scaled_object_fits_kedas_own_crd(run_cluster: RunCluster, tmp_path: Path) -> None:
    """A dry run on the server with KEDA's kinds; unknown fields are errors."""
    crd = find_crd()
    run_cluster.kubectl("apply", "--server-side", "-f", str(crd))
    try:
        run_cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd/scaledobjects.keda.sh")
        made = run_cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", str(KEDA), "-o", "name")
    finally:
        run_cluster.kubectl("delete", "-f", str(crd), "--wait=false")
    assert made.strip() == "scaledobject.keda.sh/blue"
