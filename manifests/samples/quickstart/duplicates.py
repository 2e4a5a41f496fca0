"""Blue: blocks of six lines that stand in more than one place of the Python files, blank lines left out."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import tree

BLOCK = 6
root = tree.argument()
places: dict[bytes, list[str]] = defaultdict(list)
for path in tree.files(root):
    text = tree.text_of(path) if path.suffix == ".py" else None
    numbered = [(n, line.strip()) for n, line in enumerate((text or "").split("\n"), 1) if line.strip()]
    for start in range(len(numbered) - BLOCK + 1):
        block = "\n".join(line for _, line in numbered[start : start + BLOCK])
        places[hashlib.sha256(block.encode()).digest()].append(f"{path.relative_to(root)}:{numbered[start][0]}")
repeated = sorted(where for where in places.values() if len(where) > 1)
tree.write(
    {"blocks": len(places), "repeated": len(repeated), "where": repeated[:20]},
    f"{len(repeated)} of {len(places)} blocks of {BLOCK} lines stand in more than one place",
)
