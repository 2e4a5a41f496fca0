"""What the command asks of the API: Agents, Tasks and ConfigMaps of one namespace.

Owns the translation between pykube's errors and sentences for a user. Never caches, never retries a write.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pykube
import pykube.exceptions
import requests

from watchbill_cli.home import Refused

API_VERSION = "watchbill.dev/v1alpha1"
TIMEOUT_SECONDS = 10.0
LOCAL_MEND = "is the system up? `make up` starts it"


class Agent(pykube.objects.NamespacedAPIObject):
    """A pool of agents."""

    version = API_VERSION
    endpoint = "agents"
    kind = "Agent"


class Task(pykube.objects.NamespacedAPIObject):
    """A piece of work."""

    version = API_VERSION
    endpoint = "tasks"
    kind = "Task"


class Lease(pykube.objects.NamespacedAPIObject):
    """Who leads."""

    version = "coordination.k8s.io/v1"
    endpoint = "leases"
    kind = "Lease"


class Cluster:
    """A connection to a namespace: that of a kubeconfig's current context, if no other one is given.

    `mend` is what a user is told where the API server does not answer.
    """

    def __init__(self, kubeconfig: Path, *, namespace: str = "", mend: str = LOCAL_MEND) -> None:
        try:
            config = pykube.KubeConfig.from_file(str(kubeconfig))
            config.cluster, config.user  # noqa: B018  # read when asked for
        except (pykube.exceptions.PyKubeError, KeyError, TypeError, ValueError) as error:
            raise Refused(
                f"the kubeconfig {kubeconfig} has no current context: `kubectl config get-contexts` lists what it has"
            ) from error
        self.kubeconfig = kubeconfig
        self.context_namespace = str(config.namespace)  #: `default` where the context names none
        self.namespace = namespace or self.context_namespace
        self._mend = mend
        self._api = pykube.HTTPClient(config, timeout=TIMEOUT_SECONDS)

    def is_ready(self) -> bool:
        """Whether the API server answers."""
        try:
            return bool(self._api.get(url="/readyz", base="", version="").status_code == requests.codes.ok)
        except (requests.RequestException, pykube.exceptions.HTTPError):
            return False

    def namespace_uid(self) -> str:
        """What tells this namespace from every other one, of this server or another.

        Raises Refused where the server does not answer or there is no such namespace.
        """
        try:
            found = pykube.Namespace.objects(self._api).get_or_none(name=self.namespace)
        except (pykube.exceptions.HTTPError, requests.RequestException) as error:
            raise Refused(f"cannot read the namespace {self.namespace}: {error}") from error
        if found is None:
            raise Refused(f"there is no namespace {self.namespace}: `kubectl create namespace {self.namespace}`")
        return str(found.metadata["uid"])

    def agents(self) -> list[Mapping[str, Any]]:
        """All Agents, by name."""
        return self._list(Agent)

    def tasks(self) -> list[Mapping[str, Any]]:
        """All Tasks, by name."""
        return self._list(Task)

    def pods(self) -> list[Mapping[str, Any]]:
        """All pods, by name."""
        return self._list(pykube.Pod)

    def serves_watchbill(self) -> bool:
        """Whether the CRDs are installed."""
        try:
            answer = self._api.get(url=f"/apis/{API_VERSION}", base="", version="")
        except requests.RequestException as error:
            raise self._silent(error) from error
        if answer.status_code not in (requests.codes.ok, requests.codes.not_found):
            raise self._silent(f"{answer.status_code} {answer.reason}")
        return bool(answer.status_code == requests.codes.ok)

    def deployment(self, name: str) -> Mapping[str, Any] | None:
        """This Deployment; None where there is none."""
        try:
            found = pykube.Deployment.objects(self._api, namespace=self.namespace).get_or_none(name=name)
        except (pykube.exceptions.HTTPError, requests.RequestException) as error:
            raise self._silent(error) from error
        return None if found is None else dict(found.obj)

    def put_config_map(self, body: Mapping[str, Any]) -> bool:
        """Create or replace a ConfigMap; False when it was there already with the same content."""
        known = pykube.ConfigMap.objects(self._api, namespace=self.namespace).get_or_none(name=body["metadata"]["name"])
        try:
            if known is None:
                pykube.ConfigMap(
                    self._api, {**body, "metadata": {**body["metadata"], "namespace": self.namespace}}
                ).create()
                return True
            parts = ("data", "binaryData")
            if all((known.obj.get(part) or {}) == (body.get(part) or {}) for part in parts):
                return False
            known.obj.update({part: body.get(part) or {} for part in parts})
            known.update()
        except (pykube.exceptions.HTTPError, requests.RequestException) as error:
            raise Refused(f"cannot write ConfigMap {body['metadata']['name']}: {error}") from error
        return True

    def led_from(self) -> str:
        """The id of the log that the operator's Lease names; empty where there is none."""
        lease = self._lease()
        return str((lease.annotations if lease else {}).get("watchbill.dev/log-id", ""))

    def forget_lease(self) -> None:
        """Delete the operator's Lease; the next leader makes one of its own."""
        if lease := self._lease():
            lease.delete()

    def _lease(self) -> Lease | None:
        try:
            found: Lease | None = Lease.objects(self._api, namespace=self.namespace).get_or_none(
                name="watchbill-operator"
            )
        except (pykube.exceptions.HTTPError, requests.RequestException) as error:
            raise self._silent(error) from error
        return found

    def _silent(self, error: object) -> Refused:
        return Refused(f"the API server does not answer ({find_reason(error)}): {self._mend}")

    def _list(self, kind: type[pykube.objects.NamespacedAPIObject]) -> list[Mapping[str, Any]]:
        try:
            found = list(kind.objects(self._api, namespace=self.namespace))
        except (pykube.exceptions.HTTPError, requests.RequestException) as error:
            raise self._silent(error) from error
        return sorted((item.obj for item in found), key=lambda obj: str(obj["metadata"]["name"]))


def find_reason(error: object) -> str:
    """What the system said, where it said something: `Connection refused`; else the error's own words."""
    cause = error if isinstance(error, BaseException) else None
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error)
