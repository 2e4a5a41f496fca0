"""Patterns of schemas: regular expressions of RE2, as Go has them, made into those of Python.

Owns what differs between the two: `$` is the end of the text alone, classes are ASCII, POSIX and Unicode classes, and
what RE2 refuses (lookaround, backreferences, possessive and long repetitions), which is refused here too, in its words.
Scripts (`\\p{Greek}`) cannot be had and are refused with a sentence. Pure.
"""

from __future__ import annotations

import functools
import re
import sys
import unicodedata

_PART = re.compile(
    r"\\Q.*?(?:\\E|$)|\\[pP](?:\{\^?\w+\}|\w)|\\.|\[:\^?\w+:\]|\(\?(?:P=|P<|<[=!]?|[=!>#(])?"
    r"|(?:[*+?]|\{\d+,?\d*\})(?:[*+]|\?[*+?]?)?|.",
    re.DOTALL,
)
#: What RE2 does not have -> how it says so: {0} is the part, {1} all from there.
_REFUSED = (
    (re.compile(r"\(\?<[=!]"), "invalid named capture: `{1}`"),
    (re.compile(r"\(\?(?:P=|[=!>#(])"), "invalid or unsupported Perl syntax: `{0}`"),
    (re.compile(r"\\[1-9ZhHRKGkNuUoeX]"), "invalid escape sequence: `{0}`"),
    (re.compile(r"(?:[*+?]|\{.*\})(?:[*+]|\?[*+?])"), "invalid nested repetition operator: `{0}`"),
    (re.compile(r"\{.*(?:[2-9]\d{3}|1[1-9]\d\d|10[1-9]\d|100[1-9]|\d{5}).*"), "invalid repeat count: `{0}`"),
)
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "digit": "0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "blank": "\\t ",
    "cntrl": "\\x00-\\x1f\\x7f",
    "graph": "!-~",
    "print": " -~",
    "space": "\\t-\\r ",
    "punct": "!-/:-@\\[-`{-~",
    "xdigit": "0-9A-Fa-f",
    "ascii": "\\x00-\\x7f",
}
_CATEGORY = re.compile(r"L[ulmto]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?|C[cfos]?")


@functools.lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return a pattern of RE2 as one of Python. Raises re.error, in RE2's words where it is one of its refusals."""
    translated, in_class = [], False
    for match in _PART.finditer(pattern):
        part = match[0]
        if not in_class:
            _refuse(part, pattern[match.start() :])
        translated.append(_translate(part, in_class=in_class))
        in_class = part == "[" or (in_class and part != "]")
    return re.compile("".join(translated), re.ASCII)


def _refuse(part: str, rest: str) -> None:
    for form, words in _REFUSED:
        if form.fullmatch(part):
            raise re.error(f"error parsing regexp: {words.format(part, rest)}")


def _translate(part: str, *, in_class: bool) -> str:
    """Return a part as Python reads it."""
    if part == "\\z" or (part == "$" and not in_class):
        return r"\Z"
    if part == "(?<":
        return "(?P<"
    if part.startswith("\\Q"):
        return re.escape(part[2:].removesuffix("\\E"))
    if part.startswith("[:") and in_class:
        return _complement(_find_posix(part.strip("[:^]"))) if "^" in part else _find_posix(part.strip("[:]"))
    if part.startswith(("\\p", "\\P")):
        is_other = (part[1] == "P") != ("^" in part)
        ranges = _find_category(part[2:].strip("{^}"), is_other=is_other)
        return ranges if in_class else f"[{ranges}]"
    return part


def _find_posix(name: str) -> str:
    if name not in _POSIX:
        raise re.error(f"error parsing regexp: invalid character class range: `[:{name}:]`")
    return _POSIX[name]


def _complement(ranges: str) -> str:
    """Return the ranges of all that is not in a POSIX class."""
    inside = re.compile(f"[{ranges}]")
    return (
        "".join(re.escape(chr(code)) for code in range(128) if not inside.match(chr(code)))
        + f"\x80-{chr(sys.maxunicode)}"
    )


@functools.lru_cache(maxsize=64)
def _find_category(name: str, *, is_other: bool) -> str:
    """Return the ranges of a Unicode category, or of all others."""
    if not _CATEGORY.fullmatch(name):
        raise re.error(
            f"error parsing regexp: invalid character class range: `\\p{{{name}}}`, or one that this server cannot tell"
        )
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)).startswith(name) is is_other:
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
