"""Volumes that show ConfigMaps and Secrets: one version at a time, whole."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_local.node.environment import ConfigurationMissing
from watchbill_local.node.sources import CURRENT, Files, Source, choose_files, show

FILES = st.dictionaries(
    st.sampled_from(["a", "b.txt", "deep/er/c", "deep/d", ".hidden"]),
    st.tuples(st.binary(max_size=4), st.sampled_from([0o444, 0o644])),
)


def seen(directory: Path) -> dict[str, tuple[bytes, int]]:
    """What a container sees: every file under a name that does not belong to the mechanism."""
    tops = [entry for entry in directory.iterdir() if not entry.name.startswith("..")]
    files = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mode & 0o777) for path in files}


def a_source(directory: Path, **spec: Any) -> Source:
    """A volume that shows the Secret `key`."""
    return Source(directory, "crew", "secret", {"secretName": "key", **spec})


def a_secret(**data: str) -> dict[str, Any]:
    """A Secret in its API form."""
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}}


@given(st.lists(FILES, min_size=1, max_size=4))
def test_a_volume_shows_exactly_the_newest_version(versions: list[Files]) -> None:
    """Names, contents and modes, and nothing is left of the versions before."""
    with tempfile.TemporaryDirectory() as folder:
        for version in versions:
            show(Path(folder), version)

            assert seen(Path(folder)) == version
        kept = [entry.name for entry in Path(folder).iterdir() if entry.is_dir() and not entry.is_symlink()]
        assert kept == [os.readlink(Path(folder) / CURRENT)]


def test_two_files_are_of_one_version(tmp_path: Path) -> None:
    """Who opened the version before a change reads both files of it, whatever is shown meanwhile."""
    show(tmp_path, {"user": (b"old", 0o444), "word": (b"old", 0o444)})
    before = os.open(tmp_path / CURRENT, os.O_RDONLY | os.O_DIRECTORY)
    opened = [os.open(name, os.O_RDONLY, dir_fd=before) for name in ("user", "word")]

    show(tmp_path, {"user": (b"new", 0o444), "word": (b"new", 0o444)})

    assert [os.read(each, 10) for each in opened] == [b"old", b"old"]
    assert (tmp_path / "user").read_bytes() == (tmp_path / "word").read_bytes() == b"new"
    for each in (before, *opened):
        os.close(each)


def test_an_unchanged_object_touches_nothing(tmp_path: Path) -> None:
    """A broker that watches its credential is not woken for nothing."""
    show(tmp_path, {"key": (b"k", 0o444)})
    before = os.lstat(tmp_path / CURRENT).st_ino, os.stat(tmp_path / "key").st_ino

    show(tmp_path, {"key": (b"k", 0o444)})

    assert (os.lstat(tmp_path / CURRENT).st_ino, os.stat(tmp_path / "key").st_ino) == before


def test_a_new_mode_is_a_change(tmp_path: Path) -> None:
    """The same bytes for other readers."""
    show(tmp_path, {"key": (b"k", 0o444)})

    show(tmp_path, {"key": (b"k", 0o400)})

    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o400


def test_an_optional_object_that_is_absent_is_an_empty_volume(tmp_path: Path) -> None:
    """It may come later."""
    assert choose_files(a_source(tmp_path, optional=True), None) == {}


def test_an_object_that_is_needed_and_absent_is_told_by_name(tmp_path: Path) -> None:
    """The pod waits with that sentence."""
    with pytest.raises(ConfigurationMissing, match='secret "key" not found'):
        choose_files(a_source(tmp_path), None)


def test_a_key_that_is_needed_and_absent_is_told_by_name(tmp_path: Path) -> None:
    """A file that was asked for is there, or the volume is not."""
    with pytest.raises(ConfigurationMissing, match="there is no key b"):
        choose_files(a_source(tmp_path, items=[{"key": "b", "path": "x"}]), a_secret(a="1"))


def test_an_items_own_mode_goes_before_the_volumes(tmp_path: Path) -> None:
    """As in Kubernetes."""
    source = a_source(tmp_path, defaultMode=0o444, items=[{"key": "a", "path": "x/y", "mode": 0o400}])

    assert choose_files(source, a_secret(a="1", b="2")) == {"x/y": (b"1", 0o400)}


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x"])
def test_an_item_does_not_lead_out_of_its_volume(tmp_path: Path, path: str) -> None:
    """Such an item is refused, not followed."""
    with pytest.raises(ConfigurationMissing, match="must not lead out"):
        choose_files(a_source(tmp_path, items=[{"key": "a", "path": path}]), a_secret(a="1"))
