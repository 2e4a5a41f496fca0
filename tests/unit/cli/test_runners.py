"""The choice of what runs tasks, and the way of the key."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from watchbill_cli import runners
from watchbill_cli.home import Refused
from watchbill_cli.inheritance import build_environment, load_environment
from watchbill_cli.kubectl import run_kubectl
from watchbill_cli.runners import Runner, build_agents, choose_runner, is_current, put_secret

KEY = "sk-ant-marked-key-000"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice is under test, not what this environment has installed."""
    monkeypatch.setattr(runners, "NEEDED", ("json",))


def pod(runner: str | None, upstream: str | None = None) -> dict[str, Any]:
    """A pod as the operator makes it."""
    env = [{"name": "WATCHBILL_RUNNER", "value": runner}] if runner else []
    containers = [{"name": "agent", "env": env}]
    if upstream is not None:
        containers.append({"name": "broker", "env": [{"name": "WATCHBILL_UPSTREAM", "value": upstream}]})
    return {"spec": {"containers": containers}}


def test_commands_run_where_nothing_is_said() -> None:
    """Also with a key in the environment: that is no wish."""
    assert choose_runner("", "", {"ANTHROPIC_API_KEY": KEY}).kind == "command"


@pytest.mark.parametrize(("runner", "model"), [("", ""), ("", "scripted"), ("claude", "")])
def test_the_key_is_taken_out_of_the_environment(runner: str, model: str) -> None:
    """Whatever is chosen, nothing that is started later inherits it."""
    environment = {"ANTHROPIC_API_KEY": KEY, "CLAUDE_CODE_OAUTH_TOKEN": KEY, "HOME": "/h"}
    choose_runner(runner, model, environment)

    assert environment == {"HOME": "/h"}


def test_the_scripted_model_gets_no_real_key() -> None:
    """And a Secret of its own, so that the real one stays as it is."""
    runner = choose_runner("claude", "scripted", {"ANTHROPIC_API_KEY": KEY})

    assert KEY not in json.dumps(runners.build_secret(runner))
    assert runner.secret != choose_runner("claude", "", {"ANTHROPIC_API_KEY": KEY}).secret


def test_one_model_is_one_model() -> None:
    """Also where it is overloaded: no Agent keeps another one to fall back to."""
    agents = build_agents(choose_runner("claude", "haiku", {"ANTHROPIC_API_KEY": KEY}))["items"]

    assert [agent["spec"]["model"] for agent in agents] == ["haiku"] * 3
    assert not [agent for agent in agents if "fallbackModel" in agent["spec"]]


def test_the_first_credential_counts() -> None:
    """A broker that finds two would have to choose."""
    runner = choose_runner("claude", "", {"CLAUDE_CODE_OAUTH_TOKEN": "token", "ANTHROPIC_AUTH_TOKEN": "bearer"})

    assert runner.credential == {"ANTHROPIC_AUTH_TOKEN": "bearer"}


