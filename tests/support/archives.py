"""Archives and the ConfigMaps that carry them, good ones and attacks."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

Member = tuple[tarfile.TarInfo, bytes]


def a_file(name: str, content: bytes = b"hello", **header: Any) -> Member:
    """A regular file."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in header.items():
        setattr(member, field, value)
    return member, content


def a_special(name: str, kind: bytes, target: str = "") -> Member:
    """A link, device, FIFO or folder."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def pack(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar.gz of these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=form, compresslevel=1) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def pack_raw(write: Callable[[gzip.GzipFile], None]) -> bytes:
    """A gz stream of whatever is written."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1) as stream:
        write(stream)
    return buffer.getvalue()


def file_map(
    name: str, files: Mapping[str, str], *, version: str = "1", created: str = "2026-01-01T00:00:00Z"
) -> dict[str, Any]:
    """A ConfigMap that offers files."""
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "resourceVersion": version,
            "creationTimestamp": created,
            "labels": {"watchbill.dev/shared-context": "file"},
        },
        "data": dict(files),
    }


def folder_maps(data: bytes, *, parts: int = 1, digest: str = "") -> list[dict[str, Any]]:
    """The ConfigMaps that carry a folder in that many parts."""
    digest = digest or hashlib.sha256(data).hexdigest()
    size = -(-len(data) // parts)
    return [
        {
            "metadata": {
                "name": f"context-{digest[:16]}-{number}",
                "uid": f"uid-{number}",
                "resourceVersion": "1",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"watchbill.dev/shared-context": "folder"},
                "annotations": {
                    "watchbill.dev/digest": digest,
                    "watchbill.dev/part": str(number),
                    "watchbill.dev/parts": str(parts),
                },
            },
            "binaryData": {"part": base64.b64encode(data[number * size : (number + 1) * size]).decode()},
        }
        for number in range(parts)
    ]
