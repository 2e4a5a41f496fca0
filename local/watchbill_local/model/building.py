"""A script that builds: writes a small program with its test, sees the test fail, mends it, and runs it for real.

Owns one session with an honest mistake in it. What it says about the test is what the test said.
"""

from __future__ import annotations

import re
import shlex

from watchbill_local.model.conversation import Conversation, Mention, Result
from watchbill_local.model.script import Script, Turn, use
from watchbill_local.model.searching import find_folder, number, report

PROGRAM, TEST = "tally.py", "test_tally.py"
MISTAKE = 'path.rsplit(".", 1)[-1]'
MENDED = 'os.path.splitext(path)[1].lstrip(".") or "(none)"'
SOURCE = f'''"""Count the files and bytes below a folder by the ending of their names."""

import collections
import os
import sys


def ending(path):
    """The ending of a file's name."""
    return {MISTAKE}


def tally(root):
    """Files and bytes by ending."""
    found = collections.defaultdict(lambda: [0, 0])
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                found[ending(name)][0] += 1
                found[ending(name)][1] += os.path.getsize(path)
    return dict(found)


if __name__ == "__main__":
    rows = sorted(tally(sys.argv[1]).items(), key=lambda row: -row[1][0])
    for kind, (files, size) in rows:
        print(f"{{kind:12}} {{files:6}} files {{size:12,}} bytes")
    print(f"total {{sum(row[1][0] for row in rows)}} files")
'''
CHECK = """import os
import tempfile
import unittest

import tally


class Tally(unittest.TestCase):
    def test_an_ending_is_what_follows_the_last_dot(self):
        self.assertEqual(tally.ending("archive.tar.gz"), "gz")

    def test_a_name_without_a_dot_has_no_ending(self):
        self.assertEqual(tally.ending("Makefile"), "(none)")

    def test_files_are_counted_with_their_bytes(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "a.txt"), "w") as stream:
                stream.write("four")
            self.assertEqual(tally.tally(folder), {"txt": [1, 4]})


if __name__ == "__main__":
    unittest.main()
"""
_FAILURE = re.compile(r"^(?:AssertionError|\w*Error): (.+)$", re.MULTILINE)
_TOTAL = re.compile(r"^total (\d+) files$", re.MULTILINE)


def play_tally(conversation: Conversation) -> Script:
    """Read what others found, write program and test, run, mend, run again, and count the real folder."""
    root = find_folder(conversation)
    before = _find_answers(conversation.mentions)
    if before:
        read = yield Turn(
            f"{len(before)} tasks before mine left their answers. I read them first.",
            tuple(use("Read", file_path=path) for path in before),
        )
    else:
        read = ()
    yield Turn(
        f"{_said(read)}I write the program and a test for it.",
        (use("Write", file_path=PROGRAM, content=SOURCE), use("Write", file_path=TEST, content=CHECK)),
    )
    (first,) = yield Turn("Now the test.", (_run(f"python3 -m unittest {TEST.removesuffix('.py')}"),))
    if not _is_green(first):
        yield from report(conversation, f"one test fails: {_why(first)}", 60)
        yield Turn(
            f"It fails: {_why(first)}. A name without a dot has no ending; I mend that.",
            (use("Edit", file_path=PROGRAM, old_string=MISTAKE, new_string=MENDED),),
        )
    line = f"python3 -m unittest {TEST.removesuffix('.py')} 2>&1 && mkdir -p result && cp {PROGRAM} {TEST} result/"
    line += f" && python3 {PROGRAM} {shlex.quote(root or '.')} | tee result/tally.txt"
    (second,) = yield Turn("Again, and if it is green, the real folder.", (_run(line),))
    if not _is_green(second):
        return f"The test still fails: {_why(second)}. I could not finish."
    total = _TOTAL.search(second.text)
    story = "is green" if _is_green(first) else "failed once, was right, and is green now"
    rows = [line for line in second.lines if re.match(r"^\S+ +\d+ files", line)]
    return "\n".join(
        [
            f"{PROGRAM} counts {number(int(total[1]), 'file') if total else 'nothing'}; its test {story}.",
            "",
            *(f"    {row}" for row in rows[:5]),
            "",
            *([] if _is_green(first) else [f"- The mistake: {_why(first)}"]),
            f"- {PROGRAM}, {TEST} and tally.txt are in the result.",
        ]
    )


def _find_answers(mentions: list[Mention]) -> list[str]:
    """The answers of the tasks before this one: paths that the prompt calls results."""
    found = [mention.path for mention in mentions if "result of" in mention.words]
    return [path if path.endswith(".md") else f"{path}/answer.md" for path in found]


def _said(read: tuple[Result, ...]) -> str:
    good = [result.lines[0].split("\t")[-1] for result in read if result.lines and not result.is_error]
    return f"They say: {' / '.join(line[:70] for line in good[:2])} " if good else ""


def _run(line: str) -> dict[str, object]:
    return use("Bash", command=line, description="Run the test")


def _is_green(result: Result) -> bool:
    return not result.is_error and "FAILED" not in result.text


def _why(result: Result) -> str:
    found = _FAILURE.search(result.text)
    return found[1].strip()[:120] if found else (result.lines or ["it said nothing"])[0][:120]
