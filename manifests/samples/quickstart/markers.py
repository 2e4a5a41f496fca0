"""Blue: lines with a marker of unfinished work, and excepts that catch everything."""

from __future__ import annotations

import ast
import re

import tree

MARKER = re.compile(r"\b(TODO|FIXME|XXX)\b", re.ASCII)
root = tree.argument()
marked: list[str] = []
for path in tree.files(root):
    text = tree.text_of(path)
    for number, line in enumerate((text or "").split("\n"), 1):
        if MARKER.search(line):
            marked.append(f"{path.relative_to(root)}:{number}")
broad: list[str] = []
for name, module in tree.python_trees(root):
    for node in ast.walk(module):
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")):
            broad.append(f"{name}:{node.lineno}")
tree.write(
    {
        "markers": len(marked),
        "broad_excepts": len(broad),
        "where": {"markers": marked[:50], "broad_excepts": sorted(broad)[:50]},
    },
    f"{len(marked)} lines with TODO, FIXME or XXX; {len(broad)} broad excepts",
)
