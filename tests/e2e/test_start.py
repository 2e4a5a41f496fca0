"""Starting under circumstances: it works, or says in one sentence what is wrong and how to mend it."""

from __future__ import annotations

import base64
import json
import os
import socket
from pathlib import Path

import pytest

from support.local_system import LocalSystem, args, task

pytestmark = pytest.mark.local("the command that starts it")

CHECKOUT = Path(__file__).resolve().parents[2]


def test_a_home_that_cannot_be_written_is_told_in_one_sentence(tmp_path: Path) -> None:
    """The sentence names the place and the mend."""
    (tmp_path / "file").write_text("no folder")
    done = LocalSystem(tmp_path / "file" / "home").watchbill("start")

    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "set WATCHBILL_HOME" in done.err


def test_a_taken_port_is_told_in_one_sentence(tmp_path: Path) -> None:
    """Only where that very port was asked for; otherwise a free one is taken."""
    system = LocalSystem(tmp_path / "home")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = system.watchbill("start", "--port", str(taken.getsockname()[1]))
    system.watchbill("stop")

    assert done.code == 2
    assert "port" in done.err


def test_a_port_that_is_none_is_told(tmp_path: Path) -> None:
    """Before anything is started."""
    done = LocalSystem(tmp_path / "home").watchbill("start", "--port", "99999")

    assert done.code == 2
    assert "from 1 to 65535" in done.err


def test_a_home_keeps_to_the_small_server(system: LocalSystem, tmp_path: Path) -> None:
    """In another control plane all of its Tasks would be missing, and the log would call them deleted."""
    other = LocalSystem(tmp_path / "home")
    (other.home / "run").mkdir(parents=True)
    (other.home / "run" / "control-plane").write_text('{"namespace": "small"}')

    done = other.watchbill("start", "--kubeconfig", str(system.home / "kubeconfig"))

    assert done.code == 2
    assert "was started with the small API server" in done.err


def test_a_home_keeps_to_its_namespace_whatever_becomes_of_the_kubeconfig(system: LocalSystem, tmp_path: Path) -> None:
    """A context that was turned to another namespace is found before anything is led from there."""
    other = LocalSystem(tmp_path / "home")
    (other.home / "run").mkdir(parents=True)
    kept = {"kubeconfig": str(system.home / "kubeconfig"), "namespace": "uid-of-another"}
    (other.home / "run" / "control-plane").write_text(json.dumps(kept))

    done = other.watchbill("start")

    assert done.code == 2
    assert "all of its Tasks would be missing" in done.err
    assert not (other.home / "kubeconfig").exists()


def test_a_mistyped_kubeconfig_is_not_remembered(tmp_path: Path) -> None:
    """The next start is as the first."""
    system = LocalSystem(tmp_path / "home")

    done = system.watchbill("start", "--kubeconfig", "/some/kubeconfig")

    assert done.code == 2
    assert "cannot read the kubeconfig /some/kubeconfig" in done.err
    assert not (system.home / "run" / "control-plane").exists()


def test_a_kubeconfig_may_name_files_beside_it(system: LocalSystem, tmp_path: Path) -> None:
    """What it names is taken along; a namespace that is not there is said so."""
    view = json.loads(system.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    cluster = view["clusters"][0]["cluster"]
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(cluster.pop("certificate-authority-data")))
    cluster["certificate-authority"] = "ca.crt"
    view["contexts"][0]["context"]["namespace"] = "nowhere"
    (tmp_path / "config").write_text(json.dumps(view))

    done = LocalSystem(tmp_path / "home").watchbill("start", "--kubeconfig", str(tmp_path / "config"))

    assert done.code == 2
    assert "there is no namespace nowhere" in done.err


def test_two_homes_are_two_systems(system: LocalSystem, tmp_path: Path) -> None:
    """Side by side; neither sees the other's tasks."""
    other = LocalSystem(tmp_path / "other")
    try:
        assert other.watchbill("start").code == 0
        other.apply(task("only-here", command=args("true")))
        assert other.wait_for_phase("only-here")["phase"] == "Succeeded"
        assert system.get("task", "only-here") is None
    finally:
        other.watchbill("stop", "--drain", "0")


def test_a_stop_without_a_system_is_no_error(tmp_path: Path) -> None:
    """There is nothing to do, and it says so."""
    done = LocalSystem(tmp_path / "never").watchbill("stop")

    assert (done.code, done.out.startswith("nothing runs")) == (0, True)


def test_a_folder_that_is_too_large_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """One sentence says the limit and what to do."""
    (tmp_path / "noise").write_bytes(os.urandom(17 * 1024 * 1024))
    done = LocalSystem(tmp_path / "home").watchbill("start", "--quickstart", str(tmp_path))

    assert done.code == 2
    assert "16 MiB" in done.err
    assert not (tmp_path / "home" / "kubeconfig").exists()


@pytest.mark.parametrize("verb", ["verify", "events", "monitor", "kubeconfig", "repair"])
def test_a_verb_without_a_system_says_how_to_start_one(tmp_path: Path, verb: str) -> None:
    """`make up` is named."""
    done = LocalSystem(tmp_path / "never").watchbill(verb)

    assert done.code == 2
    assert "make up" in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a checkout that its user cannot write to")
def test_the_environment_of_a_read_only_checkout_lies_elsewhere(tmp_path: Path) -> None:
    """Nothing needs to be written into the checkout."""
    script = f"cd '{CHECKOUT}' && exec env -u WATCHBILL_VENV XDG_STATE_HOME='{tmp_path}' scripts/environment where"
    done = LocalSystem(tmp_path / "home").run(
        "unshare", "--mount", "sh", "-c", f"mount --bind -o ro '{CHECKOUT}' '{CHECKOUT}' && {script}"
    )
    if "unshare" in done.err or "mount:" in done.err:
        pytest.skip(f"this machine allows no private mounts: {done.err.strip()}")

    assert done.code == 0, done.err
    assert done.out.strip().startswith(str(tmp_path / "watchbill"))
