"""What keeps pods apart in the two levels with namespaces: every fact is asked from inside a real container."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import watchbill_local
from support.node_lab import NodeLab, condition, open_lab, state
from support.waiting import wait_for

LEVELS = ["namespaces", "user-namespaces"]
RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
VOLUME = [
    {"name": "v", "persistentVolumeClaim": {"claimName": "shared"}},
    {"name": "tmp", "emptyDir": {}},
]


@pytest.fixture(scope="module", params=LEVELS)
def apart(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeLab]:
    """A node of each level, with a claim whose directories stand as an operator makes them."""
    if os.getuid() != 0 and request.param == "namespaces":
        pytest.skip("mount namespaces without a user namespace need root")
    home = tmp_path_factory.mktemp("a lab")
    volume = home / "volume"
    for folder in ("one/out", "one/in", "two/out"):
        (volume / folder).mkdir(parents=True)
        (volume / folder).chmod(0o1777)
    (volume / "two/out/secret").write_text("of pod two")
    (volume / "one/in/letter").write_text("for pod one")
    try:
        with open_lab(home, "--isolation", request.param, "--volume", f"shared={volume}") as lab:
            spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
            lab.create("persistentvolumeclaims", {"metadata": {"name": "shared"}, "spec": spec})
            yield lab
    except AssertionError as error:
        if "does not work on this machine" in str(error):
            pytest.skip(str(error)[-300:])
        raise


def ask(lab: NodeLab, script: str, **more: Any) -> str:
    """What a restricted pod one says to `script`."""
    mounts = [
        {"name": "v", "mountPath": "/watchbill/outbox", "subPath": "one/out"},
        {"name": "v", "mountPath": "/watchbill/inbox", "subPath": "one/in", "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    container = {"securityContext": {**RESTRICTED, **more}, "volumeMounts": mounts}
    return lab.output("sh", "-c", script, container=container, volumes=VOLUME)


def test_mounts_are_at_their_true_paths(apart: NodeLab) -> None:
    """A message is read at the mountPath, and an answer written there is on the volume."""
    assert ask(apart, "cat /watchbill/inbox/letter; echo answer > /watchbill/outbox/a") == "for pod one"
    assert (apart.home / "volume/one/out/a").read_text() == "answer\n"


def test_a_read_only_mount_cannot_be_written(apart: NodeLab) -> None:
    """Writing to the inbox fails, though its directory is open to all."""
    assert "Read-only file system" in ask(apart, "touch /watchbill/inbox/x 2>&1")
    assert not (apart.home / "volume/one/in/x").exists()


def test_a_read_only_root_cannot_be_written(apart: NodeLab) -> None:
    """readOnlyRootFilesystem holds, and /tmp, an emptyDir, is writable."""
    out = ask(apart, "touch /x 2>&1; touch /usr/x 2>&1; touch /tmp/x && echo tmp")
    assert out.count("Read-only file system") == 2
    assert out.endswith("tmp\n")


def test_the_pod_has_its_own_user_and_no_capabilities(apart: NodeLab) -> None:
    """runAsUser is the process's uid; capabilities are empty and new privileges forbidden."""
    out = ask(apart, "id -u; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | tr -s '\\t' ' '")
    assert out.split("\n")[:4] == ["10001", "CapEff: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1"]


def test_other_pods_directories_are_absent(apart: NodeLab) -> None:
    """Neither the volume's own path nor the node's data or kubeconfig exists inside."""
    places = " ".join(
        f"'{path}'" for path in (apart.home / "volume", apart.data, apart.kubeconfig, Path.home() / ".ssh")
    )
    assert ask(apart, f'for p in {places}; do test -e "$p" && echo seen $p; done; echo looked') == "looked\n"


def test_the_host_cannot_be_reached_by_parent_directories(apart: NodeLab) -> None:
    """`..` from a mount leads to the container's own root."""
    out = ask(apart, "cd /watchbill/outbox/../..; ls; ls ../../../../../.host 2>/dev/null; test -e two && echo two")
    assert "watchbill" in out
    assert "two" not in out.split()


def test_only_its_own_processes_are_visible(apart: NodeLab) -> None:
    """/proc shows the container's few processes, not the machine's."""
    assert int(ask(apart, "ls /proc | grep -c '^[0-9]'")) < 8


def test_a_container_cannot_signal_the_host(apart: NodeLab) -> None:
    """The node's pid means nothing inside."""
    assert apart.node
    assert "No such process" in ask(apart, f"kill -0 {apart.node.pid} 2>&1")


def test_the_nodes_python_runs_as_another_user(apart: NodeLab) -> None:
    """The interpreter, its environment and the packages of this checkout are readable wherever they lie."""
    out = ask(apart, "python -c 'import sys, watchbill_local, aiohttp; print(sys.prefix)'")
    assert out.strip() == sys.prefix


def test_the_python_environment_is_read_only(apart: NodeLab) -> None:
    """A container cannot change the packages that the node itself runs."""
    target = f"{sys.prefix}/planted"
    assert "Read-only file system" in ask(apart, f"touch '{target}' 2>&1")


def test_the_host_name_is_the_pods(apart: NodeLab) -> None:
    """As in any container, the host name is the pod's name."""
    name = apart.run("hostname", restartPolicy="Never")
    apart.wait_phase(name, "Succeeded")
    assert apart.log(name).strip() == name


