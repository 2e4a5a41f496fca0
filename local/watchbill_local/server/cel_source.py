"""The text of a CEL rule, made ready for the engine.

Owns what Kubernetes has in CEL and the engine's parser has not: optional members (`self.?a`, `self[?0]`), macros of two
variables, and functions beyond the engine's own, which get a `_` before their name so that none of the engine's stands
before them. Finds functions that nobody knows and members that the schema does not have, and says so as cel-go does.
Pure: text to text.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from watchbill_local.server.cel_values import escape_name
from watchbill_local.server.values import Obj, load_table

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)|[bB]?[rR][bB]?(?:"[^"]*"|'[^']*')|[bB]?(?:\"{3}.*?\"{3}|'{3}.*?'{3})"""
    r"""|[bB]?(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<name>[A-Za-z_]\w*)|\d+\.\d+(?:[eE][+-]?\d+)?|\d\w*"""
    r"""|\.\?|\[\?|&&|\|\||[=!<>]=|.""",
    re.DOTALL,
)
_CLOSING = {"(": ")", "[": "]", "[?": "]", "{": "}"}
_NAMESPACES = ("sets", "strings", "lists", "base64", "format", "optional")
_ENGINE = frozenset(load_table("cel.json")["engine"])
_EACH = "_entries ( ) . {} ( {{e}} , {{0}} )"
#: (macro, its arguments) -> (its variables, what is put in its place: {e} stands for an entry, {0} for an argument).
_MACROS = {
    **{(name, 3): (2, _EACH.format(name)) for name in ("all", "exists")},
    **{(name, 3): (2, _EACH.format("exists_one")) for name in ("exists_one", "existsOne")},
    ("transformList", 3): (2, _EACH.format("map")),
    ("transformList", 4): (2, "_entries ( ) . map ( {e} , {0} , {1} )"),
    ("transformMap", 3): (2, "_entries ( ) . map ( {e} , [ {e} [ 0 ] , {0} ] ) . _fromEntries ( )"),
    ("transformMap", 4): (2, "_entries ( ) . map ( {e} , {0} , [ {e} [ 0 ] , {1} ] ) . _fromEntries ( )"),
    ("optMap", 2): (1, "_list ( ) . map ( {e} , {0} ) . _first ( )"),
    **{(name, 1): (0, f"_inZone ( {{0}} ) . {name} ( )") for name in _ENGINE if name.startswith("get")},
}
_AT_ROOT: Obj = {
    "apiVersion": {},
    "kind": {},
    "metadata": {"type": "object", "properties": {"name": {}, "generateName": {}}},
}
_BINDING = ("all", "exists", "exists_one", "existsOne", "map", "filter")


class _Token(NamedTuple):
    text: str
    start: int
    is_name: bool


@dataclass(frozen=True)
class _Group:
    """What stands in brackets, by its commas."""

    opening: str
    start: int
    parts: list[list[_Token | _Group]]

    @property
    def variables(self) -> list[str]:
        """The parts that are a name and no more; of another part an empty text."""
        alone = [part[0] if len(part) == 1 else None for part in self.parts]
        return [each.text if isinstance(each, _Token) and each.is_name else "" for each in alone]


_Node = _Token | _Group


