"""Persistent volume claims as directories.

Owns which directory stands behind a claim: the one given by --volume, else `volumes/<namespace>-<claim>` below the
node's data. Invariant: a claim's directory is made but never removed here; what is in it is the user's.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from watchbill_local.node.api import ApiClient, ApiError
from watchbill_local.node.settings import Settings


async def bind_claim(api: ApiClient, settings: Settings, namespace: str, name: str) -> Path | None:
    """The directory of a claim, which becomes Bound; None if the API has no such claim. Raises as `api` does."""
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"
    claim = await api.find(path)
    if claim is None:
        return None
    directory = settings.volumes.get(name) or settings.data / "volumes" / f"{namespace}-{name}"
    directory.mkdir(parents=True, exist_ok=True)
    if (claim.get("status") or {}).get("phase") != "Bound":
        spec = claim.get("spec") or {}
        status = {
            "phase": "Bound",
            "accessModes": spec.get("accessModes"),
            "capacity": (spec.get("resources") or {}).get("requests"),
        }
        with contextlib.suppress(ApiError):
            await api.patch(f"{path}/status", {"status": status})
    return directory
