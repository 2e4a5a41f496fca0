"""What follows a deletion: dependants, contents of namespaces, objects of custom kinds."""

from __future__ import annotations

from support.api_server import MERGE, ApiServer, Obj, config_map, pod, widget, widget_definition
from support.waiting import wait_for

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def owned_by(*owners: Obj) -> list[Obj]:
    """Return owner references to objects."""
    return [
        {
            "apiVersion": owner.get("apiVersion", "v1"),
            "kind": owner.get("kind", "ConfigMap"),
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
        }
        for owner in owners
    ]


def wait_gone(server: ApiServer, path: str) -> bool:
    """Wait until an object is not there."""
    return wait_for(lambda: not server.exists(path), f"{path} is gone", 5, every=0.01)


def test_dependants_go_with_their_owner(server: ApiServer, widgets: str, namespace: str) -> None:
    """The whole tree goes, and the owner is gone before."""
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = server.create(widgets, widget("owner"))
    child = server.create(maps, config_map("child", ownerReferences=owned_by(owner)))
    server.create(maps, config_map("grandchild", ownerReferences=owned_by(child)))

    server.delete(f"{widgets}/owner", {"propagationPolicy": "Background"})

    wait_gone(server, f"{maps}/grandchild")
    assert not server.exists(f"{maps}/child")


def test_a_dependant_of_two_owners_outlives_the_first(server: ApiServer, namespace: str) -> None:
    """It loses the reference to the dead owner, and goes with the last one."""
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    owners = [server.create(maps, config_map(name)) for name in ("a", "b")]
    server.create(maps, config_map("child", ownerReferences=owned_by(*owners)))

    server.delete(f"{maps}/a")
    wait_for(lambda: len(server.get(f"{maps}/child")["metadata"]["ownerReferences"]) == 1, "one owner is left", 5)
    assert server.get(f"{maps}/child")["metadata"]["ownerReferences"][0]["name"] == "b"
    server.delete(f"{maps}/b")

    wait_gone(server, f"{maps}/child")


def test_an_object_whose_owner_never_was_is_collected(server: ApiServer, namespace: str) -> None:
    """A reference to an unknown uid is one to a dead owner."""
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    ghost = {"metadata": {"name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}}

    server.create(maps, config_map("child", ownerReferences=owned_by(ghost)))

    assert wait_gone(server, f"{maps}/child")


def test_an_owner_in_another_namespace_is_none(server: ApiServer, namespace: str) -> None:
    """Owners live in the same namespace or in none."""
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    stranger = server.get("/api/v1/namespaces/default/configmaps/kube-root-ca.crt")

    server.create(maps, config_map("child", ownerReferences=owned_by(stranger)))

    assert wait_gone(server, f"{maps}/child")


def test_a_dependant_with_a_finalizer_is_marked_and_waits(server: ApiServer, widgets: str, namespace: str) -> None:
    """Collection asks for deletion like any client."""
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    owner = server.create(widgets, widget("owner"))
    server.create(maps, config_map("child", ownerReferences=owned_by(owner), finalizers=["example.com/hold"]))

    server.delete(f"{widgets}/owner")
    wait_for(lambda: "deletionTimestamp" in server.get(f"{maps}/child")["metadata"], "the child is marked", 5)
    server.patch(f"{maps}/child", {"metadata": {"finalizers": None}})

    assert not server.exists(f"{maps}/child")


def test_a_namespace_takes_its_contents_along(server: ApiServer, widgets: str, namespace: str) -> None:
    """All kinds, custom ones too; then the namespace itself."""
    server.create(widgets, widget("one"))
    server.create(f"/api/v1/namespaces/{namespace}/pods", pod("one"))

    terminating = server.delete(f"/api/v1/namespaces/{namespace}")

    assert terminating["status"]["phase"] == "Terminating"
    wait_gone(server, f"/api/v1/namespaces/{namespace}")
    assert server.get(widgets)["items"] == []


def test_a_terminating_namespace_waits_for_its_pods_and_takes_nothing_new(server: ApiServer, namespace: str) -> None:
    """A running pod keeps it until the node says that the pod has ended."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    server.create(pods, pod("one", {"nodeName": "n1"}))
    server.delete(f"/api/v1/namespaces/{namespace}")

    refused = server.call("POST", pods, pod("two"))
    wait_for(lambda: "deletionTimestamp" in server.get(f"{pods}/one")["metadata"], "the pod is marked", 5)
    assert server.exists(f"/api/v1/namespaces/{namespace}")
    server.delete(f"{pods}/one", {"gracePeriodSeconds": 0})

    assert (refused.status, refused.obj["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    wait_gone(server, f"/api/v1/namespaces/{namespace}")


def test_the_first_namespaces_stay(server: ApiServer) -> None:
    """403 for default, as upstream."""
    assert server.call("DELETE", "/api/v1/namespaces/default").status == 403


def test_a_new_namespace_has_a_service_account(server: ApiServer, namespace: str) -> None:
    """Pods name it by default and would be refused without."""
    assert server.exists(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")


def test_a_deleted_definition_takes_its_objects_along(server: ApiServer, namespace: str) -> None:
    """The kind is unknown after it, and empty when it comes again."""
    gadgets = f"/apis/example.org/v1/namespaces/{namespace}/gadgets"
    server.create(DEFINITIONS, widget_definition("gadgets", "example.org"))
    server.create(gadgets, {**widget("one"), "apiVersion": "example.org/v1", "kind": "Gadget"})

    server.delete(f"{DEFINITIONS}/gadgets.example.org")
    wait_gone(server, f"{DEFINITIONS}/gadgets.example.org")
    assert server.call("GET", gadgets).status == 404
    server.create(DEFINITIONS, widget_definition("gadgets", "example.org"))

    assert server.get(gadgets)["items"] == []


def test_a_changed_definition_is_in_force_at_once(server: ApiServer, namespace: str) -> None:
    """A new default shows on old objects, a new limit on the next write."""
    definition = widget_definition("gizmos", "example.org")
    gizmos = f"/apis/example.org/v1/namespaces/{namespace}/gizmos"
    server.create(DEFINITIONS, definition)
    server.create(gizmos, {**widget("one"), "apiVersion": "example.org/v1", "kind": "Gizmo"})
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["size"] = {"type": "integer", "default": 7}
    spec["properties"]["replicas"]["maximum"] = 2

    server.patch(f"{DEFINITIONS}/gizmos.example.org", {"spec": {"versions": definition["spec"]["versions"]}})

    assert server.get(f"{gizmos}/one")["spec"]["size"] == 7
    assert server.call("PATCH", f"{gizmos}/one", {"spec": {"replicas": 3}}, MERGE).status == 422
