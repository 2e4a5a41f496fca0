"""Scripts that search a folder: what is in it, what it defines, what its authors left open.

Owns three sessions that read alone. Every figure in what they say was counted by the tools in that session.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import PurePosixPath

from watchbill_local.model.conversation import Conversation, Result
from watchbill_local.model.script import Script, Turn, use
from watchbill_local.model.sse import Block

LISTED = 150  #: files that one listing shows: more would not fit into a tool's answer
PAGES = 6  #: listings of one count
SHOWN = 3
DEFINITION = r"^\s*(export |pub |async |public |static )*(def|class|func|function|fn|interface|struct|trait|enum) +\w"
MARKERS = ("TODO", "FIXME", "XXX", "HACK")
_TOTAL = re.compile(r"Found (\d+) total occurrences? across (\d+) files?")
_COUNTED = re.compile(r"^(.+):(\d+)$")

Part = Generator[Turn, tuple[Result, ...], None]


def play_overview(conversation: Conversation) -> Script:
    """How many files and lines of which kinds, the largest ones, and what the folder says of itself."""
    root = find_folder(conversation)
    if not root:
        return _no_folder()
    files, of, lines = yield from count("^", root, "I count files and lines first.")
    if not files:
        return "0 files, 0 lines of text: the folder holds none."
    about = _find_about(files)
    yield from report(conversation, f"{number(of, 'file')} counted, reading {_short(about, root)}", 50)
    (read,) = yield Turn(
        f"{number(of, 'file')} with {number(lines, 'line')}. {_short(about, root)} should say what this is.",
        (use("Read", file_path=about, limit=40),),
    )
    kinds = Counter(PurePosixPath(path).suffix or "(none)" for path in files)
    often = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common(SHOWN + 1))
    largest = sorted(files, key=lambda path: -files[path])[:SHOWN]
    return "\n".join(
        [
            f"{number(of, 'file')}, {number(lines, 'line')} of text; mostly {often}.",
            "",
            f"- What it says of itself: {_heading(read)}",
            f"- Largest: {_listed(largest, files, root)}",
            *_bounds(of, files),
        ]
    )


def play_definitions(conversation: Conversation) -> Script:
    """Where functions and types are defined, most first."""
    root = find_folder(conversation)
    if not root:
        return _no_folder()
    files, of, total = yield from count(DEFINITION, root, "I look where functions and types are defined.")
    if not files:
        return "0 definitions in 0 files: nothing there is in a language that I know."
    first, *others = sorted(files, key=lambda path: -files[path])[:SHOWN]
    yield from report(conversation, f"{number(total, 'definition')} in {number(of, 'file')}", 60)
    (read,) = yield Turn(
        f"{number(total, 'definition')} in {number(of, 'file')}, most in {_short(first, root)}. I look into it.",
        (use("Read", file_path=first, limit=60),),
    )
    return "\n".join(
        [
            f"{number(total, 'definition')} of functions and types in {number(of, 'file')}.",
            "",
            f"- Most: {_listed([first, *others], files, root)}",
            f"- {_short(first, root)} begins with: {_heading(read)}",
            *_bounds(of, files),
        ]
    )


def play_markers(conversation: Conversation) -> Script:
    """What authors marked as open, by word, and the first of it in its place."""
    root = find_folder(conversation)
    if not root:
        return _no_folder()
    pattern = rf"\b({'|'.join(MARKERS)})\b"
    seen = use("Grep", pattern=pattern, path=root, output_mode="content", head_limit=LISTED, **{"-n": True})
    counted, found = yield Turn("I search for what authors marked as open.", (_count(pattern, root), seen))
    hits = [hit for line in found.lines if (hit := re.match(r"^(/.+?):(\d+):(.*)$", line))]
    if not hits:
        return f"0 lines are marked {', '.join(MARKERS[:-1])} or {MARKERS[-1]}."
    of, total = parse_total(counted)
    path, line = hits[0][1], int(hits[0][2])
    yield from report(conversation, f"{number(total, 'mark')} in {number(of, 'file')}", 60)
    (read,) = yield Turn(
        f"{number(total, 'line')} in {number(of, 'file')}. I read the first one in its place.",
        (use("Read", file_path=path, offset=max(1, line - 3), limit=8),),
    )
    words = Counter(word for hit in hits for word in re.findall(pattern, hit[3]))
    often = ", ".join(f"{times} {word}" for word, times in words.most_common())
    return "\n".join(
        [
            f"{number(total, 'marked line')} in {number(of, 'file')}: {often}.",
            "",
            f"- First: {_short(path, root)}:{line} `{hits[0][3].strip()[:100]}`",
            f"- Around it stand {len(read.lines)} lines, which I read.",
            *_bounds(of, {hit[1]: 1 for hit in hits}),
        ]
    )


def find_folder(conversation: Conversation) -> str:
    """The folder to work on: the first path that the prompt gives to read; empty where there is none."""
    named = (mention.path for mention in conversation.mentions if re.search(r"to read|context", mention.words))
    return next(named, "")


def report(conversation: Conversation, said: str, percent: int) -> Part:
    """Say how far the work is, where there is a tool for that."""
    if name := conversation.find_tool("report_progress"):
        yield Turn("", (use(name, text=said, percent=percent),))


def count(pattern: str, root: str, says: str) -> Generator[Turn, tuple[Result, ...], tuple[dict[str, int], int, int]]:
    """Count a pattern: the files that are listed, each with its number; how many files there are; how many hits."""
    (first,) = yield Turn(says, (_count(pattern, root),))
    files = parse_counts(first)
    of, total = parse_total(first)
    pages = range(LISTED, min(of, LISTED * PAGES), LISTED)
    if pages:
        said = f"{number(of, 'file')}, more than one listing shows. I list the others too."
        for page in (yield Turn(said, tuple(_count(pattern, root, offset) for offset in pages))):
            files |= parse_counts(page)
    return files, of, total


def number(count: int, noun: str) -> str:
    """`1 file`, `1,200 files`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def parse_counts(result: Result) -> dict[str, int]:
    """The files that a count lists, each with its number."""
    found = (_COUNTED.match(line) for line in result.lines)
    return {match[1]: int(match[2]) for match in found if match}