@dataclass
class Translator:
    """Translates one rule. `translate` raises ValueError, in cel-go's words, for what nobody knows."""

    source: str
    functions: Collection[str]  #: those that this server adds to the engine's
    schema: Obj | None = None  #: that of self, if its members are to be checked
    is_root: bool = False  #: self is the whole object
    _at: int | None = None  #: where the brackets of has() open: there cel-go sees a missing member

    def translate(self) -> str:
        """Return the text for the engine; one that has no end or beginning is left to the engine's parser."""
        found = [match for match in _TOKEN.finditer(self.source) if match["space"] is None]
        tokens = [_Token(match[0], match.start(), match["name"] is not None) for match in found]
        parts, rest = _read_parts(tokens, 0, "")
        return self.source if rest != len(tokens) else " , ".join(self._write(part, {}) for part in parts)

    def _write(self, nodes: list[_Node], names: dict[str, str]) -> str:
        """Return nodes as text; `names` tells what variables are called there."""
        out: list[str] = []
        place, is_value, is_optional = 0, False, False  # the last two: of what stands before
        while place < len(nodes):
            node, name, group = nodes[place], _name_at(nodes, place + 1), _call_at(nodes, place + 2)
            text, taken = node.text if isinstance(node, _Token) else node.opening, 1
            if text in (".", ".?") and name and group and is_value:
                out += [".", self._write_call(name, group, names)]
                taken, is_optional = 3, False
            elif text in (".", ".?") and name and is_value:
                is_optional = is_optional or text == ".?"
                out.append(f'. _opt ( "{name}" )' if is_optional else f". {name}")
                taken = 2
            elif isinstance(node, _Group):
                is_optional = is_value and (text == "[?" or (text == "[" and is_optional))
                inner = " , ".join(self._write(part, names) for part in node.parts)
                out.append(f". _opt ( {inner} )" if is_optional else f"{text} {inner} {_CLOSING[text]}")
                is_value = True
            else:
                written, taken = self._write_token(nodes, place, names)
                out.append(written)
                is_value, is_optional = (node.is_name and text != "in") or text[0] in "\"'0123456789", False
            place += taken
        return " ".join(out)

    def _write_token(self, nodes: list[_Node], place: int, names: dict[str, str]) -> tuple[str, int]:
        """Return what begins at a token that continues nothing, and how many nodes that took."""
        node = nodes[place]
        assert isinstance(node, _Token)
        if not node.is_name:
            return node.text, 1
        if group := _call_at(nodes, place + 1):
            return self._write_call(node.text, group, names), 2
        member, group = _name_at(nodes, place + 2), _call_at(nodes, place + 3)
        if node.text in _NAMESPACES and member and group:
            return self._write_call(f"{node.text}.{member}", group, names), 4
        if node.text in ("self", "oldSelf") and self.schema is not None and node.text not in names:
            self._check_members(nodes, place + 1)
        return names.get(node.text, node.text), 1

    def _write_call(self, name: str, group: _Group, names: dict[str, str]) -> str:
        """Return a call of a function or macro."""
        variables, each = group.variables, f"_e{group.start}"
        count, template = _MACROS.get((name, len(group.parts)), (0, ""))
        if template and all(variables[:count]):
            own = {variable: f"{each} [ {index} ]" if count > 1 else each for index, variable in enumerate(variables)}
            inner = names | dict(list(own.items())[:count])
            return template.format(*(self._write(part, inner) for part in group.parts[count:]), e=each)
        if name in _BINDING and variables[:1] != [""]:
            names = {key: text for key, text in names.items() if key != variables[0]} | {variables[0]: variables[0]}
        if name not in _ENGINE and name not in self.functions:
            raise self._error(group.start, f"undeclared reference to '{name.rpartition('.')[2]}' (in container '')")
        self._at = group.start if name == "has" else None
        inner_text = " , ".join(self._write(part, names) for part in group.parts)
        self._at = None
        return f"{'_' + name.replace('.', '__') if name in self.functions else name} ( {inner_text} )"

    def _check_members(self, nodes: list[_Node], place: int) -> None:
        """Refuse a member of self that its schema does not have."""
        schema, is_root = self.schema or {}, self.is_root
        while (name := _name_at(nodes, place + 1)) and not _call_at(nodes, place + 2):
            if schema.get("type") != "object" or schema.get("additionalProperties"):
                return
            members = {escape_name(key): below for key, below in (schema.get("properties") or {}).items()}
            members = members | (_AT_ROOT if is_root else {})
            dot = nodes[place]
            if name not in members and isinstance(dot, _Token) and dot.text in (".", ".?"):
                raise self._error(dot.start if self._at is None else self._at, f"undefined field '{name}'")
            schema, is_root, place = members.get(name) or {}, False, place + 2

    def _error(self, start: int, what: str) -> ValueError:
        line, column = self.source.count("\n", 0, start), start - self.source.rfind("\n", 0, start)
        text = self.source.split("\n")[line]
        return ValueError(f"ERROR: <input>:{line + 1}:{column}: {what}\n | {text}\n | {'.' * (column - 1)}^")


def _read_parts(tokens: list[_Token], place: int, closing: str) -> tuple[list[list[_Node]], int]:
    """Return what stands up to a closing bracket, by its commas, and the place after the bracket."""
    parts: list[list[_Node]] = [[]]
    while place < len(tokens):
        token = tokens[place]
        place += 1
        if token.text in _CLOSING:
            inner, place = _read_parts(tokens, place, _CLOSING[token.text])
            parts[-1].append(_Group(token.text, token.start, inner))
        elif token.text in _CLOSING.values():
            return ([] if parts == [[]] else parts), place if token.text == closing else len(tokens) + 1
        elif token.text == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts, len(tokens) + 1 if closing else place


def _name_at(nodes: list[_Node], place: int) -> str:
    node = nodes[place] if place < len(nodes) else None
    return node.text if isinstance(node, _Token) and node.is_name else ""


def _call_at(nodes: list[_Node], place: int) -> _Group | None:
    node = nodes[place] if place < len(nodes) else None
    return node if isinstance(node, _Group) and node.opening == "(" else None
