"""How many writes the API takes: as the operator counts its own, and as a real API server counts everybody's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import pykube

READING = frozenset({"get", "list", "watch", "connect"})
VERBS = {"post": "create", "put": "update"}
SERVER_METRIC = "apiserver_request_total"
OPERATOR_METRIC = "watchbill_api_calls_total"
LABEL = re.compile(r'(\w+)="([^"]*)"')

Writes = Counter[str]  #: `verb resource[/subresource]` → number


def parse_operator_writes(page: str) -> Writes:
    """Successful writes in the operator's metrics."""
    found: Writes = Counter()
    for labels, value in parse_samples(page, OPERATOR_METRIC):
        if labels["verb"] not in READING and labels["code"].startswith("2"):
            found[f"{labels['verb']} {labels['resource']}"] += int(value)
    return found


def load_server_writes(api: pykube.HTTPClient) -> Writes | None:
    """Successful writes of all clients in the API server's metrics; None for a server that has none."""
    answer = api.get(url="/metrics", base="", version="")
    return parse_server_writes(answer.text) if answer.ok else None


def parse_server_writes(page: str) -> Writes:
    """Successful writes in the metrics of a kube-apiserver."""
    found: Writes = Counter()
    for labels, value in parse_samples(page, SERVER_METRIC):
        verb = labels["verb"].lower()
        if verb not in READING and labels["code"].startswith("2"):
            resource = "/".join(part for part in (labels["resource"], labels["subresource"]) if part)
            found[f"{VERBS.get(verb, verb)} {resource}"] += int(value)
    return found


def parse_samples(page: str, name: str) -> list[tuple[Mapping[str, str], float]]:
    """Labels and values of one metric in Prometheus' text format."""
    samples: list[tuple[Mapping[str, str], float]] = []
    for line in page.splitlines():
        if line.startswith(name + "{"):
            labels, _, value = line[len(name) :].rpartition(" ")
            samples.append((dict(LABEL.findall(labels)), float(value)))
    return samples


def describe_writes(writes: Writes, tasks: int) -> str:
    """Writes a task by kind, the frequent ones first; what is less than one in a hundred tasks is left out."""
    frequent = [(kind, number) for kind, number in writes.most_common() if number * 100 >= tasks]
    return ", ".join(f"{number / tasks:.2f} {kind}" for kind, number in frequent) or "none"
