"""What runs the Tasks of a local system: commands, Claude Code with the scripted model, or Claude Code for real.

Owns the choice, the three Agents that follow from it, and the way of a key from the environment of `make up` into a
Secret. The same three names serve each choice, so one fleet takes the other's place pod by pod.

Invariant: a key is in this process and in the Secret alone. It is taken out of the environment before anything is
started, goes to kubectl on standard input, and stands in no sentence that this writes. The Secret is created, or
replaced: `apply` would keep the key in an annotation beside it.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from watchbill_cli.home import Refused, data_file
from watchbill_cli.kubectl import run_kubectl

COMMAND, CLAUDE, SCRIPTED = "command", "claude", "scripted"
KEY = "ANTHROPIC_API_KEY"
CREDENTIALS = ("ANTHROPIC_AUTH_TOKEN", KEY, "CLAUDE_CODE_OAUTH_TOKEN")  #: the first one that is set, as in Claude Code
BASE_URL = "ANTHROPIC_BASE_URL"
SECRET = "watchbill-credentials"  # noqa: S105 - a name
SCRIPTED_SECRET = "watchbill-scripted-model"  # noqa: S105 - a name; a real key never goes to the scripted model
NEEDED = ("claude_agent_sdk", "h11")  #: modules of the extra


@dataclass(frozen=True, slots=True)
class Runner:
    """The choice. `credential` holds the name and the value of what goes into the Secret, or nothing."""

    kind: str = COMMAND  #: command | scripted | claude
    model: str = ""  #: of all Agents; empty: each role's own
    base_url: str = ""  #: empty: the provider's own
    credential: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_claude(self) -> bool:
        """Whether Claude Code runs the Tasks."""
        return self.kind != COMMAND

    @property
    def secret(self) -> str:
        """The Secret that its Agents name."""
        return SCRIPTED_SECRET if self.kind == SCRIPTED else SECRET

    @property
    def answers(self) -> str:
        """What its answers depend on."""
        return self.kind if self.kind != CLAUDE else " ".join(filter(None, (self.kind, self.model)))


def choose_runner(runner: str, model: str, environment: MutableMapping[str, str]) -> Runner:
    """Read the choice from the words of the command line; takes the key out of `environment`.

    Raises Refused where a word is unknown, the extra is not installed, or there is no key.
    """
    credential = {name: value for name in CREDENTIALS if (value := environment.pop(name, "").strip())}
    base_url = environment.pop(BASE_URL, "").strip()
    if runner not in ("", COMMAND, CLAUDE):
        raise Refused(f"there is no runner {runner}: give {COMMAND} or {CLAUDE}")
    if model and runner == COMMAND:
        raise Refused("a model answers prompts, not commands: give --runner claude with it, or leave it out")
    if not model and runner != CLAUDE:
        return Runner()
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        mend = "`pip install 'watchbill[claude]'`, or `make up MODEL=scripted`, which installs it"
        raise Refused(f"agents that run Claude Code need the package {missing[0]}: {mend}")
    if model == SCRIPTED:
        return Runner(SCRIPTED, credential={KEY: "no-key-is-needed"})
    if runner != CLAUDE:
        raise Refused(
            f"the model {model} needs a key: give --runner claude too, or --model {SCRIPTED}, which needs none"
        )
    if not credential:
        names = f"{KEY} (or {' or '.join(name for name in CREDENTIALS if name != KEY)})"
        raise Refused(f"there is no key: set {names}, or use --model {SCRIPTED}, which needs none")
    name = next(iter(credential))
    return Runner(CLAUDE, model, base_url, {name: credential[name]})


def build_agents(runner: Runner) -> dict[str, Any]:
    """The three Agents, as a List that can be applied."""
    file = "samples/claude-agents.yaml" if runner.is_claude else "samples/agents.yaml"
    yaml = YAML(typ="safe", pure=True)
    agents = list(yaml.load_all(data_file(file).read_text(encoding="utf-8")))
    for agent in agents if runner.is_claude else ():
        claude = agent["spec"]["runner"]["claude"]
        claude["credentialSecret"] = runner.secret
        if runner.model:
            agent["spec"]["model"] = runner.model
            agent["spec"].pop("fallbackModel", None)  # one model was asked for
        claude |= {"baseURL": runner.base_url} if runner.base_url else {}
    return {"apiVersion": "v1", "kind": "List", "items": agents}


def build_secret(runner: Runner) -> dict[str, Any]:
    """The Secret with the credential."""
    metadata = {"name": runner.secret, "labels": {"app.kubernetes.io/managed-by": "watchbill"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(runner.credential)}


def put_secret(kubeconfig: Path, runner: Runner) -> None:
    """Create the Secret, or replace what is in it.

    Raises Refused with kubectl's words, never with the key.
    """
    body = json.dumps(build_secret(runner))
    try:
        try:
            run_kubectl(kubeconfig, ["create", "-f", "-"], stdin=body)
        except Refused as refusal:
            if "AlreadyExists" not in str(refusal):
                raise
            run_kubectl(kubeconfig, ["replace", "-f", "-"], stdin=body)
    except Refused as refusal:
        said = str(refusal)
        for value in runner.credential.values():
            said = said.replace(value, "…")
        raise Refused(said) from None


def is_current(pod: Mapping[str, Any], runner: Runner) -> bool:
    """Whether a pod was made for this choice: a fleet of another one is replaced pod by pod."""
    containers = {container["name"]: container for container in pod["spec"]["containers"]}
    agent, broker = (_environment(containers.get(name) or {}) for name in ("agent", "broker"))
    wanted = CLAUDE if runner.is_claude else COMMAND
    return agent.get("WATCHBILL_RUNNER", COMMAND) == wanted and broker.get("WATCHBILL_UPSTREAM", "") == runner.base_url


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {entry["name"]: str(entry.get("value", "")) for entry in container.get("env") or ()}