def test_a_gateway_of_the_environment_is_used() -> None:
    """ANTHROPIC_BASE_URL means the same as for Claude Code itself."""
    runner = choose_runner("claude", "", {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": "https://gateway.example/a"})
    agents = build_agents(runner)["items"]

    assert [agent["spec"]["runner"]["claude"]["baseURL"] for agent in agents] == ["https://gateway.example/a"] * 3


@pytest.mark.parametrize(
    ("runner", "model", "said"),
    [
        ("claude", "", "there is no key: set ANTHROPIC_API_KEY"),
        ("", "haiku", "give --runner claude too"),
        ("command", "scripted", "a model answers prompts"),
        ("codex", "", "there is no runner codex"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(runner: str, model: str, said: str) -> None:
    """With the way to mend it."""
    with pytest.raises(Refused, match=said):
        choose_runner(runner, model, {})


def test_a_missing_extra_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started."""
    monkeypatch.setattr(runners, "NEEDED", ("no_such_module",))

    with pytest.raises(Refused, match=r"pip install 'watchbill\[claude\]'"):
        choose_runner("", "scripted", {})


def test_a_model_of_the_users_is_every_agents() -> None:
    """Else each role has its own."""
    mine = build_agents(choose_runner("claude", "haiku", {"ANTHROPIC_API_KEY": KEY}))["items"]
    own = build_agents(choose_runner("claude", "", {"ANTHROPIC_API_KEY": KEY}))["items"]

    assert [agent["spec"]["model"] for agent in mine] == ["haiku"] * 3
    assert [agent["spec"]["model"] for agent in own] == ["haiku", "sonnet", "opus"]


def test_both_choices_have_the_same_agents() -> None:
    """So one fleet takes the other's place."""
    names = [
        [agent["metadata"]["name"] for agent in build_agents(runner)["items"]]
        for runner in (Runner(), Runner("claude"))
    ]

    assert names == [["blue", "green", "red"]] * 2


def test_a_pod_of_another_choice_is_known() -> None:
    """By what runs in it, and by where its broker sends to."""
    scripted = Runner("scripted", base_url="http://127.0.0.1:1")

    assert is_current(pod(None), Runner())
    assert not is_current(pod("claude", ""), Runner())
    assert is_current(pod("claude", "http://127.0.0.1:1"), scripted)
    assert not is_current(pod("claude", ""), scripted)
    assert not is_current(pod(None), scripted)


def write_kubectl(folder: Path, script: str) -> None:
    """A kubectl that does this."""
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_the_key_goes_to_kubectl_on_standard_input_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments and environment of a process can be read by others."""
    write_kubectl(tmp_path, f"echo \"$@\" >>'{tmp_path}/argv'; env >>'{tmp_path}/env'; cat >>'{tmp_path}/stdin'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)

    put_secret(tmp_path / "kubeconfig", choose_runner("claude", "", dict(os.environ)))

    assert KEY in (tmp_path / "stdin").read_text()
    assert KEY not in (tmp_path / "argv").read_text() + (tmp_path / "env").read_text()
    assert (tmp_path / "argv").read_text().split()[2:] == ["create", "-f", "-"]


def test_a_secret_that_is_there_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`apply` would write the key into an annotation."""
    line = (
        f'echo "$3" >>\'{tmp_path}/verbs\'; cat >/dev/null; [ "$3" != create ] || {{ echo AlreadyExists >&2; exit 1; }}'
    )
    write_kubectl(tmp_path, line)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    put_secret(tmp_path / "kubeconfig", Runner("claude", credential={"ANTHROPIC_API_KEY": KEY}))

    assert (tmp_path / "verbs").read_text().split() == ["create", "replace"]


def test_a_refusal_does_not_tell_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if kubectl repeats what it was given."""
    write_kubectl(tmp_path, "cat >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with pytest.raises(Refused) as refused:
        put_secret(tmp_path / "kubeconfig", Runner("claude", credential={"ANTHROPIC_API_KEY": KEY}))

    assert "kubectl create failed" in str(refused.value)
    assert KEY not in str(refused.value)
    assert refused.value.__cause__ is None


def test_the_choice_does_not_show_its_key() -> None:
    """In no trace and no log line."""
    assert KEY not in repr(Runner("claude", credential={"ANTHROPIC_API_KEY": KEY}))


def test_credentials_are_handed_on_to_nobody() -> None:
    """Those of the model never; those of a cloud only where the kubeconfig logs in with its program."""
    environment = {"PATH": "/bin", "ANTHROPIC_API_KEY": "1", "CLAUDE_CODE_X": "2", "AWS_SECRET_ACCESS_KEY": "3"}

    assert set(build_environment(environment, keep_cloud=False)) == {"PATH"}
    assert set(build_environment(environment, keep_cloud=True)) == {"PATH", "AWS_SECRET_ACCESS_KEY"}


def test_a_kubeconfig_with_a_program_keeps_the_clouds_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as `aws eks get-token`, which needs them."""
    monkeypatch.setenv("AWS_PROFILE", "mine")
    (tmp_path / "kubeconfig").write_text("users:\n- user:\n    exec:\n      command: aws\n")

    assert "AWS_PROFILE" in load_environment(tmp_path / "kubeconfig")
    assert "AWS_PROFILE" not in load_environment(tmp_path / "another")


def test_kubectl_inherits_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is run for."""
    write_kubectl(tmp_path, "env")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", KEY)

    assert KEY not in run_kubectl(tmp_path / "kubeconfig", ["get", "pods"])
