"""Watches: every change once and in order, or an end that the client can mend."""

from __future__ import annotations

import itertools
import signal

from support.api_server import ApiServer, config_map, widget

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def version_of(server: ApiServer, path: str) -> str:
    """Return the present resource version, from which a watch sees only what comes."""
    return str(server.get(f"{path}?limit=1")["metadata"]["resourceVersion"])


def test_a_watch_from_a_version_sees_what_came_after_it_in_order(server: ApiServer, widgets: str) -> None:
    """Changes that were made before the watch was opened come first."""
    version = version_of(server, widgets)
    server.create(widgets, widget("one"))
    server.patch(f"{widgets}/one", {"spec": {"replicas": 2}})

    with server.watch(widgets, resourceVersion=version) as events:
        server.delete(f"{widgets}/one")
        seen = [(event["type"], event["object"]["spec"]["replicas"]) for event in itertools.islice(events, 3)]

    assert seen == [("ADDED", 1), ("MODIFIED", 2), ("DELETED", 2)]


def test_a_watch_without_a_version_begins_with_the_present_state(server: ApiServer, widgets: str) -> None:
    """pykube opens watches so: what is there comes as ADDED."""
    server.create(widgets, widget("one"))

    with server.watch(widgets) as events:
        first = next(events)

    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "one")


def test_versions_of_events_rise(server: ApiServer, widgets: str) -> None:
    """A deletion has a version of its own, so a client can resume after it."""
    version = version_of(server, widgets)
    server.create(widgets, widget("one"))
    server.delete(f"{widgets}/one")

    with server.watch(widgets, resourceVersion=version) as events:
        added, deleted = itertools.islice(events, 2)

    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in (added, deleted)]
    assert versions == sorted(set(versions))


def test_an_object_that_enters_or_leaves_a_selection_is_added_or_deleted(server: ApiServer, widgets: str) -> None:
    """The watcher of a selector sees a world in which only selected objects exist."""
    version = version_of(server, widgets)
    server.create(widgets, widget("one"))
    server.patch(f"{widgets}/one", {"metadata": {"labels": {"in": "yes"}}})
    server.patch(f"{widgets}/one", {"spec": {"replicas": 2}})
    last = server.patch(f"{widgets}/one", {"metadata": {"labels": {"in": "no"}}})

    with server.watch(widgets, resourceVersion=version, labelSelector="in%3Dyes") as events:
        seen = list(itertools.islice(events, 3))

    assert [event["type"] for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    gone = seen[-1]["object"]["metadata"]
    assert gone["labels"] == {"in": "yes"}, "the last state that the selection knew"
    assert gone["resourceVersion"] == last["metadata"]["resourceVersion"], "under the version of the change"


def test_a_watch_of_one_name_sees_that_object_alone(server: ApiServer, widgets: str) -> None:
    """kubectl wait and get -w NAME select by metadata.name."""
    version = version_of(server, widgets)
    server.create(widgets, widget("one"))
    server.create(widgets, widget("two"))

    with server.watch(widgets, resourceVersion=version, fieldSelector="metadata.name%3Dtwo") as events:
        assert next(events)["object"]["metadata"]["name"] == "two"


def test_other_namespaces_are_not_seen(server: ApiServer, widgets: str) -> None:
    """A namespaced watch is about its namespace."""
    version = version_of(server, widgets)
    server.create("/apis/example.com/v1/namespaces/default/widgets", widget("elsewhere"))
    server.create(widgets, widget("here"))

    with server.watch(widgets, resourceVersion=version) as events:
        assert next(events)["object"]["metadata"]["name"] == "here"


def test_a_watch_ends_when_its_time_is_up_with_a_bookmark(server: ApiServer, widgets: str) -> None:
    """timeoutSeconds ends the answer in order, and the last bookmark says where to go on."""
    version = version_of(server, widgets)

    with server.watch(widgets, resourceVersion=version, timeoutSeconds=1, allowWatchBookmarks="true") as events:
        seen = list(events)

    assert [event["type"] for event in seen] == ["BOOKMARK"]
    assert seen[0]["object"]["metadata"]["resourceVersion"] == version
    assert seen[0]["object"]["kind"] == "Widget"


def test_a_version_that_is_too_old_gets_a_410_in_the_stream(own_server: ApiServer) -> None:
    """Beyond the bounds of its history the server says Expired, and the client lists anew."""
    path = "/api/v1/namespaces/default/configmaps"
    own_server.create(path, config_map("one"))
    for number in range(2100):
        own_server.patch(f"{path}/one", {"data": {"n": str(number)}})

    with own_server.watch(path, resourceVersion=1) as events:
        seen = list(events)

    assert [event["type"] for event in seen] == ["ERROR"]
    assert (seen[0]["object"]["code"], seen[0]["object"]["reason"]) == (410, "Expired")


def test_a_watch_from_a_version_to_come_waits_for_it(server: ApiServer, widgets: str) -> None:
    """What is changed before it is not told; a client of a deleted data directory has no valid token, either."""
    made = [server.create(widgets, widget(name))["metadata"]["resourceVersion"] for name in ("one", "two")]
    behind = int(made[-1]) + 1

    with server.watch(widgets, resourceVersion=behind) as events:
        for name in ("three", "four"):
            server.create(widgets, widget(name))

        assert next(events)["object"]["metadata"]["name"] == "four"


def test_initial_events_end_with_an_annotated_bookmark(server: ApiServer, widgets: str) -> None:
    """sendInitialEvents is how newer clients list and watch in one request."""
    server.create(widgets, widget("one"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}

    with server.watch(widgets, **query) as events:
        added, mark = itertools.islice(events, 2)

    assert added["type"] == "ADDED"
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_watch_of_tables_sends_the_columns_once(server: ApiServer, widgets: str) -> None:
    """kubectl get -w prints its header from the first event."""
    server.create(widgets, widget("one"))
    server.create(widgets, widget("two"))

    with server.watch(widgets, accept=TABLE) as events:
        first, second = itertools.islice(events, 2)

    assert [column["name"] for column in first["object"]["columnDefinitions"]][:2] == ["Name", "Color"]
    assert second["object"]["columnDefinitions"] == []
    assert second["object"]["rows"][0]["cells"][:2] == ["two", "red"]


def test_a_stopping_server_ends_its_watches(own_server: ApiServer) -> None:
    """SIGTERM ends an open watch as its time being up does: the client reads the end, not a broken line."""
    with own_server.watch("/api/v1/configmaps") as events:
        first = next(events)
        code = own_server.stop(signal.SIGTERM)
        rest = list(events)

    assert code == 0
    assert {event["type"] for event in [first, *rest]} == {"ADDED"}
