"""Blue: which module imports which, by the syntax tree."""

from __future__ import annotations

import ast
from collections import Counter

import tree

statements = 0
imported = Counter[str]()
graph: dict[str, list[str]] = {}
for name, module in tree.python_trees(tree.argument()):
    targets: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            statements += 1
            targets.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            statements += 1
            targets.add("." * node.level + (node.module or ""))
    graph[name] = sorted(targets)
    imported.update(targets)
edges = sum(len(targets) for targets in graph.values())
most = imported.most_common(1)
tree.write(
    {
        "statements": statements,
        "edges": edges,
        "most_imported": dict(sorted(imported.items(), key=lambda i: (-i[1], i[0]))[:10]),
        "graph": graph,
    },
    f"{statements} import statements, {edges} edges" + (f"; most imported: {most[0][0]}" if most else ""),
)
