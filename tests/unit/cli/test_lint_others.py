"""lint: folders, kustomizations, and kinds that are not Watchbill's."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from watchbill_cli.lint import lint_file, run_lint
from watchbill_cli.lint_files import list_files

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
ROLE = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\n"
POLICY = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np}\nspec: {podSelector: {}}\n"
DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  template:
    spec:
      containers:
        - name: c
          image: i
"""


def lint(tmp_path: Path, text: str, name: str = "m.yaml") -> list[str]:
    """Findings as `line:column: severity: …`, without the file's name."""
    path = tmp_path / name
    path.write_text(text)
    return [str(finding).removeprefix(f"{path}:") for finding in lint_file(path)]


def run(path: Path, output: str = "text") -> int:
    """The verb's exit code for one file or folder."""
    return run_lint(Namespace(files=[path], output=output))


def test_a_kind_that_the_small_server_serves_is_checked(tmp_path: Path) -> None:
    """An unknown member would be refused by `kubectl apply` too."""
    assert lint(tmp_path, CONFIG_MAP) == []
    assert lint(tmp_path, CONFIG_MAP + "whatever: 1\n") == ["4:1: error: whatever: unknown field"]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (CONFIG_MAP + "data: [a]\n", "1:1", "cannot unmarshal array"),
        (CONFIG_MAP.replace("name: c", "name: C_"), "3:12", "lower case letters"),
        (CONFIG_MAP.replace("{name: c}", "{}"), "3:1", "has no name"),
        ("kind: ConfigMap\nmetadata: {name: c}\n", "1:1", "has no apiVersion"),
        (CONFIG_MAP.replace("ConfigMap", "Deployment"), "2:1", "no Deployment of v1; there is one of apps/v1"),
        (ROLE + "rules: [{apiGroups: [''], resources: [a]}]\n", "4:9", "verbs"),
    ],
)
def test_what_is_wrong_with_it_is_told(tmp_path: Path, text: str, place: str, words: str) -> None:
    """With its place."""
    [finding] = lint(tmp_path, text)

    assert finding.startswith(f"{place}: error: ")
    assert words in finding


def test_the_pod_within_a_deployment_is_checked(tmp_path: Path) -> None:
    """By the rules of pods; the place is that of the Deployment's file."""
    [note, finding] = lint(tmp_path, DEPLOYMENT + "          ports: [{containerPort: 99999}]\n")

    assert finding.startswith("10:20: error: spec.template.spec.containers[0].ports[0].containerPort")
    assert note == "2:1: note: kind: not checked: Deployment (but for its pod)"


def test_a_kind_without_rules_here_is_said_to_be_unchecked(tmp_path: Path) -> None:
    """Silence would look like consent."""
    assert lint(tmp_path, POLICY) == ["2:1: note: kind: not checked: NetworkPolicy"]


def test_the_summary_counts_what_was_not_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By kind, on standard error; a note is no failure."""
    (tmp_path / "a.yaml").write_text(f"{POLICY}---\n{POLICY}---\n{CONFIG_MAP}")
    (tmp_path / "b.yaml").write_text(DEPLOYMENT)

    assert run(tmp_path) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == ("2 files; 0 errors, 0 warnings; not checked: 1 Deployment (but for its pod), 2 NetworkPolicy\n")


def test_json_has_the_notes_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A script chooses by severity."""
    (tmp_path / "a.yaml").write_text(f"{POLICY}---\n{CONFIG_MAP}x: 1\n")

    assert run(tmp_path, "json") == 1
    assert [(f["severity"], f["line"]) for f in json.loads(capsys.readouterr().out)] == [("note", 2), ("error", 9)]


def test_a_folder_is_searched_to_its_depth(tmp_path: Path) -> None:
    """For what kubectl would read, in a fixed order; what is hidden stays so."""
    for name in ("b.yaml", "a/x.yml", "a/y.json", "a/z.txt", ".git/q.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    found = [str(path.relative_to(tmp_path)) for path in list_files([tmp_path, tmp_path / "a" / "z.txt"])]

    assert found == ["b.yaml", "a/x.yml", "a/y.json", "a/z.txt"]


def test_a_kustomization_names_what_is_there(tmp_path: Path) -> None:
    """A file, a folder with a kustomization of its own, an address."""
    (tmp_path / "there.yaml").write_text(CONFIG_MAP)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "kustomization.yaml").write_text("resources: []\n")
    text = "resources: [there.yaml, base, 'https://example.com/x.yaml']\n"

    assert lint(tmp_path, text, "kustomization.yaml") == []


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("resources:\n  - gone.yaml\n", "2:5", "is not there"),
        ("resources:\n  - empty\n", "2:5", "has no kustomization.yaml"),
        ("patches:\n  - path: gone.yaml\n", "2:5", "is not there"),
        ("resource: []\n", "1:1", "kustomize knows no such member"),
        ("apiVersion: v1\nkind: Kustomization\n", "1:1", "v1beta1"),
    ],
)
def test_what_is_wrong_with_a_kustomization_is_told(tmp_path: Path, text: str, place: str, words: str) -> None:
    """With its place."""
    (tmp_path / "empty").mkdir()

    [finding] = lint(tmp_path, text, "kustomization.yaml")

    assert finding.startswith(f"{place}: error: ")
    assert words in finding


def test_patches_and_settings_of_kustomize_are_no_objects(tmp_path: Path) -> None:
    """A patch lacks what kustomize adds; both are said to be unchecked."""
    (tmp_path / "kustomization.yaml").write_text("patches: [{path: p.yaml}]\nconfigurations: [s.yaml]\n")

    assert lint(tmp_path, "spec: {}\n", "p.yaml") == ["1:1: note: not checked: patch of kustomize"]
    assert lint(tmp_path, "images: []\n", "s.yaml") == ["1:1: note: not checked: setting of kustomize"]
