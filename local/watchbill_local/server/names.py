"""The syntax of names: DNS label and subdomain, qualified name, label value, in upstream's words.

Owns the rules and their sentences. Each check is pure and returns the sentences that upstream would say about the
text, none when it is well formed; who asks puts them into a cause with the field's path.
"""

from __future__ import annotations

import re
from typing import Literal

NameRule = Literal["subdomain", "label", "path"]
"""Which syntax `metadata.name` of a kind follows."""

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY})?"
_START_AND_END = "must start and end with an alphanumeric character"
_KEY_WORDS = f"must consist of alphanumeric characters, '-', '_' or '.', and {_START_AND_END}"
_KEY_HINT = f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_KEY}')"


def check_label(text: str) -> list[str]:
    """Return what is wrong with a DNS label (at most 63 characters), in upstream's order."""
    found = [] if len(text) <= 63 else ["must be no more than 63 characters"]
    if re.fullmatch(_LABEL, text):
        return found
    if re.fullmatch(_SUBDOMAIN, text):
        return [*found, "must not contain dots"]
    words = (
        f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and {_START_AND_END}"
    )
    return [*found, f"{words} (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"]


def check_subdomain(text: str) -> list[str]:
    """Return what is wrong with a DNS subdomain (at most 253 characters)."""
    found = [] if len(text) <= 253 else ["must be no more than 253 characters"]
    if re.fullmatch(_SUBDOMAIN, text):
        return found
    words = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and"
    return [*found, f"{words} {_START_AND_END} (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"]


def check_dns1035(text: str) -> list[str]:
    """Return what is wrong with a label that begins with a letter, as plurals, kinds and versions of CRDs."""
    form = "[a-z]([-a-z0-9]*[a-z0-9])?"
    found = [] if len(text) <= 63 else ["must be no more than 63 characters"]
    if re.fullmatch(form, text):
        return found
    words = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic"
    hint = f"(e.g. 'my-name',  or 'abc-123', regex used for validation is '{form}')"
    return [*found, f"{words} character, and end with an alphanumeric character {hint}"]


def check_label_value(text: str) -> list[str]:
    """Return what is wrong with the value of a label (at most 63 bytes, may be empty)."""
    found = [] if len(text.encode()) <= 63 else ["must be no more than 63 bytes"]
    if re.fullmatch(_VALUE, text):
        return found
    words = f"a valid label must be an empty string or {_KEY_WORDS.removeprefix('must ')}"
    return [*found, f"{words} (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_VALUE}')"]


def check_qualified_name(text: str) -> list[str]:
    """Return what is wrong with the key of a label, an annotation or a finalizer: `[prefix/]name`."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        hint = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a valid label key {_KEY_WORDS} {_KEY_HINT} {hint}"]
    found = []
    if slash:
        problems = check_subdomain(prefix) if prefix else ["must be non-empty"]
        found = [f"prefix part {problem}".replace("253 characters", "253 bytes") for problem in problems]
    if not name:
        found.append("name part must be non-empty")
    elif len(name.encode()) > 63:
        found.append("name part must be no more than 63 bytes")
    return found if re.fullmatch(_KEY, name) else [*found, f"name part {_KEY_WORDS} {_KEY_HINT}"]


def check_data_key(text: str) -> list[str]:
    """Return what is wrong with a key in the data of a config map or secret, which may become a file's name."""
    form = "[-._a-zA-Z0-9]+"
    found = [] if len(text) <= 253 else ["must be no more than 253 characters"]
    if not re.fullmatch(form, text):
        words = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        hint = f"(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '{form}')"
        found.append(f"{words} {hint}")
    if text.startswith(".."):
        found.append(f"must not be '{text}'" if text == ".." else "must not start with '..'")
    return [*found, "must not be '.'"] if text == "." else found


def check_path_segment(text: str) -> list[str]:
    """Return what is wrong with a name that need only fit into a URL, as those of roles."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{sign}'" for sign in "/%" if sign in text]


def check_name(text: str, rule: NameRule) -> list[str]:
    """Return what is wrong with `metadata.name` under the rule of its kind."""
    checks = {"label": check_label, "subdomain": check_subdomain, "path": check_path_segment}
    return checks[rule](text)
