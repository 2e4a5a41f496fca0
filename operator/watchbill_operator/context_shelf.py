"""What the labelled ConfigMaps offer as shared context.

Owns reading those ConfigMaps: which path below shared-context/ each is for, and whether a folder's parts are all there.
Does no I/O. Invariant: a path has one content: of two ConfigMaps that claim it the elder wins and the other is told so.
Contents of a folder are let go of once it lies unpacked, so that the shelf stays small.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from watchbill_operator.conditions import Finding
from watchbill_operator.unpacking import MAX_COMPRESSED_BYTES

CONTEXT_LABEL = "watchbill.dev/shared-context"
DIGEST_ANNOTATION = "watchbill.dev/digest"
PART_ANNOTATION = "watchbill.dev/part"
PARTS_ANNOTATION = "watchbill.dev/parts"
MAX_PARTS = 64
MAX_FILES = 1000
MAX_FOLDERS = 64
RESERVED_NAMES = frozenset({"project-state.md", "results", "input"})
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a folder."""

    digest: str  #: SHA-256 of the whole archive, hex
    number: int
    parts: int
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One ConfigMap, read."""

    name: str
    uid: str
    version: str  #: resourceVersion
    created: str  #: creationTimestamp; with the name it decides who is the elder
    files: Mapping[str, bytes] = field(default_factory=dict)  #: by path
    part: Part | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is offered. `parts` is None while some are missing."""

    digest: str
    parts: tuple[bytes, ...] | None


@dataclass(frozen=True, slots=True)
class Offer:
    """All that the ConfigMaps offer now."""

    files: Mapping[str, bytes]  #: by path
    folders: Mapping[str, Folder]  #: by path `input/<16 hex>`
    findings: Mapping[str, tuple[Finding, ...]]  #: by ConfigMap


def folder_path(digest: str) -> str:
    """Where the folder of that archive lies below shared-context."""
    return f"input/{digest[:16]}"


def parse_config_map(body: Mapping[str, Any]) -> Volume:
    """Read a labelled ConfigMap; what is wrong with it becomes a finding."""
    metadata = body["metadata"]
    form = (metadata.get("labels") or {}).get(CONTEXT_LABEL)
    annotations = metadata.get("annotations") or {}
    files: dict[str, bytes] = {}
    part: Part | None = None
    findings: list[Finding] = []
    if form == "file":
        files, findings = _parse_files(body)
    elif form == "folder":
        outcome = _parse_part(annotations, body.get("binaryData") or {})
        part, findings = (outcome, []) if isinstance(outcome, Part) else (None, [outcome])
    else:
        findings = [Finding("UnknownForm", f"The label {CONTEXT_LABEL} is {form}; it is file or folder.")]
    return Volume(
        name=str(metadata["name"]),
        uid=str(metadata.get("uid", "")),
        version=str(metadata.get("resourceVersion", "")),
        created=str(metadata.get("creationTimestamp", "")),
        files=files,
        part=part,
        findings=tuple(findings),
    )


def _parse_files(body: Mapping[str, Any]) -> tuple[dict[str, bytes], list[Finding]]:
    files: dict[str, bytes] = {}
    findings = []
    members = {**(body.get("data") or {}), **(body.get("binaryData") or {})}
    for key, value in members.items():
        content = value.encode() if key in (body.get("data") or {}) else _decode(value)
        if not _FILE_NAME.fullmatch(key) or key in RESERVED_NAMES:
            findings.append(Finding("NameNotAllowed", f"{key} cannot be a file in shared-context."))
        elif content is None:
            findings.append(Finding("Malformed", f"{key} is not valid base64."))
        else:
            files[key] = content
    return files, findings


def _parse_part(annotations: Mapping[str, str], data: Mapping[str, str]) -> Part | Finding:
    digest = annotations.get(DIGEST_ANNOTATION, "")
    number, parts = annotations.get(PART_ANNOTATION, ""), annotations.get(PARTS_ANNOTATION, "")
    content = _decode(data.get("part", "")) if "part" in data else None
    if not _DIGEST.fullmatch(digest):
        return Finding("Malformed", f"The annotation {DIGEST_ANNOTATION} is not a SHA-256 in hex.")
    if not re.fullmatch(r"[0-9]{1,3}", number) or not re.fullmatch(r"[0-9]{1,3}", parts):
        return Finding("Malformed", f"The annotations {PART_ANNOTATION} and {PARTS_ANNOTATION} are not numbers.")
    if not int(number) < int(parts) <= MAX_PARTS:
        return Finding("Malformed", f"Part {number} of {parts}: a folder has 1 to {MAX_PARTS} parts, numbered from 0.")
    if content is None:
        return Finding("Malformed", "binaryData.part is missing or not valid base64.")
    return Part(digest, int(number), int(parts), content)


