"""Unpacking: what arrives whole, and attacks that leave nothing behind."""

from __future__ import annotations

import gzip
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.archives import Member, a_file, a_special, pack, pack_raw
from watchbill_operator import unpacking
from watchbill_operator.unpacking import ArchiveRefusedError, Unpacked, unpack_archive


def everything_below(folder: Path) -> set[str]:
    """Every name below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_folder_arrives_whole(tmp_path: Path) -> None:
    """Names, contents, folders; readable for every agent, executable for none."""
    data = pack(
        a_file("src/a.py", b"print()"), a_file("./README.md", b"# hi", mode=0o4755), a_special("docs", tarfile.DIRTYPE)
    )
    old = os.umask(0o077)
    try:
        unpacked = unpack_archive(data, tmp_path / "input" / "abc")
    finally:
        os.umask(old)

    target = tmp_path / "input" / "abc"
    assert unpacked == Unpacked(files=2, bytes=11)
    assert everything_below(target) == {"src", "src/a.py", "README.md"}
    assert (target / "src/a.py").read_bytes() == b"print()"
    assert {path.stat().st_mode & 0o7777 for path in target.rglob("*.*")} == {0o644}
    assert {path.stat().st_mode & 0o7777 for path in (target, target / "src")} == {0o755}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_long_and_foreign_names_arrive(tmp_path: Path, form: int) -> None:
    """Extended headers of both kinds, and bytes that are no UTF-8."""
    long, latin = "d" * 120 + "/" + "f" * 200, os.fsdecode(b"caf\xe9.txt")
    unpack_archive(pack(a_file(long), a_file("größe.md"), a_file(latin), form=form), tmp_path / "x")

    assert everything_below(tmp_path / "x") == {"d" * 120, long, "größe.md", latin}


ATTACKS: dict[str, tuple[Member, ...]] = {
    "dot dot": (a_file("../escape"),),
    "dot dot inside": (a_file("a/../../escape"),),
    "absolute": (a_file("/tmp/escape"),),
    "symbolic link": (a_special("link", tarfile.SYMTYPE, "/etc"),),
    "link, then through it": (a_special("link", tarfile.SYMTYPE, ".."), a_file("link/escape")),
    "hard link": (a_file("a"), a_special("b", tarfile.LNKTYPE, "a")),
    "device": (a_special("sda", tarfile.BLKTYPE),),
    "character device": (a_special("null", tarfile.CHRTYPE),),
    "fifo": (a_special("pipe", tarfile.FIFOTYPE),),
    "sparse": (a_special("hole", tarfile.GNUTYPE_SPARSE),),
    "contiguous": (a_special("contiguous", tarfile.CONTTYPE),),
    "named twice": (a_file("a"), a_file("a")),
    "named twice, differently": (a_file("a"), a_file("./a")),
    "file and folder": (a_file("a"), a_file("a/b")),
    "folder and file": (a_file("a/b"), a_file("a")),
    "no name": (a_file("."),),
    "newline": (a_file("a\nb"),),
    "escape sequence": (a_file("a\x1b[2J"),),
    "too deep": (a_file("d/" * 40 + "f"),),
    "component too long": (a_file("n" * 256),),
    "path too long": (a_file("/".join(["n" * 100] * 12)),),
    "sparse by pax": (
        a_file("s", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "s"}),
    ),
    "huge size by pax": (a_file("s", pax_headers={"size": str(1 << 62)}),),
    "negative size by pax": (a_file("s", pax_headers={"size": "-512"}),),
}


@pytest.mark.parametrize("members", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_refused_and_leaves_nothing(tmp_path: Path, members: tuple[Member, ...]) -> None:
    """Good files around it make no difference: all or nothing."""
    inside = tmp_path / "shared" / "input"
    data = pack(a_file("good-1"), *members, a_file("good-2"))

    with pytest.raises(ArchiveRefusedError) as refusal:
        unpack_archive(data, inside / "abc")

    assert str(refusal.value).endswith(".")
    assert everything_below(tmp_path) == {"shared", "shared/input"}


def test_a_bomb_of_zeros_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small archive that claims, and has, far more than it may."""
    monkeypatch.setattr(unpacking, "MAX_BYTES", 1 << 20)

    with pytest.raises(ArchiveRefusedError, match="more than 1048576 bytes"):
        unpack_archive(pack(a_file("zeros", bytes(2 << 20))), tmp_path / "x")

    assert everything_below(tmp_path) == set()


