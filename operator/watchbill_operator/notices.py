"""Findings as Kubernetes Events: what a person should see in `kubectl describe` and no record of the log says.

Owns the form of these Events. Pure. Invariant: the name follows from object, reason and sentence, so that saying the
same again makes no second Event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from watchbill_operator.conditions import Finding, clip, format_time
from watchbill_operator.kube_events import COMPONENT

NAME_LIMIT = 200  #: characters of the object's name in the Event's name
MESSAGE_LIMIT = 1000  #: characters, as the API server wants it


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that a finding is about."""

    version: str
    kind: str
    name: str
    uid: str
    namespace: str


def parse_subject(kind: str, version: str, body: Mapping[str, Any]) -> Subject:
    """The subject that an object is."""
    metadata = body["metadata"]
    return Subject(version, kind, metadata["name"], metadata["uid"], metadata.get("namespace", ""))


def build_notice(subject: Subject, finding: Finding, now: float) -> dict[str, Any]:
    """The Event's body; `now` in seconds since the Unix epoch."""
    digest = hashlib.sha256(f"{subject.uid} {finding.reason} {finding.message}".encode()).hexdigest()[:16]
    time = format_time(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{subject.name[:NAME_LIMIT].rstrip('.-')}.{digest}",
            "namespace": subject.namespace,
        },
        "involvedObject": {
            "apiVersion": subject.version,
            "kind": subject.kind,
            "name": subject.name,
            "uid": subject.uid,
            "namespace": subject.namespace,
        },
        "type": "Warning",
        "reason": finding.reason,
        "message": clip(finding.message, MESSAGE_LIMIT),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": "",
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