def test_a_root_container_cannot_reach_the_kernels_knobs(apart: NodeLab) -> None:
    """Without a securityContext the program is root inside, yet mounting and /proc/sys are refused."""
    out = apart.output(
        "sh", "-c", "id -u; mount -t tmpfs x /mnt 2>&1 || echo no mount; echo x 2>&1 > /proc/sys/kernel/core_pattern"
    )
    assert out.startswith("0\n")
    assert "no mount" in out
    assert "Read-only file system" in out


def test_run_as_non_root_refuses_root(apart: NodeLab) -> None:
    """runAsNonRoot without a uid is a CreateContainerConfigError."""
    name = apart.run("true", container={"securityContext": {"runAsNonRoot": True}})
    item = apart.wait_until(name, lambda item: item["status"].get("containerStatuses"), "refused")
    assert "will run as root" in state(item)["waiting"]["message"]
    apart.delete(name)


def test_the_program_is_told_to_stop_through_its_init(apart: NodeLab) -> None:
    """SIGTERM reaches the program inside its pid namespace, without waiting for the grace period."""
    name = apart.run("sleep", "900", terminationGracePeriodSeconds=60)
    apart.wait_ready(name)
    apart.delete(name)
    apart.wait_gone(name, seconds=10)
    assert apart.find(name) is None


def test_a_probe_runs_inside(apart: NodeLab) -> None:
    """An exec probe sees the container's mounts and user."""
    check = "test -e /watchbill/inbox/letter && test $(id -u) = 10001"
    mounts = [{"name": "v", "mountPath": "/watchbill/inbox", "subPath": "one/in", "readOnly": True}]
    probe = {"exec": {"command": ["sh", "-c", check]}, "periodSeconds": 1}
    container = {"securityContext": RESTRICTED, "volumeMounts": mounts, "readinessProbe": probe}
    name = apart.run("sleep", "900", container=container, volumes=VOLUME)
    assert condition(apart.wait_ready(name), "ContainersReady") == "True"
    apart.delete(name)


def test_the_level_is_named_in_the_node(apart: NodeLab) -> None:
    """The node's annotation and condition name the level in use."""
    node = apart.request("GET", "/api/v1/nodes/watchbill-local")[1]
    level = node["metadata"]["annotations"]["watchbill.dev/isolation"]
    assert level == apart.arguments[1]
    assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["PodsIsolated"] == "True"


def test_the_nodes_data_is_hidden_below_a_readable_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the node's Python shows a directory above: volumes and data are empty inside, the kubeconfig too."""
    if os.getuid() != 0:
        pytest.skip("mount namespaces without a user namespace need root")
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/secret").write_text("hidden")
    (tmp_path / "note").write_text("shown")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with open_lab(tmp_path, "--isolation", "namespaces", "--volume", f"shared={tmp_path / 'volume'}") as lab:
        out = lab.output("sh", "-c", f"cd '{tmp_path}'; cat note kubeconfig; ls volume 'node data'")
    assert out == "shownnode data:\n\nvolume:\n"


@pytest.mark.parametrize("level", [*LEVELS, "processes"])
def test_a_checkout_below_tmp_is_there_beside_the_pods_own_tmp(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment and packages lie below /tmp, in a path with a space; the pod's emptyDir at /tmp hides neither."""
    if os.getuid() != 0 and level == "namespaces":
        pytest.skip("mount namespaces without a user namespace need root")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with tempfile.TemporaryDirectory(prefix="check out ", dir="/tmp") as folder:
        python = make_checkout(Path(folder))
        with open_lab(Path(folder), "--isolation", level, python=str(python)) as lab:
            mounts = {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
            script = (
                "import sys, watchbill_local as w; open('/tmp/note', 'w'); print(sys.prefix, w.__path__[0], sep='|')"
            )
            said = lab.output("python", "-c", script, container=mounts, volumes=[{"name": "tmp", "emptyDir": {}}])
    assert said == f"{folder}/venv|{folder}/local/watchbill_local\n"


def make_checkout(folder: Path) -> Path:
    """A virtual environment and a copy of this package below `folder`; returns the environment's Python."""
    shutil.copytree(Path(watchbill_local.__file__).parent, folder / "local/watchbill_local")
    venv.create(folder / "venv", symlinks=True)
    packages = Path(sysconfig.get_path("purelib"))
    own = folder / "venv" / packages.relative_to(sys.prefix)
    (own / "checkout.pth").write_text(f"{folder}/local\nimport site; site.addsitedir({str(packages)!r})\n")
    return folder / "venv/bin/python"


def test_a_file_of_roots_in_a_writable_volume_is_told(apart: NodeLab) -> None:
    """What plain processes of root left behind cannot be changed by the pod's user: an Event says what to do."""
    if apart.arguments[1] != "namespaces":
        pytest.skip("without root there are no files of root's")
    place = apart.home / "volume/one/out/left"
    place.write_text("by root")
    ask(apart, "true")
    assert wait_for(
        lambda: f"{place} is root's" in str(apart.request("GET", "/api/v1/events")[1]), "the Event is there"
    )
    place.unlink()
