"""Patterns of RE2 in Python: what matches, and what RE2 refuses."""

from __future__ import annotations

import re

import pytest

from watchbill_local.server.schema_patterns import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("^[[:alpha:]]+$", "ab", True),
        ("^[[:alpha:]_]+$", "a1", False),
        ("^[[:^alpha:]]$", "é", True),
        (r"^\p{L}+$", "é", True),
        (r"^[\pN_]+$", "٣_", True),
        (r"^\P{Lu}$", "A", False),
        ("^a$", "a\n", False),
        (r"^a\z", "a", True),
        (r"^\d$", "٣", False),
        ("(?<x>a)b", "ab", True),
        (r"^\Qa.b\E$", "a.b", True),
        (r"^\Qa.b\E$", "axb", False),
        ("^a+?$", "aa", True),
        ("^[$(?=]+$", "$(?=", True),
        ("^a{1000}$", "a" * 1000, True),
    ],
)
def test_a_pattern_matches_as_in_go(pattern: str, text: str, is_match: bool) -> None:
    """Classes, the end of the text, names of groups, quoted parts."""
    assert (compile_pattern(pattern).search(text) is not None) is is_match


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("^(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?<=a)b", "invalid named capture: `(?<=a)b`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
        (r"a\Z", r"invalid escape sequence: `\Z`"),
        ("^a{1001}$", "invalid repeat count: `{1001}`"),
        ("^a{2,70000}$", "invalid repeat count: `{2,70000}`"),
        ("a++", "invalid nested repetition operator: `++`"),
        ("a+?*", "invalid nested repetition operator: `+?*`"),
        ("[[:nope:]]", "invalid character class range: `[:nope:]`"),
        (r"\p{Greek}", "invalid character class range: `\\p{Greek}`, or one that this server cannot tell"),
        ("[a", "unterminated character set"),
    ],
)
def test_what_re2_does_not_have_is_refused(pattern: str, why: str) -> None:
    """In its words: such a pattern would never be stored on a cluster."""
    with pytest.raises(re.error) as refusal:
        compile_pattern(pattern)

    assert why in str(refusal.value)