def _decode(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


@dataclass(slots=True)
class ContextShelf:
    """The ConfigMaps seen so far, by name."""

    volumes: dict[str, Volume] = field(default_factory=dict)
    unpacked: set[str] = field(default_factory=set)  #: digests of folders whose contents were let go of

    def see(self, body: Mapping[str, Any]) -> None:
        """Note a ConfigMap that carries the label; the same version again changes nothing."""
        metadata = body["metadata"]
        known = self.volumes.get(metadata["name"])
        if known is None or (known.uid, known.version) != (metadata.get("uid"), metadata.get("resourceVersion")):
            volume = parse_config_map(body)
            self.volumes[volume.name] = volume

    def forget(self, name: str) -> None:
        """Note that a ConfigMap is gone, or lost the label."""
        self.volumes.pop(name, None)
        held = {volume.part.digest for volume in self.volumes.values() if volume.part is not None}
        self.unpacked &= held

    def release(self, digest: str) -> None:
        """Let go of the contents of a folder that lies on the volume."""
        self.unpacked.add(digest)
        for name, volume in self.volumes.items():
            if volume.part is not None and volume.part.digest == digest and volume.part.content:
                part = Part(digest, volume.part.number, volume.part.parts, b"")
                self.volumes[name] = Volume(
                    name=name, uid=volume.uid, version=volume.version, created=volume.created, part=part
                )

    def holders(self, digest: str) -> tuple[str, ...]:
        """The ConfigMaps that carry parts of a folder."""
        held = [name for name, volume in self.volumes.items() if volume.part and volume.part.digest == digest]
        return tuple(sorted(held))

    def offer(self) -> Offer:
        """What all of them offer together."""
        files: dict[str, bytes] = {}
        parts: dict[str, list[Part]] = {}
        findings: dict[str, tuple[Finding, ...]] = {}
        for volume in sorted(self.volumes.values(), key=lambda volume: (volume.created, volume.name)):
            own = [*volume.findings, *_add_files(files, volume), *_add_part(parts, volume)]
            if own:
                findings[volume.name] = tuple(own)
        folders = {path: _assemble(pieces) for path, pieces in parts.items()}
        return Offer(files, folders, findings)


def _add_files(files: dict[str, bytes], volume: Volume) -> list[Finding]:
    findings = []
    for path, content in volume.files.items():
        if path in files:
            findings.append(Finding("NameTaken", f"{path} is offered by an older ConfigMap already."))
        elif len(files) >= MAX_FILES:
            findings.append(Finding("TooManyFiles", f"{path} is left out: {MAX_FILES} files are offered already."))
        else:
            files[path] = content
    return findings


def _add_part(folders: dict[str, list[Part]], volume: Volume) -> list[Finding]:
    if volume.part is None:
        return []
    path = folder_path(volume.part.digest)
    pieces = folders.get(path, [])
    if not pieces and len(folders) >= MAX_FOLDERS:
        return [Finding("TooManyFolders", f"{path} is left out: {MAX_FOLDERS} folders are offered already.")]
    if pieces and (pieces[0].digest, pieces[0].parts) != (volume.part.digest, volume.part.parts):
        return [Finding("NameTaken", f"{path} is offered by an older ConfigMap already, with another content.")]
    folders[path] = [*pieces, volume.part]
    return []


def _assemble(pieces: list[Part]) -> Folder:
    """The parts in their order, once each number is there; contents are not joined before they are needed."""
    by_number = {piece.number: piece.content for piece in reversed(pieces)}
    is_whole = len(by_number) == pieces[0].parts
    return Folder(pieces[0].digest, tuple(by_number[number] for number in sorted(by_number)) if is_whole else None)


def join_parts(folder: Folder) -> bytes | Finding:
    """The archive of a folder whose parts are all there, once its digest is right."""
    parts = folder.parts or ()
    if sum(len(part) for part in parts) > MAX_COMPRESSED_BYTES:
        return Finding("TooLarge", f"{folder_path(folder.digest)} has more than {MAX_COMPRESSED_BYTES} bytes.")
    data = b"".join(parts)
    if hashlib.sha256(data).hexdigest() != folder.digest:
        return Finding("DigestMismatch", f"{folder_path(folder.digest)}: the parts do not have the digest they name.")
    return data
