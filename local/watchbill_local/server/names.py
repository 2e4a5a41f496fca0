"""The syntax of names: DNS label and subdomain, qualified name, label value, in upstream's words.

Owns the rules and their sentences. Each check is pure and returns the sentences that upstream would say about the
text, none when it is well formed; who asks puts them into a cause with the field's path.
"""

from __future__ import annotations

import re
from typing import Literal

NameRule = Literal["subdomain", "label", "path"]
"""Which syntax `metadata.name` of a kind follows."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")

LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
QUALIFIED_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
LABEL_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def check_label(text: str) -> list[str]:
    """Return what is wrong with a DNS label (at most 63 characters), in upstream's order."""
    return _check_form(text, 63, _LABEL, LABEL_RULE)


def check_subdomain(text: str) -> list[str]:
    """Return what is wrong with a DNS subdomain (at most 253 characters)."""
    return _check_form(text, 253, _SUBDOMAIN, SUBDOMAIN_RULE)


def check_label_value(text: str) -> list[str]:
    """Return what is wrong with the value of a label (at most 63 characters, may be empty)."""
    return _check_form(text, 63, _LABEL_VALUE, LABEL_VALUE_RULE)


def check_path_segment(text: str) -> list[str]:
    """Return what is wrong with a name that need only fit into a URL, as those of roles."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{sign}'" for sign in "/%" if sign in text]


def check_qualified_name(text: str) -> list[str]:
    """Return what is wrong with the key of a label, an annotation or a finalizer: `[prefix/]name`."""
    prefix, slash, name = text.partition("/")
    if not slash:
        prefix, name = "", text
    elif "/" in name:
        return [
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. "
            "'example.com/MyName')"
        ]
    found = []
    if slash:
        found += ["prefix part must be non-empty"] if not prefix else _prefixed("prefix part ", check_subdomain(prefix))
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part must be no more than 63 bytes")
    if not _QUALIFIED.fullmatch(name):
        found.append(QUALIFIED_RULE)
    return found


def check_name(text: str, rule: NameRule) -> list[str]:
    """Return what is wrong with `metadata.name` under the rule of its kind."""
    checks = {"label": check_label, "subdomain": check_subdomain, "path": check_path_segment}
    return checks[rule](text)


def _check_form(text: str, longest: int, form: re.Pattern[str], rule: str) -> list[str]:
    found = [f"must be no more than {longest} bytes"] if len(text.encode()) > longest else []
    return found if form.fullmatch(text) else [*found, rule]


def _prefixed(prefix: str, texts: list[str]) -> list[str]:
    return [prefix + text for text in texts]
