"""kopf's part: watching Agents, Tasks, pods and labelled ConfigMaps of one namespace.

Owns kopf's settings and the handlers, which hold no logic: each turns an object into an observation and hands it over.
Invariant: kopf writes nothing to the API: no finalizers, no annotations, no events, no peering.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import kopf
import pykube

from watchbill_operator.observations import Observation, parse_observation

CONTEXT_LABEL = "watchbill.dev/shared-context"
MANAGED_SELECTOR = "app.kubernetes.io/managed-by=watchbill"
LIST_CHUNK = 500
LAST_BACKOFF_SECONDS = 3.0
IDLE_WORKER_SECONDS = 1.0  #: kopf keeps one asyncio task for each object that moved lately

Observe = Callable[[Observation], None]
Handler = Callable[..., Awaitable[None]]


class EndlessBackoffs(Iterable[float]):
    """Pauses between kopf's tries, in seconds, without an end: an API that is away for long is waited for."""

    def __iter__(self) -> Iterator[float]:
        yield from (0.1, 0.2, 0.5, 1.0, 2.0)
        yield from repeat(LAST_BACKOFF_SECONDS)


class NoDiffs(kopf.DiffBaseStorage):
    """Keeps kopf from copying and comparing each object, which only its other kinds of handlers need."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[kopf.FieldSpec] | None = None) -> kopf.BodyEssence:
        """Nothing of an object is compared."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Nothing was kept."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is kept."""


class NoProgress(kopf.ProgressStorage):
    """Keeps kopf from looking for annotations of its own in each object: our handlers have no progress to keep."""

    def fetch(self, *, key: kopf.HandlerId, body: kopf.Body) -> kopf.ProgressRecord | None:
        """Nothing was kept."""
        return None

    def store(self, *, key: kopf.HandlerId, record: kopf.ProgressRecord, body: kopf.Body, patch: kopf.Patch) -> None:
        """Nothing is kept."""

    def purge(self, *, key: kopf.HandlerId, body: kopf.Body, patch: kopf.Patch) -> None:
        """Nothing is there to go."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        """Nothing is to be woken."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Nothing of it is in an object."""
        return essence


def build_registry(observe: Observe, kubeconfig: Path | None) -> kopf.OperatorRegistry:
    """All handlers, each handing what it sees to `observe`."""
    registry = kopf.OperatorRegistry()
    for kind, selector in (
        ("Agent", ("watchbill.dev", "v1alpha1", "agents")),
        ("Task", ("watchbill.dev", "v1alpha1", "tasks")),
        ("Pod", ("", "v1", "pods")),
        ("ConfigMap", ("", "v1", "configmaps")),
    ):
        kopf.on.event(*selector, id=f"observe-{kind.lower()}", when=_filter(kind), registry=registry)(
            _handler(kind, observe)
        )

    async def login(**_: Any) -> kopf.ConnectionInfo:
        return build_connection(pykube.KubeConfig.from_file(str(kubeconfig)))

    if kubeconfig is None:
        kopf.on.login(registry=registry)(kopf.login_with_service_account)
    else:
        kopf.on.login(registry=registry)(login)
    return registry


def build_settings() -> kopf.OperatorSettings:
    """kopf's settings: look only, and hand over at once."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True  # needs rights on the whole cluster otherwise
    settings.watching.chunk_size = LIST_CHUNK
    settings.watching.label_selectors["v1", "pods"] = MANAGED_SELECTOR
    settings.watching.label_selectors["v1", "configmaps"] = CONTEXT_LABEL
    settings.queueing.idle_timeout = IDLE_WORKER_SECONDS
    settings.queueing.exit_timeout = 0.2
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.process.ultimate_exiting_timeout = None
    settings.persistence.diffbase_storage = NoDiffs()
    settings.persistence.progress_storage = NoProgress()
    return settings


def build_connection(config: pykube.KubeConfig) -> kopf.ConnectionInfo:
    """What kopf needs to know of a kubeconfig. kopf asks again when the server refuses the credentials."""
    authority = config.cluster.get("certificate-authority")
    certificate, key = config.user.get("client-certificate"), config.user.get("client-key")
    return kopf.ConnectionInfo(
        server=config.cluster["server"],
        ca_path=authority.filename() if authority else None,
        insecure=config.cluster.get("insecure-skip-tls-verify"),
        username=config.user.get("username"),
        password=config.user.get("password"),
        token=config.user.get("token"),
        certificate_path=certificate.filename() if certificate else None,
        private_key_path=key.filename() if key else None,
        default_namespace=config.namespace,
    )


def is_echo(event: kopf.RawEvent) -> bool:
    """Whether a change of a Task is no more than our own status coming back: most events of a busy system are that.

    A new spec has a new generation, of which the status does not tell yet; a deletion has its time. What is wrongly
    taken for an echo, since somebody else wrote the status, is seen by the next full comparison.
    """
    metadata, status = event["object"].get("metadata") or {}, event["object"].get("status") or {}
    return (
        event["type"] == "MODIFIED"
        and "deletionTimestamp" not in metadata
        and metadata.get("generation") == status.get("observedGeneration")
    )


def _filter(kind: str) -> Callable[..., bool] | None:
    return (lambda event, **_: not is_echo(event)) if kind == "Task" else None


def _handler(kind: str, observe: Observe) -> Handler:
    async def handle(event: kopf.RawEvent, **_: Any) -> None:
        observation = parse_observation(kind, event["object"], deleted=event["type"] == "DELETED")
        if observation:
            observe(observation)

    return handle
