"""lint: what is wrong with a manifest, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchbill_cli.lint import lint_file

TASK = "apiVersion: watchbill.dev/v1alpha1\nkind: Task\nmetadata: {name: t}\nspec:\n  role: blue\n"


def lint(tmp_path: Path, text: str) -> list[str]:
    """Findings as `line:column: severity: …`, without the file's name."""
    path = tmp_path / "m.yaml"
    path.write_text(text)
    return [str(finding).removeprefix(f"{path}:") for finding in lint_file(path)]


def test_a_right_task_has_no_finding(tmp_path: Path) -> None:
    """Silence is consent."""
    assert lint(tmp_path, TASK + "  prompt: do it\n") == []


@pytest.mark.parametrize(
    ("line", "place", "words"),
    [
        ("  prompt: x\n  priority: 5000\n", "7:3", "less than or equal to 1000"),
        ("  prompt: x\n  promt: y\n", "7:3", "unknown field"),
        ("  prompt: ''\n", "6:3", "spec.prompt"),
        ("  timeoutSeconds: 5\n", "4:1", "give a prompt or a command"),
        ("  prompt: x\n  dependsOn: [a, t]\n", "7:3", "cannot depend on itself"),
        ("  prompt: x\n  locks:\n    - name: a\n      mode: Both\n", "9:7", "Unsupported value"),
        ("  prompt: x\n  timeoutSeconds: soon\n", "7:3", "integer"),
    ],
)
def test_a_wrong_member_is_told_with_its_place(tmp_path: Path, line: str, place: str, words: str) -> None:
    """Line and column of the member, and the API server's own words."""
    [finding] = lint(tmp_path, TASK + line)

    assert finding.startswith(f"{place}: error: ")
    assert words in finding


def test_off_is_false_in_every_document(tmp_path: Path) -> None:
    """As kubectl reads it, also behind the first one."""
    task = TASK + "  prompt: x\n  suspend: off\n"

    assert lint(tmp_path, f"{task}---\n{task}---\n{task}") == []


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        ("https://gateway.example/anthropic", True),
        ("http://[::1]:8080", True),
        ("http://gateway:8080/a/b", True),
        ("gateway.example", False),
        ("https://", False),
        ("http://gateway:port", False),
        ("http://gateway:999999", False),
        ("http://[::1", False),
        ("http://user:word@gateway", False),
        ("http://gateway/?key=x", False),
    ],
)
def test_a_gateway_is_an_address(tmp_path: Path, address: str, is_one: bool) -> None:
    """A broker that cannot read it would end again and again."""
    agent = f"kind: Agent\nmetadata: {{name: a}}\nspec: {{role: blue, runner: {{claude: {{baseURL: '{address}'}}}}}}\n"

    assert (lint(tmp_path, f"apiVersion: watchbill.dev/v1alpha1\n{agent}") == []) == is_one


def test_broken_yaml_is_told_with_its_place(tmp_path: Path) -> None:
    """Where the parser gave up."""
    [finding] = lint(tmp_path, "kind: Task\n  spec: [\n")

    assert finding.startswith("2:")
    assert "no YAML" in finding


def test_a_member_that_stands_twice_is_told(tmp_path: Path) -> None:
    """YAML would silently take one of them."""
    [finding] = lint(tmp_path, TASK + "  prompt: x\n  prompt: y\n")

    assert "7:3" in finding
    assert "duplicate" in finding


def test_a_task_too_large_for_kubectl_apply_is_warned_of(tmp_path: Path) -> None:
    """apply would keep a copy in an annotation; `kubectl create` does not."""
    [finding] = lint(tmp_path, TASK + f"  prompt: {'é' * 140_000}\n")

    assert "warning" in finding
    assert "kubectl create" in finding


def test_every_object_of_a_list_is_looked_at(tmp_path: Path) -> None:
    """With the place in the file."""
    text = "apiVersion: v1\nkind: List\nitems:\n"
    text += "- apiVersion: watchbill.dev/v1alpha1\n  kind: Agent\n  metadata: {name: a}\n  spec: {}\n"
    [finding] = lint(tmp_path, text)

    assert finding.startswith("7:")
    assert "role" in finding


CLAUDE = "apiVersion: watchbill.dev/v1alpha1\nkind: Agent\nmetadata: {name: a}\nspec:\n  role: blue\n"


def test_a_broker_may_be_switched_off_as_kubectl_reads_it(tmp_path: Path) -> None:
    """`off` is false there, so it is here."""
    assert lint(tmp_path, CLAUDE + "  runner: {claude: {broker: off}}\n") == []


def test_a_template_that_shows_the_credential_is_told(tmp_path: Path) -> None:
    """Before the operator refuses it with a condition."""
    volume = "{name: k, secret: {secretName: watchbill-credentials}}"
    text = CLAUDE + f"  runner: {{claude: {{}}}}\n  podTemplate: {{spec: {{volumes: [{volume}]}}}}\n"

    [finding] = lint(tmp_path, text)

    assert finding.startswith("7:3: error: ")
    assert "is the broker's alone" in finding


def test_a_template_that_weakens_isolation_is_told(tmp_path: Path) -> None:
    """By the operator's own check."""
    text = (
        "apiVersion: watchbill.dev/v1alpha1\nkind: Agent\nmetadata: {name: a}\nspec:\n  role: blue\n"
        "  podTemplate: {spec: {hostNetwork: true}}\n"
    )
    findings = lint(tmp_path, text)

    assert findings
    assert all(finding.startswith("6:3: error: spec.podTemplate") for finding in findings)
