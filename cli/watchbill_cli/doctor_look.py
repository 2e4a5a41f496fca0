"""What `watchbill doctor` reads of a cluster: each object once, as its API server shows it.

Owns the questions and what counts as no answer: a kind that is not served, an object that is not there, a right that
the asker lacks. Only reads. An API server that does not answer at all is the one thing that ends the look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pykube
import pykube.exceptions
import requests

from watchbill_cli.home import CLAIM, Refused

TIMEOUT_SECONDS = 10.0
NOT_FOUND = 404
OPERATOR = "watchbill-operator"
LOG_LINES = 20

Obj = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said to one question."""

    code: int = 200
    body: Obj = field(default_factory=dict)
    text: str = ""  #: of an answer that is no object; of a refusal its message

    @property
    def is_there(self) -> bool:
        """Whether it was answered."""
        return self.code == requests.codes.ok

    @property
    def is_absent(self) -> bool:
        """Whether there is no such object, or no such kind."""
        return self.code == NOT_FOUND

    @property
    def items(self) -> list[Obj]:
        """Of a list."""
        return [item for item in self.body.get("items") or () if isinstance(item, Mapping)]


@dataclass(frozen=True, kw_only=True)
class Sight:
    """All that the checks look at."""

    namespace: str
    now: float
    version: str
    answers: Mapping[str, Answer]  #: by the names below

    def __getitem__(self, name: str) -> Answer:
        return self.answers[name]

    def log(self, pod: str) -> str:
        """The last line of a pod that does not run as it should; empty: there is none."""
        lines = [line for line in self.answers.get(f"log {pod}", Answer()).text.splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    def readiness(self, pod: str) -> str:
        """What the operator in that pod says about why it is not ready; empty: nobody could ask."""
        return self.answers.get(f"ready {pod}", Answer()).text.strip()


class Asker:
    """A connection to one namespace."""

    def __init__(self, kubeconfig: Path, namespace: str = "") -> None:
        try:
            config = pykube.KubeConfig.from_file(str(kubeconfig))
            self.namespace = namespace or str(config.namespace)
            self._api = pykube.HTTPClient(config, timeout=TIMEOUT_SECONDS)
        except (pykube.exceptions.PyKubeError, OSError, KeyError, TypeError, ValueError) as error:
            raise Refused(f"the kubeconfig {kubeconfig} cannot be used: {error}") from error

    def get(self, path: str, **query: str | int | bool) -> Answer:
        """Ask for one path.

        Raises Refused where no API server answers.
        """
        url = f"{path}?{urlencode(query)}" if query else path
        try:
            response = self._api.session.get(self._api.url + url, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise Refused(f"the API server {self._api.url} does not answer: {error}") from error
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return Answer(response.status_code, {}, response.text)
        return Answer(response.status_code, body, "" if response.ok else str(body.get("message", "")))


def load_sight(asker: Asker, now: float) -> Sight:
    """Read everything. Raises Refused where no API server answers, or none that knows the asker."""
    version = asker.get("/version")
    if not version.is_there:
        raise Refused(f"the API server does not say its version ({version.code}): {version.text.strip()}")
    name = quote(asker.namespace)
    core = f"/api/v1/namespaces/{name}"
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}"
    ours = f"/apis/watchbill.dev/v1alpha1/namespaces/{name}"
    answers = {
        "document": asker.get("/openapi/v3/apis/watchbill.dev/v1alpha1"),
        "crds": asker.get("/apis/watchbill.dev/v1alpha1"),
        "namespace": asker.get(core),
        "claim": asker.get(f"{core}/persistentvolumeclaims/{CLAIM}"),
        "classes": asker.get("/apis/storage.k8s.io/v1/storageclasses"),
        "role": asker.get(f"{rbac}/roles/{OPERATOR}"),
        "binding": asker.get(f"{rbac}/rolebindings/{OPERATOR}"),
        "lease": asker.get(f"/apis/coordination.k8s.io/v1/namespaces/{name}/leases/{OPERATOR}"),
        "deployment": asker.get(f"/apis/apps/v1/namespaces/{name}/deployments/{OPERATOR}"),
        "pods": asker.get(f"{core}/pods"),
        "quotas": asker.get(f"{core}/resourcequotas"),
        "events": asker.get(f"{core}/events"),
        "agents": asker.get(f"{ours}/agents"),
    }
    for secret in sorted(find_secrets(answers["agents"].items)):
        answers[f"secret {secret}"] = asker.get(f"{core}/secrets/{quote(secret)}")
    for pod in select_pods(answers["pods"], OPERATOR):
        answers |= _load_words(asker, core, pod)
    said = str(version.body.get("gitVersion", "of an unknown version"))
    return Sight(namespace=asker.namespace, now=now, version=said, answers=answers)


def select_pods(pods: Answer, name: str) -> list[Obj]:
    """Pods with that value of app.kubernetes.io/name."""
    return [pod for pod in pods.items if (pod["metadata"].get("labels") or {}).get("app.kubernetes.io/name") == name]


def find_secrets(agents: list[Obj]) -> dict[str, str]:
    """The Secrets that Agents name, each with the first Agent that does."""
    named: dict[str, str] = {}
    for agent in agents:
        spec = agent.get("spec") or {}
        claude = (spec.get("runner") or {}).get("claude")
        wanted = [str(each.get("name", "")) for each in spec.get("secretRefs") or ()]
        if claude is not None:
            wanted.append(str(claude.get("credentialSecret") or "watchbill-credentials"))
        for secret in filter(None, wanted):
            named.setdefault(secret, str(agent["metadata"]["name"]))
    return named


def is_ready(pod: Obj) -> bool:
    """Whether its containers are."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _load_words(asker: Asker, core: str, pod: Obj) -> dict[str, Answer]:
    """What a pod of the operator that is not ready says of itself."""
    if is_ready(pod):
        return {}
    name = str(pod["metadata"]["name"])
    log = asker.get(f"{core}/pods/{name}/log", container="operator", tailLines=LOG_LINES)
    if not log.is_there or not log.text.strip():
        log = asker.get(f"{core}/pods/{name}/log", container="operator", tailLines=LOG_LINES, previous=True)
    said = asker.get(f"{core}/pods/{name}:8080/proxy/readyz")
    is_answer = not said.body and "\n" in said.text and len(said.text) < 1000
    return {f"log {name}": log if log.is_there else Answer(), f"ready {name}": said if is_answer else Answer()}
