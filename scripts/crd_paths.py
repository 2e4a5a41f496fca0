#!/usr/bin/env python3
"""Write down which fields the CRDs of this checkout have, for the operator's look at those of a cluster.

usage: .venv/bin/python scripts/crd_paths.py     (run by hand when a field is added to crds/*.yaml)

Owns `operator/watchbill_operator/crd_paths.json`; the same CRDs make the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

from ruamel.yaml import YAML

from watchbill_operator.crd_paths import build_paths

CHECKOUT = Path(__file__).resolve().parents[1]
TARGET = CHECKOUT / "operator" / "watchbill_operator" / "crd_paths.json"


def build_table() -> str:
    """The file's content."""
    table = {}
    for path in sorted((CHECKOUT / "crds").glob("*s.yaml")):
        spec = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["spec"]
        table[spec["names"]["kind"]] = build_paths(spec["versions"][0]["schema"]["openAPIV3Schema"])
    return json.dumps(table, indent=1) + "\n"


if __name__ == "__main__":
    TARGET.write_text(build_table(), encoding="utf-8")
