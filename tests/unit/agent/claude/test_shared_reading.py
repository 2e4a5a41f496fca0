"""Reading below shared-context: parts of files, folders, and what must not be read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.volume import TRAPS
from watchbill_agent.claude.arguments import ToolError
from watchbill_agent.claude.shared_reading import Binary, Listing, Part, parse_path, read

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=300)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A shared-context."""
    folder = tmp_path / "shared-context"
    (folder / "results" / "u1").mkdir(parents=True)
    (folder / "requirements.md").write_text("Be brief.")
    (folder / "results" / "u1" / "answer.md").write_text("42")
    return folder


@settings(deadline=None)
@given(TEXTS, st.integers(4, 50))
def test_the_parts_of_a_text_make_up_the_whole(text: str, limit: int) -> None:
    """Each begins where the one before it ended, whatever the bytes of a character."""
    parts, offset = [], 0
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "file").write_bytes(text.encode())
        while True:
            part = read(Path(folder), ("file",), offset, limit)
            assert isinstance(part, Part)
            parts.append(part.text)
            offset = part.end
            if offset >= part.size:
                break

    assert "".join(parts) == text


@settings(deadline=None)
@given(st.binary(max_size=200).filter(lambda data: b"\0" not in data), st.integers(0, 200), st.integers(4, 50))
def test_any_bytes_are_read_without_a_failure(data: bytes, offset: int, limit: int) -> None:
    """What is no UTF-8 is replaced; an offset behind the end is refused."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "file").write_bytes(data)
        if offset > len(data):
            with pytest.raises(ToolError, match="bytes"):
                read(Path(folder), ("file",), offset, limit)
        else:
            part = read(Path(folder), ("file",), offset, limit)
            assert isinstance(part, Part)
            assert part.end <= len(data)
            assert part.end > offset or part.end == len(data)


def test_a_part_begins_with_a_whole_character(root: Path) -> None:
    """An offset in the middle of one is moved to the next."""
    (root / "euro").write_text("€uro")

    part = read(root, ("euro",), 1, 100)

    assert part == Part("uro", 3, 6, 6)


def test_a_binary_file_is_told_from_a_text(root: Path) -> None:
    """By a NUL near its beginning."""
    (root / "image").write_bytes(b"\x89PNG\0\0")

    assert read(root, ("image",), 0, 100) == Binary(6)


def test_a_folder_is_listed(root: Path) -> None:
    """Sorted, folders marked, without what is half written."""
    (root / ".tmp-1-x").touch()

    assert read(root, (), 0, 0) == Listing(("requirements.md", "results/"), is_whole=True)
    assert read(root, ("results", "u1"), 0, 0) == Listing(("answer.md",), is_whole=True)


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("", ()),
        (".", ()),
        ("results/u1", ("results", "u1")),
        ("./results//u1/", ("results", "u1")),
        ("{root}", ()),
        ("{root}/results", ("results",)),
    ],
)
def test_a_path_is_taken_in_every_sensible_form(root: Path, said: str, parts: tuple[str, ...]) -> None:
    """Also as the absolute path that commands see."""
    assert parse_path(root, said.replace("{root}", str(root))) == parts


@pytest.mark.parametrize(
    "said", ["/etc/passwd", "..", "results/../../x", "{root}/../x", "{root}x/y", "a\0b", "a/" * 65 + "b"]
)
def test_a_path_that_leads_elsewhere_is_refused(root: Path, said: str) -> None:
    """Before anything is opened."""
    with pytest.raises(ToolError):
        parse_path(root, said.replace("{root}", str(root)))


@pytest.mark.parametrize("trap", TRAPS)
def test_only_regular_files_are_opened(root: Path, trap: str) -> None:
    """No link is followed and no FIFO waited for; a sparse file is read in parts like any other."""
    TRAPS[trap](root / "results" / "trap")

    if trap == "sparse file":
        assert isinstance(read(root, ("results", "trap"), 0, 100), Binary)
        return
    with pytest.raises(ToolError, match="results/trap cannot be read"):
        read(root, ("results", "trap"), 0, 100)


def test_a_link_in_the_middle_of_a_path_is_not_followed(root: Path) -> None:
    """It would lead out of the folder."""
    (root.parent / "secret").mkdir()
    (root.parent / "secret" / "key").write_text("s3cret")
    (root / "way").symlink_to(root.parent / "secret")

    with pytest.raises(ToolError, match="symbolic link"):
        read(root, ("way", "key"), 0, 100)


def test_the_folder_itself_may_be_reached_through_a_link(root: Path) -> None:
    """Where it lies is the operator's choice."""
    link = root.parent / "link"
    link.symlink_to(root)

    assert isinstance(read(link, ("requirements.md",), 0, 100), Part)


def test_a_missing_file_is_answered_with_what_lies_beside_it(root: Path) -> None:
    """In the nearest folder that is there."""
    with pytest.raises(ToolError, match=r"There is no results/u9/a/b. results holds: u1/\."):
        read(root, ("results", "u9", "a", "b"), 0, 100)


def test_a_deep_path_that_is_missing_is_answered_at_once(root: Path) -> None:
    """A step of it is looked for once."""
    with pytest.raises(ToolError, match="shared-context holds"):
        read(root, ("missing",) * 64, 0, 100)


def test_a_shared_context_that_is_away_is_a_refusal(tmp_path: Path) -> None:
    """The volume may be."""
    with pytest.raises(ToolError):
        read(tmp_path / "none", ("file",), 0, 100)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_refusal(root: Path) -> None:
    """With the reason of the system."""
    (root / "requirements.md").chmod(0)

    with pytest.raises(ToolError, match="Permission denied"):
        read(root, ("requirements.md",), 0, 100)
