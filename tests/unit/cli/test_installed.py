"""What `watchbill quickstart` says of an installation that lacks something, and whom it asks to do the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from watchbill_cli.home import Refused
from watchbill_cli.installed import choose_kind, describe_operator, find_kubeconfig
from watchbill_cli.quickstart import COMMAND
from watchbill_cli.runners import CLAUDE

DEPLOYMENT = {"spec": {"replicas": 1}, "status": {}}


def agent(role: str, runner: str) -> dict[str, Any]:
    """An Agent of this role with this runner."""
    return {"metadata": {"name": f"{role}-{runner}"}, "spec": {"role": role, "runner": {runner: {}}}}


def pod(status: dict[str, Any]) -> dict[str, Any]:
    """A pod of the operator."""
    return {"metadata": {"labels": {"app.kubernetes.io/name": "watchbill-operator"}}, "status": status}


@pytest.mark.parametrize("kind", [COMMAND, CLAUDE])
def test_agents_of_all_roles_do_what_they_can(kind: str) -> None:
    """Commands or prompts."""
    assert choose_kind([agent(role, kind) for role in ("blue", "green", "red")], "crew") == kind


def test_commands_go_before_prompts_which_cost_money() -> None:
    """Where both could be done."""
    both = [agent(role, kind) for role in ("blue", "green", "red") for kind in (CLAUDE, COMMAND)]

    assert choose_kind(both, "crew") == COMMAND


def test_a_role_without_an_agent_is_told_with_the_command_that_makes_one() -> None:
    """In the namespace at hand."""
    with pytest.raises(Refused, match=r"no Agent of role red .*kubectl apply --namespace crew -f .*agents\.yaml"):
        choose_kind([agent("blue", COMMAND), agent("green", COMMAND), agent("red", CLAUDE)], "crew")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no host"}}}]}, "no host"),
        ({"containerStatuses": [{"lastState": {"terminated": {"message": "no CRDs\n"}}, "state": {}}]}, "(no CRDs)"),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "message": "unbound claim"}]}, "unbound claim"),
        ({"containerStatuses": [{"state": {"running": {}}}]}, "0/1 ready"),
    ],
)
def test_an_operator_that_is_not_ready_is_told_in_the_clusters_words(status: dict[str, Any], words: str) -> None:
    """The container's, its last one's, or the scheduler's."""
    assert words in describe_operator(DEPLOYMENT, [pod(status)])


def test_an_operator_that_was_scaled_to_nothing_is_told_so() -> None:
    """No pod could say it."""
    assert "scaled to 0" in describe_operator({"spec": {"replicas": 0}}, [])


@pytest.mark.parametrize(
    ("value", "words"), [("", "not set"), ("/nonexistent/k", "no kubeconfig"), ("/nonexistent/a:/b", "several")]
)
def test_a_kubeconfig_that_is_of_no_use_is_refused(value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own reason."""
    monkeypatch.setenv("KUBECONFIG", value)

    with pytest.raises(Refused, match=words):
        find_kubeconfig()


def test_a_kubeconfig_with_a_colon_in_its_name_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is there."""
    path = tmp_path / "a:b"
    path.touch()
    monkeypatch.setenv("KUBECONFIG", str(path))

    assert find_kubeconfig() == path
