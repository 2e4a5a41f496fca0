"""The tables that are made from the sources of Kubernetes: of the pinned release, and of one mind."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import watchbill_local.server
from watchbill_local.server.kinds import build_kinds

CHECKOUT = Path(__file__).resolve().parents[3]
SERVER = Path(watchbill_local.server.__file__).parent
OPENAPI: dict[str, Any] = json.loads(gzip.decompress((SERVER / "openapi.json.gz").read_bytes()))
MESSAGES: dict[str, dict[str, list[str]]] = json.loads((SERVER / "protobuf.json").read_text())


def test_the_tables_are_of_the_release_that_tests_run() -> None:
    """When it is raised, `scripts/api_tables.py` makes them anew."""
    pinned = re.search(r"^KUBERNETES=(\S+)$", (CHECKOUT / "scripts/versions").read_text(), re.MULTILINE)

    assert pinned is not None
    assert OPENAPI["release"] == f"v{pinned[1]}"


def test_every_kind_has_a_schema_and_a_message() -> None:
    """A kind that is added to kinds.json asks for both."""
    kinds = build_kinds()

    assert {f"{kind.group}/{kind.kind}" for kind in kinds} == OPENAPI["kinds"].keys()
    assert {kind.kind for kind in kinds} <= MESSAGES.keys()


def list_members(message: str) -> set[str]:
    """Return the JSON members of a message, with those of the messages that stand beside them."""
    fields = MESSAGES[message].values()
    inline = [list_members(kind) for _, kind, how in fields if how == "inline"]
    return {name for name, _, how in fields if how != "inline"}.union(*inline)


def test_messages_and_schemas_have_the_same_members() -> None:
    """One comes from Go's structs, the other from the published documents."""
    kinds = {name.split("/")[1]: OPENAPI["schemas"][schema] for name, schema in OPENAPI["kinds"].items()}
    schemas = {name.rpartition(".")[2]: schema for name, schema in OPENAPI["schemas"].items()} | kinds
    compared = {name for name in MESSAGES if "properties" in schemas.get(name, {})}
    differing = {
        name: sorted(list_members(name) ^ (schemas[name]["properties"].keys() - {"apiVersion", "kind"}))
        for name in compared
        if list_members(name) - {"apiVersion", "kind"} != schemas[name]["properties"].keys() - {"apiVersion", "kind"}
    }

    assert len(compared) > 150
    assert differing == {}
