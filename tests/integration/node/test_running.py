"""Pods run: commands, environment, volumes, exit codes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.node_lab import Json, NodeLab, ended, pod, state


def test_a_pod_runs_its_command_to_the_end(lab: NodeLab) -> None:
    """A program that ends well makes the pod Succeeded, with its output as log."""
    name = lab.run("sh", "-c", "echo hello; echo trouble >&2", restartPolicy="Never")
    item = lab.wait_phase(name, "Succeeded")
    assert ended(item)["exitCode"] == 0
    assert sorted(lab.log(name).splitlines()) == ["hello", "trouble"]


def test_an_exit_code_reaches_the_status(lab: NodeLab) -> None:
    """Exit code 3 is reported as it is."""
    item = lab.wait_phase(lab.run("sh", "-c", "exit 3", restartPolicy="Never"), "Failed")
    assert (ended(item)["exitCode"], ended(item)["reason"]) == (3, "Error")


def test_a_program_killed_by_a_signal_reports_it_as_a_shell_does(lab: NodeLab) -> None:
    """Death by SIGKILL is exit code 137 ($$ is one dollar sign in a command)."""
    item = lab.wait_phase(lab.run("sh", "-c", "kill -9 $$$$", restartPolicy="Never"), "Failed")
    assert ended(item)["exitCode"] == 137


def test_a_missing_program_fails_with_a_sentence(lab: NodeLab) -> None:
    """A program that does not exist is a StartError that names it."""
    item = lab.wait_phase(lab.run("no-such-program", restartPolicy="Never"), "Failed")
    assert ended(item)["reason"] == "StartError"
    assert "no-such-program" in ended(item)["message"]


def test_python_is_the_nodes_own(lab: NodeLab) -> None:
    """`python` in a container is the interpreter and environment of the node."""
    assert lab.output("python", "-c", "import sys; print(sys.prefix)").strip() == sys.prefix


def test_environment_entries_are_resolved(lab: NodeLab) -> None:
    """Plain values, $(VAR), fields, ConfigMap and Secret keys and envFrom all arrive."""
    lab.create("configmaps", {"metadata": {"name": "settings"}, "data": {"color": "blue", "SIZE": "9"}})
    lab.create("secrets", {"metadata": {"name": "keys"}, "stringData": {"k": "s3cret"}})
    field = {"fieldRef": {"fieldPath": "metadata.labels['team']"}}
    container = {
        "env": [
            {"name": "A", "value": "one"},
            {"name": "B", "value": "$(A) two $$(A) $(UNKNOWN)"},
            {"name": "TEAM", "valueFrom": field},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}},
            {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "x", "optional": True}}},
        ],
        "envFrom": [{"prefix": "S_", "configMapRef": {"name": "settings"}}],
    }
    item = pod("sh", "-c", 'echo "$B|$TEAM|$NODE|$COLOR|$KEY|${NONE-unset}|$S_SIZE"', container=container)
    item["metadata"]["labels"] = {"team": "red"}
    item["spec"]["restartPolicy"] = "Never"
    lab.create("pods", item)
    lab.wait_phase(item["metadata"]["name"], "Succeeded")
    said = lab.log(item["metadata"]["name"]).strip()
    assert said == "one two $(A) $(UNKNOWN)|red|watchbill-local|blue|s3cret|unset|9"


def test_the_nodes_own_environment_stays_outside(lab: NodeLab) -> None:
    """A container gets no variable of the node but PATH and the like."""
    names = {line.split("=")[0] for line in lab.output("env").splitlines()}
    allowed = {"PATH", "HOME", "HOSTNAME", "LANG", "LC_ALL", "PYTHONPATH", "PWD", "SHLVL", "_", "WATCHBILL_NODE"}
    assert names <= allowed


def test_a_missing_config_map_is_waited_for(lab: NodeLab) -> None:
    """The container waits with a sentence, and starts once the ConfigMap is there."""
    entry = {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "x"}}}
    name = lab.run("sh", "-c", "echo $X", container={"env": [entry]}, restartPolicy="Never")
    item = lab.wait_until(name, lambda item: item["status"].get("containerStatuses"), "waiting")
    assert state(item)["waiting"]["reason"] == "CreateContainerConfigError"
    assert 'configmap "later" not found' in state(item)["waiting"]["message"]
    lab.create("configmaps", {"metadata": {"name": "later"}, "data": {"x": "here"}})
    lab.wait_phase(name, "Succeeded")
    assert lab.log(name) == "here\n"


def test_an_unknown_image_stays_waiting(lab: NodeLab) -> None:
    """No local program stands for the image: ImagePullBackOff with a sentence, and no crash."""
    name = lab.run("true", container={"image": "nginx:1.27"})
    item = lab.wait_until(
        name,
        lambda item: "ImagePullBackOff" in str(item["status"].get("containerStatuses")),
        "in ImagePullBackOff",
    )
    assert item["status"]["phase"] == "Pending"
    assert 'image "nginx:1.27" cannot be pulled' in state(item)["waiting"]["message"]
    lab.delete(name)
    lab.wait_gone(name)


def test_init_containers_come_first_and_share_volumes(lab: NodeLab) -> None:
    """An init container's file is there when the main container starts."""
    mount = [{"name": "v", "mountPath": "/shared"}]
    init = {"name": "first", "image": "watchbill/agent", "command": ["sh", "-c", "echo made > /shared/file"]}
    out = lab.output(
        "cat",
        "/shared/file",
        container={"volumeMounts": mount},
        initContainers=[{**init, "volumeMounts": mount}],
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    assert out == "made\n"


def test_a_failing_init_container_fails_a_pod_that_never_restarts(lab: NodeLab) -> None:
    """The main container is not started, and the pod is Failed."""
    init = {"name": "first", "image": "watchbill/agent", "command": ["false"]}
    item = lab.wait_phase(lab.run("true", initContainers=[init], restartPolicy="Never"), "Failed")
    assert "terminated" not in state(item)


def test_volumes_of_every_kind_hold_their_files(lab: NodeLab) -> None:
    """ConfigMap and Secret volumes are files at their mount paths."""
    lab.create("configmaps", {"metadata": {"name": "files"}, "data": {"a.txt": "A", "b.txt": "B"}})
    lab.create("secrets", {"metadata": {"name": "hidden"}, "stringData": {"s": "S"}})
    volumes = [
        {"name": "c", "configMap": {"name": "files", "items": [{"key": "a.txt", "path": "sub/a"}]}},
        {"name": "p", "secret": {"secretName": "hidden"}},
    ]
    mounts = [{"name": "c", "mountPath": "/c"}, {"name": "p", "mountPath": "/p"}]
    name = lab.run(
        "sh", "-c", "cat /c/sub/a /p/s; ls /c", restartPolicy="Never", volumes=volumes,
        container={"volumeMounts": mounts},
    )  # fmt: skip
    lab.wait_phase(name, "Succeeded")
    assert lab.log(name) == "ASsub\n"


def test_a_claim_is_a_directory_and_a_subpath_is_made(lab: NodeLab) -> None:
    """A claim becomes Bound; a subPath that is absent is made below its directory."""
    lab.create("persistentvolumeclaims", claim("work"))
    mounts = [{"name": "v", "mountPath": "/w", "subPath": "deep/er"}]
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "work"}}]
    lab.output("sh", "-c", "echo kept > /w/file", container={"volumeMounts": mounts}, volumes=volumes)
    assert (lab.data / "volumes/default-work/deep/er/file").read_text() == "kept\n"
    assert lab.request("GET", "/api/v1/namespaces/default/persistentvolumeclaims/work")[1]["status"]["phase"] == "Bound"


