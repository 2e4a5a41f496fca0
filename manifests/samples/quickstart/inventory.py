"""Blue: how many files, lines and bytes there are, by kind of file."""

from __future__ import annotations

from collections import Counter

import tree

root = tree.argument()
count, lines, size = Counter[str](), Counter[str](), 0
for path in tree.files(root):
    data = path.read_bytes()
    kind = path.suffix or path.name
    count[kind] += 1
    lines[kind] += data.count(b"\n")
    size += len(data)
total = sum(count.values())
tree.write(
    {
        "files": total,
        "lines": sum(lines.values()),
        "bytes": size,
        "by_kind": {kind: {"files": n, "lines": lines[kind]} for kind, n in sorted(count.items())},
    },
    f"{total} files, {sum(lines.values())} lines, {size} bytes",
)