def parse_total(result: Result) -> tuple[int, int]:
    """Number of files and of occurrences that a count found, those included that it does not list."""
    found = _TOTAL.search(result.text)
    listed = parse_counts(result)
    return (int(found[2]), int(found[1])) if found else (len(listed), sum(listed.values()))


def _count(pattern: str, root: str, offset: int = 0) -> Block:
    return use("Grep", pattern=pattern, path=root, output_mode="count", head_limit=LISTED, offset=offset)


def _find_about(files: dict[str, int]) -> str:
    """The file that most likely says what all of it is: the README nearest to the root, else the largest file."""
    named = [path for path in files if PurePosixPath(path).name.lower().startswith("readme")]
    return min(named, key=lambda path: path.count("/")) if named else max(files, key=lambda path: files[path])


def _heading(read: Result) -> str:
    """The first line of a file that says something, without its number and marks."""
    lines = (re.sub(r"^\s*\d+\t", "", line).strip().strip('#"*/ ') for line in read.lines)
    return next((line[:100] for line in lines if any(map(str.isalpha, line))), "nothing")


def _listed(paths: Sequence[str], files: dict[str, int], root: str) -> str:
    return ", ".join(f"{_short(path, root)} ({files[path]})" for path in paths)


def _bounds(of: int, files: dict[str, int]) -> list[str]:
    return [f"- Kinds and names come from {len(files)} of the {of} files."] if len(files) < of else []


def _short(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/") or path


def _no_folder() -> str:
    return "The prompt names no folder, so there is nothing that I could search."
