"""Blue: the longest functions of the Python files, by the syntax tree."""

from __future__ import annotations

import ast

import tree

found: list[tuple[int, str]] = []
for name, module in tree.python_trees(tree.argument()):
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            found.append((length, f"{name}:{node.lineno} {node.name}"))
found.sort(key=lambda item: (-item[0], item[1]))
longest = found[0] if found else (0, "none")
tree.write(
    {
        "functions": len(found),
        "lines_in_functions": sum(length for length, _ in found),
        "longest": [{"lines": length, "where": where} for length, where in found[:10]],
    },
    f"{len(found)} functions; the longest has {longest[0]} lines: {longest[1]}",
)