@pytest.mark.parametrize(
    ("volume", "mount", "words"),
    [
        ({"downwardAPI": {"items": []}}, {}, "no volumes of that kind"),
        ({"emptyDir": {}}, {"subPathExpr": "$(X)"}, "no subPathExpr"),
    ],
)
def test_what_the_node_cannot_mount_is_said(lab: NodeLab, volume: Json, mount: Json, words: str) -> None:
    """The pod waits with a sentence; it never runs with something else at that path."""
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v", **mount}]}
    name = lab.run("true", container=mounts, volumes=[{"name": "v", **volume}])
    item = lab.wait_until(name, lambda item: words in str(item["status"].get("containerStatuses")), "refused")
    assert item["status"]["phase"] == "Pending"
    lab.delete(name)


def test_a_token_volume_is_an_empty_directory(lab: NodeLab) -> None:
    """An API server with service accounts adds one to every pod; that keeps no pod from running here."""
    volume = {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    mounts = {"volumeMounts": [{"name": "token", "mountPath": "/run/secrets"}]}
    assert lab.output("sh", "-c", "ls /run/secrets; echo ran", container=mounts, volumes=[volume]) == "ran\n"


def test_a_subpath_never_follows_a_link(lab: NodeLab, tmp_path: Path) -> None:
    """A link planted in a volume is refused as a subPath, with a sentence."""
    lab.create("persistentvolumeclaims", claim("planted"))
    folder = lab.data / "volumes/default-planted"
    folder.mkdir(parents=True)
    (folder / "way").symlink_to(tmp_path)
    mounts = [{"name": "v", "mountPath": "/w", "subPath": "way"}]
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "planted"}}]
    name = lab.run("touch", "/w/file", container={"volumeMounts": mounts}, volumes=volumes)
    item = lab.wait_until(name, lambda item: item["status"].get("containerStatuses"), "refused")
    assert "symbolic link" in state(item)["waiting"]["message"]
    assert not list(tmp_path.iterdir())
    lab.delete(name)


def test_the_end_of_a_failed_containers_log_is_its_message(lab: NodeLab) -> None:
    """With terminationMessagePolicy FallbackToLogsOnError the status says what the program said last."""
    container = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    name = lab.run("sh", "-c", "echo why; exit 1", restartPolicy="Never", container=container)
    assert ended(lab.wait_phase(name, "Failed"))["message"] == "why\n"


def test_a_large_output_is_capped(lab: NodeLab) -> None:
    """The log files of a container that writes 60 MB stay below their limit, and the end of it is kept."""
    program = "import sys\nfor n in range(600): sys.stdout.write(('x' * 99 + '\\n') * 1000)\nprint('the end')"
    name = lab.run("python", "-c", program, restartPolicy="Never")
    item = lab.wait_phase(name, "Succeeded", seconds=60)
    folder = lab.data / "pods" / item["metadata"]["uid"] / "containers/main"
    assert sum(path.stat().st_size for path in folder.glob("*.log*")) <= 21 * 2**20
    assert lab.log(name, tailLines="1") == "the end\n"


def claim(name: str) -> dict[str, object]:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
