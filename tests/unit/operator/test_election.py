"""A claim to lead outlives an API server that cannot answer for a moment."""

from __future__ import annotations

from typing import Any, cast

import pytest

from support.skipped_time import SkippedTime
from watchbill_operator.api import Api, ApiError, ConflictError, GoneError, NotAllowedError, Request, UnavailableError
from watchbill_operator.election import EPOCH_ANNOTATION, Election, Identity, LeaseLostError, LeaseView

PASSING = [
    UnavailableError(0, "connection refused"),
    UnavailableError(429, "too many requests"),
    UnavailableError(503, "the leader of etcd changed"),
    NotAllowedError(403, 'leases is forbidden: User "x" cannot create'),
]


class LeaseApi:
    """An API with one Lease, whose answers to the next writes are given."""

    def __init__(self, *answers: ApiError | None) -> None:
        self.lease: dict[str, Any] = {}
        self._answers = list(answers)

    async def send(self, request: Request, **_: object) -> dict[str, Any]:
        """Read or write the Lease."""
        if request.method == "GET":
            if not self.lease:
                raise GoneError(404, "no such lease")
            return self.lease
        answer = self._answers.pop(0) if self._answers else None
        if answer:
            raise answer
        body: Any = request.body
        if request.method == "PUT" and body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ConflictError(409, "the lease is a newer one")
        self.write(body)
        return self.lease

    def write(self, body: Any) -> None:
        """Put this in the place of the Lease."""
        version = str(int(self.lease.get("metadata", {}).get("resourceVersion", "0")) + 1)
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": version}}


def election_at(api: LeaseApi) -> Election:
    """The claim of a pod."""
    return Election(cast("Api", api), Identity(pod_uid="me"), seconds=15)


@pytest.mark.parametrize("error", PASSING)
def test_a_take_over_that_fails_for_a_moment_is_tried_again(error: ApiError, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is waited for is told."""
    api, told = LeaseApi(error), list[str]()

    assert SkippedTime(monkeypatch).run(election_at(api).acquire(told.append)) == LeaseView()
    assert api.lease["spec"]["holderIdentity"] == "pod/me"
    assert len(told) == 1
    assert str(error) in told[0]


async def announce(election: Election, told: list[str]) -> None:
    """Lead, and write the epoch 3 on the Lease."""
    await election.acquire(told.append)
    await election.announce("the-log", 3, on_wait=told.append)


@pytest.mark.parametrize("error", [*PASSING, ConflictError(409, "the lease was renewed meanwhile")])
def test_the_epoch_is_announced_as_soon_as_the_api_answers(error: ApiError, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim of the volume stands already; ending would only cost another one."""
    api, told = LeaseApi(None, *[error] * 6), list[str]()
    SkippedTime(monkeypatch).run(announce(election_at(api), told))

    assert api.lease["metadata"]["annotations"][EPOCH_ANNOTATION] == "3"
    assert told


def test_an_epoch_is_not_announced_on_the_lease_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was elected while the API could not be reached by us."""
    api = LeaseApi(None, *[UnavailableError(503, "not now")] * 2)

    def lose(_: str) -> None:
        api.write({"metadata": {}, "spec": {"holderIdentity": "pod/other"}})

    async def run() -> None:
        election = election_at(api)
        await election.acquire(lambda _: None)
        await election.announce("the-log", 3, on_wait=lose)

    with pytest.raises(LeaseLostError):
        SkippedTime(monkeypatch).run(run())
