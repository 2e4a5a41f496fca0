"""Packing a folder: the same tree gives the same bytes, and only regular files travel."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from watchbill_cli.archive import Archive, pack
from watchbill_cli.context import PART_BYTES, folder_config_maps
from watchbill_cli.home import Refused
from watchbill_operator.unpacking import MAX_BYTES as MAX_UNPACKED_BYTES


def names(archive: Archive) -> list[str]:
    """What is in it, in its order."""
    with tarfile.open(fileobj=io.BytesIO(archive.data), mode="r:gz") as tar:
        return tar.getnames()


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    """Times and owners do not count."""
    (tmp_path / "a").write_text("x")
    first = pack(tmp_path)
    os.utime(tmp_path / "a", (1, 1))

    assert pack(tmp_path) == first


def test_links_and_pipes_stay_behind(tmp_path: Path) -> None:
    """Only regular files travel."""
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")

    assert names(pack(tmp_path)) == ["real"]


def test_what_git_ignores_stays_behind(tmp_path: Path) -> None:
    """In a git work tree; untracked files that are not ignored go along."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("secret\n")
    (tmp_path / "secret").write_text("x")
    (tmp_path / "new").write_text("x")

    assert names(pack(tmp_path)) == [".gitignore", "new"]


def test_the_systems_own_home_is_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each run would have another input than the one before."""
    monkeypatch.setenv("WATCHBILL_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "logs").mkdir(parents=True)
    (tmp_path / "home" / "logs" / "log").write_text("x")
    (tmp_path / "homely").write_text("x")

    assert names(pack(tmp_path)) == ["homely"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """There is nothing to work on."""
    with pytest.raises(Refused, match="no regular file"):
        pack(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The sentence names the option."""
    with pytest.raises(Refused, match="INPUT=DIR"):
        pack(tmp_path / "nowhere")


def test_the_parts_put_together_are_the_archive() -> None:
    """Numbered, none larger than its limit, each with the digest of the whole."""
    archive = Archive(os.urandom(PART_BYTES * 2 + 5), "d" * 64, 1)
    maps = list(folder_config_maps(archive))

    assert [body["metadata"]["annotations"]["watchbill.dev/part"] for body in maps] == ["0", "1", "2"]
    assert {body["metadata"]["annotations"]["watchbill.dev/digest"] for body in maps} == {"d" * 64}
    assert len({body["metadata"]["name"] for body in maps}) == 3


@pytest.mark.parametrize("name", ["new\nline", "/".join(["d"] * 33)])
def test_a_name_that_the_operator_would_refuse_is_refused_before_it_travels(tmp_path: Path, name: str) -> None:
    """Tasks would wait for ever for a folder that never comes."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")

    with pytest.raises(Refused, match="cannot travel"):
        pack(tmp_path)


def test_a_tree_that_unpacks_to_too_much_is_refused_before_it_travels(tmp_path: Path) -> None:
    """Zeros compress well: the archive alone would be small enough."""
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(MAX_UNPACKED_BYTES + 1)

    with pytest.raises(Refused, match="unpacked"):
        pack(tmp_path)
