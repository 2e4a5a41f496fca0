"""The syntax of names: DNS label and subdomain, qualified name, label value, in upstream's words.

Owns the rules; their forms and sentences are the table syntaxes.json. Each check is pure and returns the sentences that
upstream would say about the text, none when it is well formed; who asks puts them into a cause with the field's path.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

#: Which syntax `metadata.name` of a kind follows.
NameRule = Literal["subdomain", "label", "path"]

_SYNTAXES: dict[str, Any] = json.loads(Path(__file__).with_name("syntaxes.json").read_text())


def check_label(text: str) -> list[str]:
    """Return what is wrong with a DNS label (at most 63 characters), in upstream's order."""
    found = _check(text, "label")
    is_subdomain = bool(found) and re.fullmatch(_SYNTAXES["subdomain"]["form"], text) is not None
    return [*found[:-1], "must not contain dots"] if is_subdomain and "." in text else found


def check_subdomain(text: str) -> list[str]:
    """Return what is wrong with a DNS subdomain (at most 253 characters)."""
    return _check(text, "subdomain")


def check_dns1035(text: str) -> list[str]:
    """Return what is wrong with a label that begins with a letter, as plurals, kinds and versions of CRDs."""
    return _check(text, "dns1035")


def check_label_value(text: str) -> list[str]:
    """Return what is wrong with the value of a label (at most 63 bytes, may be empty)."""
    return _check(text, "label value")


def check_qualified_name(text: str) -> list[str]:
    """Return what is wrong with the key of a label, an annotation or a finalizer: `[prefix/]name`."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        hint = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a valid label key {each} {hint}" for each in _check("/", "key")]
    problems = (check_subdomain(prefix) if prefix else ["must be non-empty"]) if slash else []
    found = [f"prefix part {problem}".replace("253 characters", "253 bytes") for problem in problems]
    empty = [] if name else ["name part must be non-empty"]
    return found + empty + [f"name part {problem}" for problem in _check(name, "key")]


def check_data_key(text: str) -> list[str]:
    """Return what is wrong with a key in the data of a config map or secret, which may become a file's name."""
    found = _check(text, "data key")
    if text in (".", ".."):
        return [*found, f"must not be '{text}'"]
    return [*found, "must not start with '..'"] if text.startswith("..") else found


def check_name(text: str, rule: NameRule) -> list[str]:
    """Return what is wrong with `metadata.name` under the rule of its kind; a `path` need only fit into a URL."""
    if rule != "path":
        return check_label(text) if rule == "label" else check_subdomain(text)
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{sign}'" for sign in "/%" if sign in text]


def _check(text: str, name: str) -> list[str]:
    """Return what a syntax says about a text: that it is too long (Go counts bytes), that its form is wrong."""
    syntax = _SYNTAXES[name]
    is_long = len(text.encode()) > syntax["longest"]
    found = [f"must be no more than {syntax['longest']} {syntax['unit']}"] if is_long else []
    return found if re.fullmatch(syntax["form"], text) else [*found, syntax["words"].format(form=syntax["form"])]
