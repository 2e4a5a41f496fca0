"""What the scripts for an engine and a node image say where something is missing; and that an engine leaves nothing.

The engine runs in a network namespace of its own, so that neither its bridge nor its packet filter meets another's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
ABSENT = 3
ALONE = ["unshare", "--net", "--mount", "sh", "-ec"]
#: What an engine changes in its network namespace and among the mounts, as text; iptables may be an unpacked one.
LOOK = (
    f"cache=$WATCHBILL_CACHE; . '{SCRIPTS}/debian-packages.sh'; use_unpacked; "
    'look() { ip -o link | cut -d" " -f2; iptables -S; iptables -t nat -S; cat /proc/sys/net/ipv4/ip_forward; '
    "grep -c engine /proc/self/mounts || true; }; ip link set lo up; "
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """No engine is known, and all folders are this test's, with a space in their names."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "WATCHBILL_"))}
    home = tmp_path / "a home"
    home.mkdir()
    return {**kept, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "WATCHBILL_CACHE": str(home / "cache")}


@pytest.fixture
def engine(environment: dict[str, str]) -> dict[str, str]:
    """The same, where an engine can be started without fetching anything."""
    if os.geteuid() != 0:
        pytest.skip("only root starts a Docker engine")
    cache = Path(os.environ.get("WATCHBILL_CACHE") or Path.home() / ".cache" / "watchbill")
    if not shutil.which("dockerd") and not (cache / "debian/usr/sbin/dockerd").exists():
        pytest.skip("there is no dockerd: `scripts/docker-engine start` fetches one where no engine answers")
    (Path(environment["WATCHBILL_CACHE"])).mkdir()
    if (cache / "debian").is_dir():
        (Path(environment["WATCHBILL_CACHE"]) / "debian").symlink_to(cache / "debian")
    if _run([*ALONE, f"{SCRIPTS}/docker-engine where"], environment).returncode == 0:
        pytest.skip("this machine's own engine answers at its default address")
    return environment


@pytest.mark.parametrize("command", ["docker-engine where", "docker-engine env", "docker-engine start"])
def test_an_engine_that_is_named_and_does_not_answer_is_told_in_one_sentence(
    command: str, environment: dict[str, str]
) -> None:
    """Another one is not taken silently: images would go where nobody looks for them."""
    done = _run([f"{SCRIPTS}/{command.split()[0]}", command.split()[1]], {**environment, "DOCKER_HOST": "unix:///gone"})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (ABSENT, "", 1)


def test_a_node_image_that_is_not_built_is_told_with_the_command_that_builds_it(environment: dict[str, str]) -> None:
    """Exit code 3, so that a run of CI can say what it leaves out."""
    done = _run([f"{SCRIPTS}/kind-node", "where"], environment)
    assert (done.returncode, done.stdout) == (ABSENT, "")
    assert "scripts/kind-node build" in done.stderr


@pytest.mark.long
def test_an_engine_that_is_stopped_leaves_no_bridge_rule_mount_or_process(engine: dict[str, str]) -> None:
    """What it changed is as it was: another engine, or none, goes on undisturbed."""
    script = f"{LOOK}echo 0 >/proc/sys/net/ipv4/ip_forward; cd '{SCRIPTS}'; before=$(look); ./docker-engine start; "
    script += './docker-engine env; ./docker-engine stop; after=$(look); [ "$before" = "$after" ] || echo "$after"'
    done = _run([*ALONE, script], engine)
    assert done.returncode == 0, done.stderr
    host, settings = done.stdout.splitlines()
    assert settings.startswith(f"export DOCKER_HOST='{host}' PATH=")
    assert _engines(host) == []


@pytest.mark.long
def test_after_a_kill_two_starts_at_once_make_one_engine(engine: dict[str, str]) -> None:
    """The killed one's pid file is still there, and may name a process that is another's by now."""
    script = f"ip link set lo up; cd '{SCRIPTS}'; host=$(./docker-engine start); folder=${{host#unix://}}; "
    script += "folder=${folder%/*}; pid=$(cat $folder/docker.pid); kill -9 $pid; echo $$ >$folder/docker.pid; "
    script += (
        "./docker-engine start & ./docker-engine start; wait; pgrep -cf -- --pidfile.$folder; ./docker-engine stop"
    )
    done = _run([*ALONE, script], engine)
    assert done.returncode == 0, done.stderr
    first, second, count = done.stdout.splitlines()
    assert (first == second, count) == (True, "1")
    assert _engines(first) == []


def _run(argv: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=dict(environment), capture_output=True, text=True, check=False, timeout=600)


def _engines(host: str) -> list[str]:
    """The command lines that name the engine's folder."""
    folder = str(Path(host.removeprefix("unix://")).parent)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [text for text in (line.replace(b"\0", b" ").decode() for line in lines) if f"{folder}/" in text]
