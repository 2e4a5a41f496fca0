"""What a namespace needs before a local operator can run there: both CRDs, and of `manifests/base` rights and claim.

Owns how they are applied, and the credentials of the operator: on a control plane that checks rights, a token of its
ServiceAccount, so that it runs with the Role of `manifests/base` and nothing more. Never grants anything itself, and
leaves the namespace as it is: its labels, and the Deployment, are for operators that run in a pod.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from watchbill_cli.cluster import Cluster
from watchbill_cli.home import Home, Refused, data_file
from watchbill_cli.kubectl import run_kubectl
from watchbill_local.certificate import write_private

ACCOUNT = "watchbill-operator"
FILES = ("crds/agents.yaml", "crds/tasks.yaml", "base/rbac.yaml", "base/volume-claim.yaml")
TOKEN_DURATION = "720h"  # noqa: S105  # each start renews it; a server may grant less
CRDS = tuple(f"customresourcedefinition.apiextensions.k8s.io/{kind}.watchbill.dev" for kind in ("agents", "tasks"))


def apply_base(home: Home, cluster: Cluster) -> None:
    """Apply CRDs, rights and claim with kubectl, at each start: what somebody deleted meanwhile is put back.

    Raises Refused with kubectl's words.
    """
    body = json.dumps(build_list([data_file(name) for name in FILES], cluster.namespace))
    try:
        said = run_kubectl(home.kubeconfig, ["apply", "-f", "-"], stdin=body)
    except Refused as refusal:
        if "AlreadyExists" not in str(refusal):
            raise
        # Another system installs the CRDs at this moment: the second time they are there.
        said = run_kubectl(home.kubeconfig, ["apply", "-f", "-"], stdin=body)
    if not all(f"{crd} unchanged" in said for crd in CRDS):
        run_kubectl(home.kubeconfig, ["wait", "--for=condition=Established", "--timeout=30s", *CRDS])


def build_list(files: list[Path], namespace: str) -> dict[str, Any]:
    """All objects of these files as one List; a binding's subject is the ServiceAccount of this namespace."""
    yaml = YAML(typ="safe", pure=True)
    objects = [item for path in files for item in yaml.load_all(path.read_text(encoding="utf-8"))]
    for subject in (subject for item in objects for subject in item.get("subjects") or ()):
        subject["namespace"] = namespace
    return {"apiVersion": "v1", "kind": "List", "items": objects}


def write_operator_kubeconfig(home: Home) -> None:
    """Make the operator's kubeconfig: the home's own, with a fresh token of the operator's ServiceAccount as the user.

    Raises Refused where the control plane gives no token.
    """
    whole = ["config", "view", "--raw", "--flatten", "--minify", "-o", "json"]
    config = json.loads(run_kubectl(home.kubeconfig, whole))
    token = run_kubectl(home.kubeconfig, ["create", "token", ACCOUNT, f"--duration={TOKEN_DURATION}"]).strip()
    config["users"] = [{"name": ACCOUNT, "user": {"token": token}}]
    config["contexts"][0]["context"]["user"] = ACCOUNT
    write_private(str(home.operator_kubeconfig), json.dumps(config))
