"""Whether an operator lives, asked from inside a pod.

Owns the question to the API server with the pod's own service account. A lock on the volume tells only what runs on
this host, and an operator that was killed has left no word that it writes no more; the API server knows its pod. Only
asks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pykube
import pykube.exceptions
import requests

from watchbill_cli.home import Refused

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SELECTOR = {"app.kubernetes.io/name": "watchbill-operator"}
DEPLOYMENT = "watchbill-operator"
TIMEOUT_SECONDS = 10.0
OVER = ("Succeeded", "Failed")


class Unanswered(Refused):
    """The API server did not say."""


def is_in_pod(account: Path = ACCOUNT) -> bool:
    """Whether this is a pod with a service account's token."""
    return "KUBERNETES_SERVICE_HOST" in os.environ and (account / "token").is_file()


def check_none_lives(account: Path = ACCOUNT) -> None:
    """Make sure that the namespace has no pod of the operator, also none that starts again and again.

    Raises Refused, naming the pod; Unanswered where it cannot be told.
    """
    try:
        config = pykube.KubeConfig.from_service_account(str(account))
        api = pykube.HTTPClient(config, timeout=TIMEOUT_SECONDS)
        found = [pod.obj for pod in pykube.Pod.objects(api, namespace=config.namespace).filter(selector=SELECTOR)]
    except (pykube.exceptions.KubernetesError, requests.RequestException, OSError) as error:
        raise Unanswered(
            f"cannot ask the API server whether an operator lives ({error}): give the pod the service account "
            f"{DEPLOYMENT}, or --force, which asks the volume alone"
        ) from error
    if living := find_living(found):
        scale = f"kubectl scale -n {config.namespace} deploy/{DEPLOYMENT} --replicas=0"
        raise Refused(f"the operator's pod {living} is there: `{scale}` ends it; try again when it is gone")


def find_living(pods: Sequence[Mapping[str, Any]]) -> str:
    """The name of a pod that has not ended for good; empty: none."""
    return next((str(p["metadata"]["name"]) for p in pods if p.get("status", {}).get("phase") not in OVER), "")
