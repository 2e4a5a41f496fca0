"""Laws of the small API server's state: watches tell the whole truth, and the journal keeps it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from watchbill_local.server.admission import Write
from watchbill_local.server.cluster import Cluster
from watchbill_local.server.errors import ApiError
from watchbill_local.server.objects import DeleteOptions
from watchbill_local.server.registry import CONFIG_MAPS
from watchbill_local.server.views import View, parse_selection, select
from watchbill_local.server.watch import Watch, WatchOptions

State: TypeAlias = dict[str, Any]

NAMES = st.sampled_from(["a", "b", "c"])
LABELS = st.sampled_from([{}, {"in": "yes"}, {"in": "no"}])
FINALIZERS = st.sampled_from([[], ["example.com/hold"]])
STEPS = st.one_of(
    st.tuples(st.just("create"), NAMES, LABELS, FINALIZERS),
    st.tuples(st.just("update"), NAMES, LABELS, FINALIZERS),
    st.tuples(st.just("delete"), NAMES, st.none(), st.none()),
)
SELECTORS = st.sampled_from(["", "in=yes", "in!=no", "!in"])


def perform(cluster: Cluster, steps: Iterable[Any]) -> None:
    """Do what can be done of some steps; refusals change nothing."""
    for step in steps:
        try:
            perform_one(cluster, *step)
        except ApiError:
            continue


def perform_one(cluster: Cluster, action: str, name: str, labels: Any, finalizers: Any) -> None:
    """Create, update or delete one ConfigMap."""
    resource = cluster.registry.builtin(CONFIG_MAPS)
    body = {"metadata": {"name": name, "labels": labels, "finalizers": finalizers}}
    if action == "create":
        cluster.objects.create(Write(resource, "default"), body)
    elif action == "update":
        cluster.objects.update(Write(resource, "default", name), body)
    else:
        cluster.objects.delete(Write(resource, "default", name), DeleteOptions())


def listed(cluster: Cluster, selector: str) -> State:
    """Return the selected ConfigMaps by name."""
    selection = parse_selection(cluster.registry.builtin(CONFIG_MAPS), "default", {"labelSelector": selector})
    return {entry.obj["metadata"]["name"]: entry.obj for entry in select(cluster.store, selection)}


async def watched(cluster: Cluster, selector: str, since: int) -> list[State]:
    """Return the events of a watch that is opened now at an earlier version."""
    resource = cluster.registry.builtin(CONFIG_MAPS)
    sent: list[bytes] = []

    async def send(lines: bytes) -> None:
        sent.append(lines)

    selection = parse_selection(resource, "default", {"labelSelector": selector})
    await Watch(cluster.store, selection, View(resource), WatchOptions(since, False, False, 0.0)).run(send)
    return [json.loads(line) for line in b"".join(sent).splitlines()]


@settings(deadline=None, max_examples=60)
@given(before=st.lists(STEPS, max_size=12), after=st.lists(STEPS, max_size=12), selector=SELECTORS)
def test_a_list_and_the_events_after_it_give_the_list_of_now(before: Any, after: Any, selector: str) -> None:
    """Whatever happens and whatever is selected: nothing is missed, nothing told twice, and types tell the truth."""

    async def run() -> None:
        cluster = Cluster(None)
        cluster.start()
        perform(cluster, before)
        state, version = listed(cluster, selector), cluster.store.version
        perform(cluster, after)

        for event in await watched(cluster, selector, version):
            name = event["object"]["metadata"]["name"]
            assert (event["type"] == "ADDED") is (name not in state)
            state[name] = event["object"]
            if event["type"] == "DELETED":
                del state[name]

        assert state == listed(cluster, selector)

    asyncio.run(run())


@settings(deadline=None, max_examples=40)
@given(steps=st.lists(STEPS, max_size=20), torn=st.binary(max_size=20).filter(lambda tail: b"\n" not in tail))
def test_what_was_stored_is_loaded(steps: Any, torn: bytes) -> None:
    """Objects, versions and history are the same in the next process, whatever half a line is left at the end."""

    async def run(directory: str) -> None:
        path = Path(directory) / "journal"
        first, second = Cluster(str(path)), Cluster(str(path))
        first.start()
        perform(first, steps)
        first.store.close()
        with path.open("ab") as journal:
            journal.write(torn)
        second.start()

        assert listed(second, "") == listed(first, "")
        assert second.store.version == first.store.version
        assert await watched(second, "", 0) == await watched(first, "", 0)
        second.store.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(directory))
