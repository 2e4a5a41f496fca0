"""Questions about oneself, and tokens of service accounts."""

from __future__ import annotations

import pytest

from support.api_server import ApiServer, Obj

REVIEWS = {
    "selfsubjectaccessreviews": "/apis/authorization.k8s.io/v1",
    "selfsubjectrulesreviews": "/apis/authorization.k8s.io/v1",
    "selfsubjectreviews": "/apis/authentication.k8s.io/v1",
}


def test_whoami_names_the_owner(server: ApiServer) -> None:
    """kubectl sends this as protobuf."""
    done = server.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username} {.status.userInfo.groups}")

    assert done.stdout == 'admin ["system:masters","system:authenticated"]'


@pytest.mark.parametrize("question", [("delete", "pods"), ("get", "/metrics"), ("create", "widgets.example.com")])
def test_everything_may_be_done(server: ApiServer, question: tuple[str, str]) -> None:
    """There is no RBAC; resources and paths alike."""
    assert server.kubectl("auth", "can-i", *question).stdout.strip() == "yes"


def test_the_list_of_what_may_be_done_holds_everything(server: ApiServer, namespace: str) -> None:
    """auth can-i --list."""
    said = server.kubectl("auth", "can-i", "--list", "-n", namespace).stdout

    assert [line.split() for line in said.splitlines()][1:] == [["*.*", "[]", "[]", "[*]"], ["[*]", "[]", "[*]"]]


def test_a_question_about_nothing_is_invalid(server: ApiServer) -> None:
    """Neither a resource nor a path."""
    reply = server.call("POST", f"{REVIEWS['selfsubjectaccessreviews']}/selfsubjectaccessreviews", {"spec": {}})

    assert (reply.status, reply.obj["details"]["causes"][0]["field"]) == (422, "spec.resourceAttributes")


@pytest.mark.parametrize("plural", REVIEWS)
@pytest.mark.parametrize(("method", "below", "code"), [("GET", "", 405), ("DELETE", "", 405), ("GET", "/one", 404)])
def test_reviews_can_only_be_created(server: ApiServer, plural: str, method: str, below: str, code: int) -> None:
    """They are not stored."""
    assert server.call(method, f"{REVIEWS[plural]}/{plural}{below}").status == code


def create_token(server: ApiServer, namespace: str, *arguments: str) -> str:
    """Return a token of the namespace's default account."""
    done = server.kubectl("-n", namespace, "create", "token", "default", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def show(server: ApiServer, token: str) -> tuple[int, Obj]:
    """Ask who one is with a token."""
    url = f"{REVIEWS['selfsubjectreviews']}/selfsubjectreviews"
    reply = server.call("POST", url, {}, headers={"Authorization": f"Bearer {token}"})
    return reply.status, reply.obj


def test_a_token_of_an_account_is_taken(server: ApiServer, namespace: str) -> None:
    """Under the name of the account."""
    status, review = show(server, create_token(server, namespace))

    assert (status, review["status"]["userInfo"]["username"]) == (201, f"system:serviceaccount:{namespace}:default")


def test_a_token_of_a_deleted_account_is_not(server: ApiServer, namespace: str) -> None:
    """At once."""
    token = create_token(server, namespace)
    server.delete(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")

    assert show(server, token)[0] == 401


def test_a_token_outlives_a_restart(own_server: ApiServer) -> None:
    """The key is on disk."""
    token = create_token(own_server, "default")
    own_server.stop()
    own_server.start()

    assert show(own_server, token)[0] == 201


@pytest.mark.parametrize(
    ("name", "spec", "code"),
    [
        ("default", {"expirationSeconds": 5}, 422),
        ("default", {"expirationSeconds": 1 << 33}, 422),
        ("default", {"expirationSeconds": "soon"}, 400),
        ("default", {"audiences": "vault"}, 400),
        ("nobody", {}, 404),
    ],
)
def test_a_token_that_cannot_be_issued_is_refused(
    server: ApiServer, namespace: str, name: str, spec: Obj, code: int
) -> None:
    """With the codes of a real server."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"

    assert server.call("POST", path, {"spec": spec}).status == code


def test_a_token_says_for_how_long_it_is_good(server: ApiServer, namespace: str) -> None:
    """An hour unless asked otherwise, for this server."""
    issued = server.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token", {})

    assert issued["spec"]["expirationSeconds"] == 3600
    assert issued["spec"]["audiences"] == ["https://kubernetes.default.svc"]
    assert issued["status"]["expirationTimestamp"] > issued["metadata"]["creationTimestamp"]
