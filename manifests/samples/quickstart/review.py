"""Red: counts every figure of the reports again, by other means, and fails if one differs.

The searches read the syntax tree; this reads tokens, and walks the tree of files in its own way. Shares no code with
them.
"""

from __future__ import annotations

import ast
import io
import json
import os
import pathlib
import string
import sys
import token
import tokenize
from collections.abc import Iterator

WORD = set(string.ascii_letters + string.digits + "_")
QUIET = (token.NL, token.COMMENT, token.INDENT, token.DEDENT, token.NEWLINE)


def walk(root: str) -> Iterator[str]:
    """Every regular file."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def words(line: str) -> list[str]:
    """The line cut at everything that is no ASCII word character."""
    return "".join(c if c in WORD else " " for c in line).split()


def tokens_of(text: str) -> list[tokenize.TokenInfo] | None:
    """Tokens of a Python file, or None where it does not parse."""
    try:
        ast.parse(text)
        return list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, ValueError, tokenize.TokenError):
        return None


def starts(tokens: list[tokenize.TokenInfo]) -> Iterator[int]:
    """Indexes of tokens that begin a statement."""
    fresh, depth = True, 0
    for index, item in enumerate(tokens):
        if item.type in (token.NL, token.COMMENT, token.INDENT, token.DEDENT):
            continue
        if fresh and item.type == token.NAME:
            yield index
        depth += (item.string in "([{") - (item.string in ")]}") if item.type == token.OP else 0
        fresh = item.type == token.NEWLINE or (item.type == token.OP and depth == 0 and item.string in (";", ":"))
        fresh = fresh or item.type == token.ENCODING


def end_of_function(tokens: list[tokenize.TokenInfo], index: int) -> int:
    """Last line of the function whose `def` stands at `index`."""
    depth, last, indented = 0, tokens[index].start[0], False
    for position in range(index, len(tokens)):
        item = tokens[position]
        depth += (item.type == token.INDENT) - (item.type == token.DEDENT)
        indented = indented or item.type == token.INDENT
        is_one_liner = item.type == token.NEWLINE and not indented and not _opens_block(tokens, position)
        if is_one_liner or (indented and depth <= 0):
            return last
        if item.type not in QUIET:
            last = item.end[0]
    return last


def _opens_block(tokens: list[tokenize.TokenInfo], position: int) -> bool:
    """Whether an indented block follows this end of line."""
    for item in tokens[position + 1 :]:
        if item.type not in (token.NL, token.COMMENT):
            return item.type == token.INDENT
    return False


def is_broad(tokens: list[tokenize.TokenInfo], index: int) -> bool:
    """Whether the `except` at `index` names nothing, Exception or BaseException."""
    rest = []
    for item in tokens[index + 1 :]:
        if item.string == ":" or (item.type == token.NAME and item.string == "as"):
            break
        if item.string not in ("*", "(", ")") and item.type not in (token.NL, token.COMMENT):
            rest.append(item.string)
    return rest in ([], ["Exception"], ["BaseException"])


def count(root: str) -> dict[str, dict[str, int]]:
    """All figures again."""
    size = {"files": 0, "lines": 0, "bytes": 0}
    functions = {"functions": 0, "lines_in_functions": 0}
    imports = {"statements": 0}
    marks = {"markers": 0, "broad_excepts": 0}
    blocks: dict[tuple[str, ...], int] = {}
    for path in walk(root):
        with open(path, "rb") as stream:
            data = stream.read()
        size["files"] += 1
        size["lines"] += sum(1 for byte in data if byte == 10)
        size["bytes"] += len(data)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            continue
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        marks["markers"] += sum(1 for line in text.split("\n") if {"TODO", "FIXME", "XXX"} & set(words(line)))
        if not path.endswith(".py"):
            continue
        dense = [line.strip() for line in text.split("\n") if line.strip()]
        for block in zip(*(dense[n:] for n in range(6)), strict=False):
            blocks[block] = blocks.get(block, 0) + 1
        tokens = tokens_of(text)
        if tokens is None:
            continue
        for index in starts(tokens):
            word = tokens[index].string
            imports["statements"] += word in ("import", "from")
            marks["broad_excepts"] += word == "except" and is_broad(tokens, index)
            at = index + 1 if word == "async" else index
            if tokens[at].string == "def":
                functions["functions"] += 1
                functions["lines_in_functions"] += end_of_function(tokens, at) - tokens[at].start[0] + 1
    repeated = {"blocks": len(blocks), "repeated": sum(1 for n in blocks.values() if n > 1)}
    return {"inventory": size, "functions": functions, "imports": imports, "markers": marks, "duplicates": repeated}


def claims() -> Iterator[tuple[str, str, str, int]]:
    """Report, part, member and value of every figure in the reports."""
    for name, folder in json.loads(os.environ["WATCHBILL_DEPENDENCIES"]).items():
        claimed = json.loads((pathlib.Path(folder) / "figures.json").read_text())
        for part, figures in claimed.items():
            yield from ((name, part, member, value) for member, value in figures.items())


def main() -> int:
    """Compare, say what differs, and fail if anything does."""
    again = count(sys.argv[1])
    checked, wrong = 0, []
    for name, part, member, value in claims():
        mine = again[part].get(member)
        checked += mine is not None
        if mine is not None and mine != value:
            wrong.append(f"{name}: {part}.{member} is {value} in the report and {mine} by this count")
    if wrong or not checked:
        print("\n".join(wrong) or "the reports hold no figure to check", file=sys.stderr)
        return 1
    print(f"{checked} figures counted again, all equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
