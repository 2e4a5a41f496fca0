"""The manifests of this checkout as kubectl builds them, and the pods in them.

Owns the calls of `kubectl kustomize`, and where a kind has its pod. The agents' pods are built by the operator's own
code from the sample Agents. Reads only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from watchbill_operator.pod_settings import PodSettings
from watchbill_operator.pods import build_pod

CHECKOUT = Path(__file__).resolve().parents[2]
MANIFESTS = CHECKOUT / "manifests"
SAMPLES = MANIFESTS / "samples"
KUBECTL = Path(sys.executable).with_name("kubectl")
OVERLAYS = ("kind", "production")
AGENTS = ("agents.yaml", "claude-agents.yaml")
TEMPLATES = {"Deployment": ("spec", "template"), "Job": ("spec", "template"), "Pod": ()}

Obj = dict[str, Any]


@cache
def build_overlay(name: str) -> list[Obj]:
    """All objects of an overlay; shared, so nobody changes them."""
    return parse(_kustomize(MANIFESTS / "overlays" / name))


def render_overlay(name: str, namespace: str, folder: Path) -> str:
    """The overlay's YAML for another namespace, by a kustomization of its own in `folder`."""
    target = os.path.relpath(MANIFESTS / "overlays" / name, folder)
    (folder / "kustomization.yaml").write_text(f"namespace: {namespace}\nresources: ['{target}']\n")
    return _kustomize(folder)


def load_sample(name: str) -> list[Obj]:
    """The objects of a sample."""
    return parse((SAMPLES / name).read_text())


def parse(text: str) -> list[Obj]:
    """The documents of a YAML text."""
    return [item for item in YAML(typ="safe").load_all(text) if item]


def build_agent_pods(file: str) -> list[Obj]:
    """The pods that the operator makes of the Agents in a sample, one of each."""
    settings = PodSettings(namespace="watchbill", image="watchbill/agent:dev")
    agents = [{**agent, "metadata": {**agent["metadata"], "uid": "u"}} for agent in load_sample(file)]
    return [build_pod(agent, 0, settings) for agent in agents]


def list_pods(objects: list[Obj]) -> Iterator[tuple[str, Obj]]:
    """What brings pods, by kind and name, with the pod or its template."""
    for item in objects:
        if item["kind"] in TEMPLATES:
            pod = item
            for step in TEMPLATES[item["kind"]]:
                pod = pod[step]
            yield f"{item['kind']}/{item['metadata']['name']}", pod


def list_all_pods() -> list[tuple[str, Obj]]:
    """Every pod that an installation with all samples has, once for each place that it comes from."""
    found = [(f"{name}: {of}", pod) for name in OVERLAYS for of, pod in list_pods(build_overlay(name))]
    found += list_pods(load_sample("repair-job.yaml"))
    return found + [(f"{file}: {of}", pod) for file in AGENTS for of, pod in list_pods(build_agent_pods(file))]


def find_one(objects: list[Obj], kind: str) -> Obj:
    """The only object of a kind."""
    [found] = [item for item in objects if item["kind"] == kind]
    return found


def list_selecting(policies: list[Obj], labels: Mapping[str, str]) -> list[str]:
    """The names of the NetworkPolicies that select a pod with these labels."""
    return sorted(
        policy["metadata"]["name"]
        for policy in policies
        if (policy["spec"]["podSelector"].get("matchLabels") or {}).items() <= labels.items()
    )


def _kustomize(folder: Path) -> str:
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # kustomize warns of what it will not take much longer
    return done.stdout
