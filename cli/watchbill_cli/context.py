"""`watchbill context put PATH`: the user's files on their way to `shared-context/`, by labelled ConfigMaps.

Owns the form in which files travel: one ConfigMap for a file, numbered ones of at most 900 KiB for a folder. The same
way on every control plane: through the API, never by the volume.
"""

from __future__ import annotations

import base64
import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from watchbill_cli.archive import MAX_BYTES, Archive, pack
from watchbill_cli.cluster import Cluster
from watchbill_cli.home import Refused, default_home, kubeconfig_path

LABEL = "watchbill.dev/shared-context"
PART_BYTES = 900 * 1024
KEY = re.compile(r"[A-Za-z0-9_][-._A-Za-z0-9]{0,252}")
RESERVED = ("project-state.md", "results", "input")


def run_put(arguments: Namespace) -> int:
    """Send it, and print the entry of `context[]`."""
    print(put(Cluster(kubeconfig_path(default_home())), arguments.path))
    return 0


def put(cluster: Cluster, path: Path) -> str:
    """Send a file or a folder; return what a Task names in `context[]`.

    Raises Refused with the reason where it cannot travel.
    """
    if path.is_dir():
        archive = pack(path)
        put_archive(cluster, archive)
        return archive.context_path
    put_file(cluster, path)
    return path.name


def put_archive(cluster: Cluster, archive: Archive) -> None:
    """Send a packed folder."""
    for body in folder_config_maps(archive):
        cluster.put_config_map(body)


def put_file(cluster: Cluster, path: Path) -> None:
    """Send one file."""
    if not path.is_file():
        raise Refused(f"{path} is neither a file nor a folder")
    if not KEY.fullmatch(path.name) or path.name in RESERVED:
        raise Refused(
            f"{path.name} cannot be a name in shared-context: "
            f"use letters, digits, '-', '_' and '.', and none of {', '.join(RESERVED)}"
        )
    data = path.read_bytes()
    if len(data) > PART_BYTES:
        raise Refused(
            f"{path} has {len(data)} bytes, and a single file at most {PART_BYTES}: "
            f"put it into a folder, which may have {MAX_BYTES // 2**20} MiB"
        )
    cluster.put_config_map(file_config_map(path.name, data))


def file_config_map(name: str, data: bytes) -> dict[str, Any]:
    """The ConfigMap of one file."""
    body = _config_map(f"context-file-{_dns(name)}", "file", {})
    try:
        body["data"] = {name: data.decode()}
    except UnicodeDecodeError:
        body["binaryData"] = {name: base64.b64encode(data).decode()}
    return body


def folder_config_maps(archive: Archive) -> Iterator[dict[str, Any]]:
    """The ConfigMaps of one folder."""
    parts = [archive.data[start : start + PART_BYTES] for start in range(0, len(archive.data), PART_BYTES)]
    for number, part in enumerate(parts):
        annotations = {
            "watchbill.dev/digest": archive.digest,
            "watchbill.dev/part": str(number),
            "watchbill.dev/parts": str(len(parts)),
        }
        body = _config_map(f"context-{archive.digest[:16]}-{number}", "folder", annotations)
        body["binaryData"] = {"part": base64.b64encode(part).decode()}
        yield body


def _config_map(name: str, form: str, annotations: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "labels": {LABEL: form}, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def _dns(name: str) -> str:
    """A file's name as part of an object's name."""
    return re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.")[:200] or "file"
