"""The three ways to delete an owner, in the order in which watchers of a real server see them."""

from __future__ import annotations

import pytest

from support.api_server import MERGE, ApiServer, Obj, config_map
from support.waiting import wait_for

FOREGROUND, ORPHAN = ["foregroundDeletion"], ["orphan"]
#: What is told of an event: type, name, finalizers, owners.
Event = tuple[str, str, list[str], list[str]]


class Family:
    """ConfigMaps of one namespace that own each other."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self.server = server
        self.path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._uids: dict[str, str] = {}

    def add(self, name: str, *owners: str, blocks: bool = True, finalizers: list[str] | None = None) -> None:
        """Create one with its owners."""
        held: Obj = {"finalizers": finalizers or [], "ownerReferences": [self.refer(each, blocks) for each in owners]}
        self._uids[name] = self.server.create(self.path, config_map(name, **held))["metadata"]["uid"]

    def refer(self, name: str, blocks: bool = True) -> Obj:
        """Return a reference to an owner."""
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": self._uids[name]}
        return {**owner, "blockOwnerDeletion": blocks}

    def amend(self, name: str, **metadata: object) -> None:
        """Patch the metadata of one."""
        self.server.patch(f"{self.path}/{name}", {"metadata": metadata}, MERGE)

    def delete(self, name: str, policy: str | None) -> Obj:
        """Delete one under a policy."""
        return self.server.delete(f"{self.path}/{name}", {"propagationPolicy": policy} if policy else None)

    def version(self) -> str:
        """Return the resource version of now."""
        return str(self.server.get(self.path)["metadata"]["resourceVersion"])

    def events(self, since: str, last: str) -> list[Event]:
        """Return the events after a version, up to the end of the object called `last`."""
        found: list[Event] = []
        with self.server.watch(self.path, resourceVersion=since, timeoutSeconds=10) as changes:
            for change in changes:
                found.append(tell(change))
                if found[-1][:2] == ("DELETED", last):
                    break
        return found


def tell(change: Obj) -> Event:
    """Return what is looked at of a watch event."""
    metadata = change["object"]["metadata"]
    owners = [owner["name"] for owner in metadata.get("ownerReferences", [])]
    return change["type"], metadata["name"], metadata.get("finalizers", []), owners


@pytest.fixture
def family(server: ApiServer, namespace: str) -> Family:
    """A family in a namespace of its own."""
    return Family(server, namespace)


def test_in_the_background_the_owner_goes_first(family: Family) -> None:
    """It is gone when the answer comes."""
    family.add("owner")
    family.add("child", "owner")
    since = family.version()

    answer = family.delete("owner", "Background")

    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert family.events(since, "child") == [("DELETED", "owner", [], []), ("DELETED", "child", [], ["owner"])]


def test_in_the_foreground_the_owner_goes_last(family: Family) -> None:
    """It is marked, and waits for the dependants that block it, and they for theirs."""
    family.add("owner")
    family.add("child", "owner")
    family.add("grandchild", "child")
    since = family.version()

    marked = family.delete("owner", "Foreground")

    assert marked["metadata"]["finalizers"] == FOREGROUND
    assert (marked["metadata"]["deletionGracePeriodSeconds"], "deletionTimestamp" in marked["metadata"]) == (0, True)
    assert family.events(since, "owner") == [
        ("MODIFIED", "owner", FOREGROUND, []),
        ("MODIFIED", "child", FOREGROUND, ["owner"]),
        ("DELETED", "grandchild", [], ["child"]),
        ("DELETED", "child", FOREGROUND, ["owner"]),
        ("DELETED", "owner", FOREGROUND, []),
    ]


def test_a_dependant_that_does_not_block_is_not_waited_for(family: Family) -> None:
    """It goes too, at its own pace."""
    family.add("owner")
    family.add("child", "owner", blocks=False, finalizers=["example.com/hold"])
    since = family.version()

    family.delete("owner", "Foreground")

    assert ("DELETED", "owner", FOREGROUND, []) in family.events(since, "owner")
    child = f"{family.path}/child"
    wait_for(lambda: "deletionTimestamp" in family.server.get(child)["metadata"], "the child is marked", 5)


def test_a_dependant_with_a_finalizer_holds_up_its_owner(family: Family) -> None:
    """Until somebody takes it off."""
    family.add("owner")
    family.add("child", "owner", finalizers=["example.com/hold"])
    since = family.version()
    family.delete("owner", "Foreground")
    child = f"{family.path}/child"
    wait_for(lambda: "deletionTimestamp" in family.server.get(child)["metadata"], "the child is marked", 5)
    assert family.server.exists(f"{family.path}/owner")

    family.amend("child", finalizers=None)

    assert family.events(since, "owner")[-2:] == [
        ("DELETED", "child", ["example.com/hold"], ["owner"]),
        ("DELETED", "owner", FOREGROUND, []),
    ]


def test_an_owner_that_is_no_longer_blocked_goes(family: Family) -> None:
    """A dependant that lets go of it sets it free, and stays."""
    family.add("owner")
    family.add("child", "owner", finalizers=["example.com/hold"])
    since = family.version()
    family.delete("owner", "Foreground")

    family.amend("child", ownerReferences=None)

    assert family.events(since, "owner")[-1] == ("DELETED", "owner", FOREGROUND, [])
    assert family.server.exists(f"{family.path}/child")


def test_a_dependant_of_a_second_owner_is_let_off(family: Family) -> None:
    """It loses the reference to the one that goes."""
    for owner in ("one", "two"):
        family.add(owner)
    family.add("child", "one", "two")
    since = family.version()

    family.delete("one", "Foreground")

    assert family.events(since, "one") == [
        ("MODIFIED", "one", FOREGROUND, []),
        ("MODIFIED", "child", [], ["two"]),
        ("DELETED", "one", FOREGROUND, []),
    ]


def test_a_circle_of_owners_does_not_wait_for_itself(family: Family) -> None:
    """One of them is unblocked."""
    family.add("one")
    family.add("two", "one")
    family.amend("one", ownerReferences=[family.refer("two")])
    since = family.version()

    family.delete("one", "Foreground")

    assert family.events(since, "two") == [
        ("MODIFIED", "one", FOREGROUND, ["two"]),
        ("MODIFIED", "two", [], ["one"]),
        ("DELETED", "one", FOREGROUND, ["two"]),
        ("DELETED", "two", [], ["one"]),
    ]


def test_orphans_outlive_their_owner(family: Family) -> None:
    """They lose the reference before it goes."""
    family.add("owner")
    family.add("child", "owner")
    since = family.version()

    family.delete("owner", "Orphan")

    assert family.events(since, "owner") == [
        ("MODIFIED", "owner", ORPHAN, []),
        ("MODIFIED", "child", [], []),
        ("DELETED", "owner", ORPHAN, []),
    ]


def test_a_later_policy_takes_the_place_of_an_earlier(family: Family) -> None:
    """An owner that waits in the foreground goes at once in the background."""
    family.add("owner")
    family.add("child", "owner", finalizers=["example.com/hold"])
    family.delete("owner", "Foreground")

    assert family.delete("owner", "Background")["status"] == "Success"
    assert not family.server.exists(f"{family.path}/owner")


def test_an_owner_with_a_finalizer_of_its_own_waits_for_both(family: Family) -> None:
    """The collector takes off its own alone."""
    family.add("owner", finalizers=["example.com/hold"])
    family.add("child", "owner")
    since = family.version()
    family.delete("owner", "Foreground")
    owner = f"{family.path}/owner"
    wait_for(lambda: family.server.get(owner)["metadata"]["finalizers"] == ["example.com/hold"], "one is off", 5)

    family.amend("owner", finalizers=None)

    assert [event[:2] for event in family.events(since, "owner")] == [
        ("MODIFIED", "owner"),
        ("DELETED", "child"),
        ("MODIFIED", "owner"),
        ("DELETED", "owner"),
    ]


@pytest.mark.parametrize(("cascade", "left"), [("background", False), ("foreground", False), ("orphan", True)])
def test_kubectl_deletes_as_it_is_told(family: Family, namespace: str, cascade: str, left: bool) -> None:
    """By --cascade."""
    family.add("owner")
    family.add("child", "owner")

    done = family.server.kubectl("-n", namespace, "delete", "cm", "owner", f"--cascade={cascade}")

    assert "deleted" in done.stdout
    assert not family.server.exists(f"{family.path}/owner")
    wait_for(lambda: family.server.exists(f"{family.path}/child") == left, f"the child is left: {left}", 5)


def test_a_foreground_deletion_goes_on_after_a_restart(own_server: ApiServer) -> None:
    """What waits is in the journal; here the server dies while the child holds its owner up."""
    own_server.create("/api/v1/namespaces", {"metadata": {"name": "one"}})
    family = Family(own_server, "one")
    family.add("owner")
    family.add("child", "owner", finalizers=["example.com/hold"])
    family.delete("owner", "Foreground")
    own_server.stop(9)
    own_server.start()

    family.amend("child", finalizers=None)

    wait_for(lambda: not own_server.exists(f"{family.path}/owner"), "the owner is gone", 5)


@pytest.mark.parametrize(
    ("policy", "finalizers"), [("Foreground", FOREGROUND), ("Orphan", ORPHAN), ("Background", None)]
)
def test_a_namespace_goes_under_every_policy(
    server: ApiServer, namespace: str, policy: str, finalizers: list[str] | None
) -> None:
    """What it holds goes in any case; it is no dependant."""
    server.create(f"/api/v1/namespaces/{namespace}/configmaps", config_map("inside"))

    marked = server.delete(f"/api/v1/namespaces/{namespace}", {"propagationPolicy": policy})

    assert (marked["status"]["phase"], marked["metadata"].get("finalizers")) == ("Terminating", finalizers)
    wait_for(lambda: not server.exists(f"/api/v1/namespaces/{namespace}"), "the namespace is gone", 5)
