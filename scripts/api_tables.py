#!/usr/bin/env python3
"""Make the data tables of the small API server from the sources of Kubernetes; run by hand when its version is raised.

usage: scripts/api_tables.py     (needs Go; takes the version that tests/control_plane/go.mod names)

Owns `protobuf.json` (for each message that a served kind is made of: field number -> JSON name, type, and how the
field is held) and `openapi.json.gz` (the schemas of the same kinds, which `kubectl explain` shows). Both follow
from Go's structs and from the OpenAPI documents of the release alone, so the same version makes the same bytes.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
SERVER = CHECKOUT / "local" / "watchbill_local" / "server"

#: Where the structs of a group stand, and what is decoded besides the kinds that are stored.
PACKAGES = {
    "meta.k8s.io": ("k8s.io/apimachinery", "pkg/apis/meta/v1"),
    "": ("k8s.io/api", "core/v1"),
    "coordination.k8s.io": ("k8s.io/api", "coordination/v1"),
    "rbac.authorization.k8s.io": ("k8s.io/api", "rbac/v1"),
    "authorization.k8s.io": ("k8s.io/api", "authorization/v1"),
    "authentication.k8s.io": ("k8s.io/api", "authentication/v1"),
    "autoscaling": ("k8s.io/api", "autoscaling/v1"),
    "apiextensions.k8s.io": ("k8s.io/apiextensions-apiserver", "pkg/apis/apiextensions/v1"),
    "names of all groups": ("k8s.io/apimachinery", "pkg/types"),
}
ALSO = [
    ("", "Binding"),
    ("autoscaling", "Scale"),
    ("meta.k8s.io", "DeleteOptions"),
    ("authentication.k8s.io", "TokenRequest"),
]
SCALARS = {"string": "string", "bool": "bool", "[]byte": "bytes", "float64": "double"}
SCALARS |= dict.fromkeys(("int", "int32", "int64", "uint8", "rune"), "int")
#: Messages with a JSON form of their own; the decoder knows them by name.
SPECIAL = {"Time", "MicroTime", "Quantity", "IntOrString", "JSON", "FieldsV1", "RawExtension"}
#: Messages that stand for one of their fields, which comes last; their structs do not say so.
CHOICES = {
    "JSONSchemaPropsOrArray": {"1": ["", "JSONSchemaProps", "self"]},
    "JSONSchemaPropsOrBool": {"1": ["", "bool", "self"], "2": ["", "JSONSchemaProps", "self"]},
    "JSONSchemaPropsOrStringArray": {"1": ["", "JSONSchemaProps", "self"]},
}
FIELD = re.compile(r'^\s+(?:(\w+)\s+)?([\w.*\[\]]+)\s+`json:"([^",]*)([^"]*)"[^`]*\bprotobuf:"\w+,(\d+),', re.MULTILINE)

Table = dict[str, Any]


def main() -> None:
    """Write both tables."""
    kinds = json.loads((SERVER / "kinds.json").read_text())
    stored = [(kind.get("group", ""), kind["kind"]) for kind in kinds]
    structs, aliases = load_types([find_module(module) / path for module, path in PACKAGES.values()])
    messages = build_messages([kind for _, kind in [*stored, *ALSO]], structs, aliases)
    lines = [f"  {json.dumps(name)}: {json.dumps(fields)}" for name, fields in sorted(messages.items())]
    (SERVER / "protobuf.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    release = find_module("k8s.io/kubernetes")
    schemas = {"release": release.name.rpartition("@")[2], **build_schemas(release / "api/openapi-spec/v3", stored)}
    (SERVER / "openapi.json.gz").write_bytes(gzip.compress(json.dumps(schemas, sort_keys=True).encode(), mtime=0))
    sys.stdout.write(f"{len(messages)} messages, {len(schemas['schemas'])} schemas\n")


def find_module(module: str) -> Path:
    """Return the folder of a Go module, downloaded where it is not there yet."""
    command = ["go", "mod", "download", "-json", module]
    done = subprocess.run(command, cwd=CHECKOUT / "tests/control_plane", capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["Dir"])


def load_types(folders: list[Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the bodies of all structs and the targets of all other types, by name; the first of a name counts."""
    structs: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for path in (file for folder in folders for file in sorted(folder.glob("*.go"))):
        text = "" if path.name.endswith("_test.go") else path.read_text()
        for name, body in re.findall(r"^type (\w+) struct ?\{(\}|\n.*?^\})$", text, re.MULTILINE | re.DOTALL):
            structs.setdefault(name, body)
        aliases |= dict(re.findall(r"^type (\w+) ([\w.\[\]*]+)$", text, re.MULTILINE))
    return structs, aliases


def build_messages(kinds: list[str], structs: dict[str, str], aliases: dict[str, str]) -> Table:
    """Return the fields of each message that can be reached from `kinds`."""
    messages: Table = {}
    todo = list(kinds)
    while todo:
        name = todo.pop()
        if name in messages or name in SPECIAL or name in SCALARS.values():
            continue
        messages[name] = dict(CHOICES.get(name, {}))
        for field, kind, key, options, number in FIELD.findall(structs[name]):
            is_inline = "inline" in options
            target, how = resolve(kind, options, aliases, has_name=bool(field))
            messages[name][number] = [key, target, "inline" if is_inline else how]
            todo.append(target)
    return messages


def resolve(kind: str, options: str, aliases: dict[str, str], *, has_name: bool) -> tuple[str, str]:
    """Return the message or scalar behind a Go type, and how it is held: list, map, kept or dropped when zero."""
    is_pointer = kind.startswith("*")
    kind = kind.lstrip("*").rpartition(".")[2] if not kind.startswith(("[", "map")) else kind
    while kind in aliases and kind not in SCALARS:
        kind = aliases[kind]
    if kind in SCALARS:
        return SCALARS[kind], "" if is_pointer or "omitempty" not in options else "zero"
    if kind.startswith("[]"):
        return resolve(kind[2:], "", aliases, has_name=has_name)[0], "list"
    if kind.startswith("map["):
        return resolve(kind.partition("]")[2], "", aliases, has_name=has_name)[0], "map"
    return kind.rpartition(".")[2], "" if is_pointer or "omitempty" not in options else "zero"


def build_schemas(folder: Path, stored: list[tuple[str, str]]) -> Table:
    """Return the names of the kinds' schemas, and each schema that can be reached from them."""
    known: Table = {}
    for group in sorted({group for group, _ in stored}):
        name = f"apis__{group}__v1_openapi.json" if group else "api__v1_openapi.json"
        known |= json.loads((folder / name).read_text())["components"]["schemas"]
    kinds: dict[str, str] = {}
    for name, schema in known.items():
        for each in schema.get("x-kubernetes-group-version-kind", ()):
            if each["version"] == "v1" and (each["group"], each["kind"]) in stored:
                kinds[f"{each['group']}/{each['kind']}"] = name
    schemas: Table = {}
    todo = list(kinds.values())
    while todo:
        name = todo.pop()
        if name not in schemas:
            schemas[name] = {key: each for key, each in known[name].items() if not key.startswith("x-kubernetes-group")}
            todo += re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schemas[name]))
    return {"kinds": kinds, "schemas": schemas}


if __name__ == "__main__":
    main()
