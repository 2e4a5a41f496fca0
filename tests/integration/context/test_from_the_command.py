"""What `watchbill context put` sends is what the operator unpacks."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from watchbill_cli.archive import pack
from watchbill_cli.context import file_config_map, folder_config_maps
from watchbill_coordination.core.commands import Command, PublishContext
from watchbill_coordination.storage.layout import Layout
from watchbill_operator.context import SharedContext


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty volume."""
    layout = Layout(tmp_path / "volume")
    layout.orchestration.mkdir(parents=True)
    return layout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder whose archive needs several ConfigMaps, with names that are hard to carry."""
    tree = tmp_path / "a tree"
    for number in range(6):
        path = tree / f"part {number}" / "größe" / f"{'n' * 200}.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(400_000))
    (tree / os.fsdecode(b"caf\xe9")).write_text("latin")
    (tree / "link").symlink_to("/etc/passwd")
    return tree


def received(context: SharedContext) -> tuple[Command, ...]:
    """The commands of one round on an empty log."""
    return context.settle({}, listed=True).commands


def test_a_folder_arrives_as_it_was_sent(layout: Layout, tree: Path) -> None:
    """Every regular file, byte for byte; links stay behind."""
    archive = pack(tree)
    context = SharedContext(layout)
    maps = list(folder_config_maps(archive))
    assert len(maps) > 2
    for body in maps:
        body["metadata"] |= {"uid": body["metadata"]["name"], "resourceVersion": "1"}
        context.shelf.see(body)

    assert received(context) == (PublishContext(path=archive.context_path, digest=archive.digest),)
    target = layout.shared_context / archive.context_path
    sent = {path.relative_to(tree) for path in tree.rglob("*") if path.is_file() and not path.is_symlink()}
    assert {path.relative_to(target) for path in target.rglob("*") if path.is_file()} == sent
    assert all((target / path).read_bytes() == (tree / path).read_bytes() for path in sent)


@pytest.mark.parametrize("content", [b"plain text\n", b"\x00\xff"], ids=["text", "bytes"])
def test_a_file_arrives_as_it_was_sent(layout: Layout, content: bytes) -> None:
    """As data or as binaryData."""
    context = SharedContext(layout)
    context.shelf.see(file_config_map("requirements.md", content))

    assert len(received(context)) == 1
    assert (layout.shared_context / "requirements.md").read_bytes() == content


def test_unpacking_needs_little_memory_besides_the_archive(layout: Layout, tmp_path: Path) -> None:
    """30 MB of files from a small archive: an operator stays within its 100 MB."""
    tree = tmp_path / "large"
    tree.mkdir()
    for number in range(30):
        (tree / str(number)).write_bytes(bytes([number]) * 1_000_000)
    context = SharedContext(layout)
    for body in folder_config_maps(pack(tree)):
        context.shelf.see(body)

    tracemalloc.start()
    commands = received(context)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(commands) == 1
    assert peak < 8_000_000
