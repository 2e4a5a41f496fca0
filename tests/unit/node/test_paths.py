"""Rewriting of paths for plain processes, image names, references: rules without processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchbill_local.node.environment import expand_references, field_value
from watchbill_local.node.isolation import (
    DEFAULT_IMAGES,
    ImageUnknown,
    SpecRefused,
    build_argv,
    build_identity,
    parse_image_name,
    rewrite_launch,
    rewrite_paths,
)
from watchbill_local.node.launch import Launch, Level, Mount

MOUNTS = (Mount("/host/v", "/data"), Mount("/host/v", "/data/in", subpath="a/b"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/data", "/host/v"),
        ("/data/x", "/host/v/x"),
        ("/data/in/x", "/host/v/a/b/x"),
        ("--dir=/data/x:/data", "--dir=/host/v/x:/host/v"),
        ("cat '/data/x'>/data/y", "cat '/host/v/x'>/host/v/y"),
        ("/database", "/database"),
        ("/my/data/x", "/my/data/x"),
        ("http://host/data", "http://host/data"),
        ("/data.txt", "/data.txt"),
    ],
)
def test_paths_below_a_mount_are_rewritten_and_others_are_not(text: str, wanted: str) -> None:
    """The longest mountPath wins, and only whole path components count."""
    assert rewrite_paths(text, MOUNTS) == wanted


@given(st.text())
def test_without_mounts_nothing_is_rewritten(text: str) -> None:
    """No mounts, no change."""
    assert rewrite_paths(text, ()) == text


@given(st.text(alphabet="abc/ =:'\"", max_size=60))
def test_text_without_a_mount_path_stays(text: str) -> None:
    """A text that names no mountPath is left as it is."""
    assert rewrite_paths(text, MOUNTS) == text


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("watchbill/agent:dev", "watchbill/agent"),
        ("registry:5000/watchbill/agent", "registry:5000/watchbill/agent"),
        ("registry:5000/watchbill/agent:1@sha256:ab", "registry:5000/watchbill/agent"),
        ("busybox", "busybox"),
    ],
)
def test_an_image_name_loses_tag_and_digest(image: str, name: str) -> None:
    """A port in the registry's name is no tag."""
    assert parse_image_name(image) == name


def test_an_unknown_image_is_refused_by_name() -> None:
    """The refusal names the image and says what to do."""
    with pytest.raises(ImageUnknown, match=r"nginx:1.*--image"):
        build_argv({"name": "c", "image": "nginx:1", "command": ["x"]}, DEFAULT_IMAGES, {})


def test_an_images_program_goes_before_the_command() -> None:
    """The words of an image come first, the container's command and args after them."""
    container = {"name": "c", "image": "tool:1", "command": ["run"], "args": ["$(A)"]}
    assert build_argv(container, {"tool": "env -u X"}, {"A": "1"}) == ("env", "-u", "X", "run", "1")


def test_a_container_without_a_command_is_refused() -> None:
    """An image that stands for no program needs a command."""
    with pytest.raises(SpecRefused, match="no command"):
        build_argv({"name": "c", "image": "watchbill/agent"}, DEFAULT_IMAGES, {})


def test_dropping_all_capabilities_leaves_those_added() -> None:
    """drop ALL with add NET_BIND_SERVICE keeps exactly that one."""
    context = {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, "runAsUser": 7}
    identity = build_identity({"securityContext": context}, {"spec": {"securityContext": {"fsGroup": 9}}})
    assert (identity.uid, identity.groups, identity.capabilities) == (7, (9,), (10,))


def test_references_expand_once() -> None:
    """A value that looks like a reference is not expanded again; $$ is one dollar sign."""
    assert expand_references("$(A) $$(A) $(B) $x", {"A": "$(B)"}) == "$(B) $(A) $(B) $x"


def test_an_annotation_is_read_by_its_key() -> None:
    """A key may hold dots and slashes; an absent one is empty."""
    pod = {"metadata": {"annotations": {"a.b/c": "1"}}}
    assert field_value(pod, "metadata.annotations['a.b/c']") == "1"
    assert field_value(pod, "metadata.labels['a.b/c']") == ""


def test_only_the_pods_own_values_are_rewritten() -> None:
    """A path of this machine, such as PATH in a checkout below /tmp, stays though the pod mounts something at /tmp."""
    base = {"PATH": "/tmp/checkout/bin:/usr/bin"}
    launch = Launch(("ls", "/tmp/x"), base | {"HOME": "/tmp"}, "/", Level.PROCESSES, (Mount("/host/t", "/tmp"),))
    moved = rewrite_launch(launch, base, Path("/home"))
    assert moved.argv == ("ls", "/host/t/x")
    assert moved.environment == {**base, "HOME": "/host/t", "TMPDIR": "/host/t"}
