"""`watchbill lint FILE...`: what the API server would refuse, before it is asked, with file, line and column.

Owns no rule: the schemas of the CRDs that ship with the project say what is right, read by the same code that the small
API server uses, and the operator's own check of a podTemplate; of other kinds, the small API server's tables. What is
not checked is counted and said, so that silence is consent.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from watchbill_cli.home import Refused, data_file
from watchbill_cli.lint_files import PATCH, SETTING, find_role, is_kustomization, lint_kustomization, list_files
from watchbill_cli.manifests import Finding, Manifest, load_manifests
from watchbill_local.server.names import check_subdomain
from watchbill_operator.claude_pod import find_broker_secret
from watchbill_operator.pod_template import check_pod_template

GROUP = "watchbill.dev/"
NOTE = "note"  #: severity of what is said in a summary alone
UNCHECKED = "not checked: "
RBAC_KINDS = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
MAX_NAME = 253
ROOT = "<nil>"  #: the field of a cause that speaks of the whole object
MAX_ANNOTATIONS = 262_144  #: bytes of all annotations; `kubectl apply` puts the whole object into one


def run_lint(arguments: Namespace) -> int:
    """Print all findings, and on standard error what was not checked; exit code 1 if one finding is an error."""
    files = list(list_files(arguments.files))
    findings = [finding for path in files for finding in lint_file(path)]
    if arguments.output == "json":
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        for finding in findings:
            if finding.severity != NOTE:
                print(finding)
    print(tell_summary(len(files), findings), file=sys.stderr)
    return int(any(finding.severity == "error" for finding in findings))


def tell_summary(files: int, findings: Sequence[Finding]) -> str:
    """How much was looked at, what was found, and what was not checked, by kind."""
    counts = Counter(finding.severity for finding in findings)
    unchecked = Counter(f.message.removeprefix(UNCHECKED) for f in findings if f.severity == NOTE)
    parts = [f"{files} {'file' if files == 1 else 'files'}", f"{counts['error']} errors, {counts['warning']} warnings"]
    parts += [UNCHECKED + ", ".join(f"{n} {kind}" for kind, n in sorted(unchecked.items()))] if unchecked else []
    return "; ".join(parts)


def lint_file(path: Path) -> Iterator[Finding]:
    """Yield what is wrong with a file, in its order."""
    role = find_role(path)
    for item in load_manifests(path):
        if isinstance(item, Finding):
            yield item
        elif is_kustomization(path):
            yield from _sorted(lint_kustomization(item))
        elif role == SETTING:
            yield item.finding("", f"{UNCHECKED}setting of kustomize", NOTE)
        elif role == PATCH:
            yield item.finding("", f"{UNCHECKED}patch of kustomize", NOTE)
        else:
            yield from _sorted(lint_manifest(item))


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: (finding.line, finding.column))


def lint_manifest(manifest: Manifest) -> Iterator[Finding]:
    """Yield what is wrong with one object."""
    value = manifest.value
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        yield manifest.finding("", "is no Kubernetes object: it has no kind")
        return
    if not str(value.get("apiVersion", "")).startswith(GROUP):
        yield from _lint_other(manifest, value)
        return
    schema = _schemas().get((str(value["apiVersion"]), value["kind"]))
    if schema is None:
        known = ", ".join(sorted(f"{kind} of {version}" for version, kind in _schemas()))
        yield manifest.finding("kind", f"there is no {value['kind']} of {value['apiVersion']}; there are {known}")
        return
    yield from _lint_metadata(manifest, value)
    yield from _lint_size(manifest, value)
    for unknown in schema.normalise(value):
        yield manifest.finding(unknown, "unknown field")
    causes = list(schema.check(value, None))
    for cause in causes:
        if cause.field != ROOT:  # only says that rules were not run, because of what is listed already
            yield manifest.finding(cause.field, cause.message)
    template = (value.get("spec") or {}).get("podTemplate") if isinstance(value.get("spec"), dict) else None
    if isinstance(template, dict):
        secret = "" if causes else find_broker_secret(value["spec"])
        for refusal in check_pod_template(template, secret=secret):
            yield manifest.finding("spec.podTemplate", refusal.message)


def _lint_other(manifest: Manifest, value: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with an object of a kind that is not Watchbill's, or a note that it was not checked."""
    if not isinstance(value.get("apiVersion"), str):
        yield manifest.finding("", "is no Kubernetes object: it has no apiVersion")
        return
    yield from (found := list(_lint_metadata(manifest, value)))
    if found:
        return
    with _needs_extra():
        from watchbill_cli.lint_builtin import find_unchecked, lint_builtin
    yield from lint_builtin(manifest)
    if unchecked := find_unchecked(value):
        yield manifest.finding("kind", UNCHECKED + unchecked, NOTE)


def _lint_metadata(manifest: Manifest, value: Mapping[str, Any]) -> Iterator[Finding]:
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if name is None:
        if not (isinstance(metadata, dict) and metadata.get("generateName")):
            yield manifest.finding("metadata", "the object has no name")
    elif value.get("kind") in RBAC_KINDS:
        return  # a path segment: `system:node` is one
    elif not isinstance(name, str) or check_subdomain(name):
        yield manifest.finding(
            "metadata.name",
            f"a name consists of lower case letters, digits, '-' and '.', and has at most {MAX_NAME} characters",
        )


def _lint_size(manifest: Manifest, value: Mapping[str, Any]) -> Iterator[Finding]:
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) + 1
    if size > MAX_ANNOTATIONS:
        yield manifest.finding(
            "spec",
            f"the object has {size} bytes, and `kubectl apply` keeps a copy of it in an annotation of at most "
            f"{MAX_ANNOTATIONS}: use `kubectl create`, or `kubectl apply --server-side`",
            "warning",
        )


@contextmanager
def _needs_extra() -> Iterator[None]:
    """Say which extra brings a package that is not there."""
    try:
        yield
    except ImportError as error:
        raise Refused(f"lint needs the package {error.name}: `pip install 'watchbill[local]'` brings it") from error


@cache
def _schemas() -> Mapping[tuple[str, str], Any]:
    """The compiled schemas by apiVersion and kind."""
    with _needs_extra():
        from watchbill_local.server.schema import Schema
    found: dict[tuple[str, str], Any] = {}
    for path in (data_file("crds/agents.yaml"), data_file("crds/tasks.yaml")):
        definition = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["spec"]
        for version in definition["versions"]:
            key = (f"{definition['group']}/{version['name']}", definition["names"]["kind"])
            found[key] = Schema(version["schema"]["openAPIV3Schema"])
    return found
