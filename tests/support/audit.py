"""What service accounts asked of a real API server, from the audit log that it writes.

Owns the policy and the reading. Invariant: a line that is only half written yet is not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

POLICY: Mapping[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],  # a watch is told when it begins and when it ends
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
    ],
}


def read_entries(path: Path) -> Iterator[dict[str, Any]]:
    """All that was logged so far."""
    if path.exists():
        for line in path.read_text(errors="replace").splitlines(keepends=True):
            if line.endswith("\n"):  # the last one may be half written
                yield json.loads(line)


def read_asked(path: Path, namespace: str, account: str = "watchbill-operator") -> list[dict[str, Any]]:
    """What that service account asked so far."""
    user = f"system:serviceaccount:{namespace}:{account}"
    return [entry for entry in read_entries(path) if entry["user"]["username"] == user]