def test_the_whole_stream_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers, padding and what is skipped count too."""
    monkeypatch.setattr(unpacking, "MAX_STREAM_BYTES", 1 << 20)

    with pytest.raises(ArchiveRefusedError, match="unpacks to more"):
        unpack_archive(pack(a_file("zeros", bytes(2 << 20))), tmp_path / "x")

    assert everything_below(tmp_path) == set()


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty files cost inodes."""
    monkeypatch.setattr(unpacking, "MAX_FILES", 50)

    with pytest.raises(ArchiveRefusedError, match="more than 50 files"):
        unpack_archive(pack(*(a_file(f"f{n}", b"") for n in range(51))), tmp_path / "x")

    assert everything_below(tmp_path) == set()


def test_a_huge_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """An extended header of 64 MiB would be held in memory whole."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 64 << 20

    def write(stream: gzip.GzipFile) -> None:
        stream.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(64):
            stream.write(bytes(1 << 20))

    data = pack_raw(write)
    tracemalloc.start()
    with pytest.raises(ArchiveRefusedError, match="header"):
        unpack_archive(data, tmp_path / "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8 << 20


def test_an_archive_over_the_limit_is_not_even_opened(tmp_path: Path) -> None:
    """16 MiB compressed."""
    with pytest.raises(ArchiveRefusedError, match="16777217 bytes"):
        unpack_archive(bytes((16 << 20) + 1), tmp_path / "x")


GOOD = pack(*(a_file(f"d{n % 3}/f{n}", bytes([n]) * 400) for n in range(12)))


@pytest.mark.parametrize("length", [0, 1, 9, 30, len(GOOD) // 2, len(GOOD) - 1])
def test_a_torn_archive_is_refused(tmp_path: Path, length: int) -> None:
    """Wherever it was cut."""
    with pytest.raises(ArchiveRefusedError):
        unpack_archive(GOOD[:length], tmp_path / "x")

    assert everything_below(tmp_path) == set()


PLAIN = gzip.decompress(GOOD)


@given(st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 255)), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_is_refused_or_stays_inside(tmp_path: Path, damage: list[tuple[int, int]]) -> None:
    """Any bytes changed anywhere in the tar: one kind of error, or files below the target and nowhere else."""
    damaged = bytearray(PLAIN)
    for place, value in damage:
        damaged[place] = value
    target = tmp_path / "in" / "x"
    try:
        unpack_archive(gzip.compress(bytes(damaged), 1), target)
    except ArchiveRefusedError:
        assert not target.exists()
    assert everything_below(tmp_path) <= {"in", "in/x"} | {f"in/x/{name}" for name in everything_below(target)}
    unpacking.remove_tree(target)


@given(st.binary(max_size=3000))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_is_refused(tmp_path: Path, noise: bytes) -> None:
    """With or without a gzip header around it, as an empty archive at most."""
    for data in (noise, gzip.compress(noise, 1)):
        try:
            unpacked = unpack_archive(data, tmp_path / "x")
        except ArchiveRefusedError:
            continue
        assert unpacked == Unpacked(0, 0)
        unpacking.remove_tree(tmp_path / "x")


def test_what_a_crash_left_is_replaced(tmp_path: Path) -> None:
    """A half-unpacked folder of this process's number does not stop it."""
    stale = tmp_path / f"{unpacking.TEMPORARY}{os.getpid()}-x"
    stale.mkdir()
    (stale / "half").write_text("x")

    unpack_archive(pack(a_file("a")), tmp_path / "x")

    assert everything_below(tmp_path) == {"x", "x/a"}
