"""Manifests that people write, with the place of every member.

Owns reading YAML (1.1, several documents a file, `List` objects opened up) and turning a field's path, as the API
server names it, into line and column. Never changes a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

STEP = re.compile(r"\[([^\]]+)\]|([^.\[\]]+)")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend. Line and column count from 1."""

    file: str
    line: int
    column: int
    field: str
    message: str
    severity: str = "error"  #: error | warning

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {field}{self.message}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a file."""

    file: str
    source: Any  #: as ruamel.yaml read it, with places
    line: int
    column: int

    @property
    def value(self) -> Any:
        """Plain values."""
        return to_plain(self.source)

    def place(self, field: str) -> tuple[int, int]:
        """Line and column of the deepest member of `field` (such as `spec.locks[0].mode`) that is there."""
        node, line, column = self.source, self.line, self.column
        for match in STEP.finditer(field):
            key: Any = match[2] if match[2] is not None else match[1].strip("'\"")
            if isinstance(node, Sequence) and not isinstance(node, str) and key.isdigit() and int(key) < len(node):
                key = int(key)
                line, column = (n + 1 for n in node.lc.item(key))  # type: ignore[attr-defined]  # ruamel adds `lc`
            elif isinstance(node, Mapping) and key in node:
                line, column = (n + 1 for n in node.lc.key(key))  # type: ignore[attr-defined]  # ruamel adds `lc`
            else:
                break
            node = node[key]
        return line, column

    def finding(self, field: str, message: str, severity: str = "error") -> Finding:
        """A finding at the place of that field."""
        line, column = self.place(field)
        return Finding(self.file, line, column, field, message, severity)


class KubectlYAML(YAML):
    """YAML 1.1 in every document, as kubectl reads it: `off` is false. ruamel.yaml itself keeps to one document."""

    @property
    def version(self) -> tuple[int, int]:
        """Always 1.1."""
        return (1, 1)

    @version.setter
    def version(self, _wanted: object) -> None:
        """Stay with 1.1: it is set anew for each document."""


def load_manifests(path: Path) -> Iterator[Manifest | Finding]:
    """Yield the objects of a file, or what keeps them from being read."""
    name = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        yield Finding(name, 1, 1, "", f"cannot be read: {error.strerror}")
        return
    except UnicodeDecodeError as error:
        yield Finding(name, 1, 1, "", f"is no UTF-8: byte {error.start} cannot be read")
        return
    try:
        for document in KubectlYAML(typ="rt").load_all(text):
            if document is not None:
                yield from _open(name, document)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        said = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        yield Finding(name, line, column, "", f"is no YAML: {said}")


def to_plain(node: Any) -> Any:
    """Dictionaries, lists and scalars without ruamel's additions."""
    if isinstance(node, Mapping):
        return {str(key): to_plain(value) for key, value in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [to_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return None if node is None else str(node)


def _open(name: str, document: Any) -> Iterator[Manifest]:
    lc = getattr(document, "lc", None)
    manifest = Manifest(name, document, (lc.line if lc else 0) + 1, (lc.col if lc else 0) + 1)
    is_list = isinstance(document, Mapping) and document.get("kind") == "List"
    items = document.get("items") if is_list else None
    if not isinstance(items, Sequence):
        yield manifest
        return
    for item in items:
        yield Manifest(name, item, item.lc.line + 1, item.lc.col + 1)
