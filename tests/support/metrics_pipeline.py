"""A Prometheus and an adapter for external metrics in the run's kind cluster, with the settings of the manifests.

Owns their namespace and the registration of the external metrics API, of which a cluster has one. Invariant: the
registration is there only while a pod answers for it, else no namespace of the cluster could be deleted.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from support.kind_cluster import RunCluster
from support.kind_system import KindSystem
from support.kind_tools import CHECKOUT, run_tool
from support.waiting import wait_for

TOOLS = CHECKOUT / "scripts" / "test-tools"
PARTS = CHECKOUT / "tests" / "tools" / "metrics-adapter"
AUTOSCALING = CHECKOUT / "manifests" / "autoscaling"
NAMESPACE = "watchbill-metrics"
API = "/apis/external.metrics.k8s.io/v1beta1"


def make_image() -> str:
    """The image's name; skips where its programs were not built."""
    done = subprocess.run([str(TOOLS), "image"], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@dataclass(frozen=True)
class MetricsPipeline:
    """What answers the controller of HorizontalPodAutoscalers, about one system."""

    cluster: RunCluster
    system: KindSystem

    def start(self) -> None:
        """Load the image, start the pod, and register the API once it answers."""
        self.system.kubectl("apply", "-f", str(AUTOSCALING / "service.yaml"))
        run_tool(self.cluster.tools.kind, "load", "docker-image", "--name", self.cluster.name, make_image())
        self.cluster.kubectl("apply", "-f", str(PARTS / "pod.yaml"))
        settings = self.system.folder / "metrics.json"
        settings.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": self._settings()}))
        self.cluster.kubectl("-n", NAMESPACE, "apply", "-f", str(settings))
        self.cluster.kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/metrics", "--timeout=90s")
        self.cluster.kubectl("apply", "-f", str(PARTS / "api.yaml"))

    def stop(self) -> None:
        """Take everything away, the registration first."""
        for name in ("api.yaml", "pod.yaml"):
            self.cluster.kubectl("delete", "-f", str(PARTS / name), "--ignore-not-found", "--wait=false")

    def autoscale(self, *changes: Mapping[str, object]) -> None:
        """Apply `manifests/autoscaling` to the system's namespace, with these JSON patches of its autoscaler."""
        overlay = self.system.folder / "autoscaling"
        overlay.mkdir()
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": self.system.namespace,
            "resources": [os.path.relpath(AUTOSCALING, overlay.resolve())],
            "patches": [{"target": {"kind": "HorizontalPodAutoscaler"}, "patch": json.dumps(changes)}],
        }
        (overlay / "kustomization.yaml").write_text(json.dumps(content))
        self.system.kubectl("apply", "-k", str(overlay))

    def wait_for_metric(self, name: str, selector: str, value: str) -> None:
        """Wait until the external metrics API tells that value of the only series that is selected."""
        path = f"{API}/namespaces/{self.system.namespace}/{name}?labelSelector={selector}"

        def tells() -> bool:
            done = self.system.try_kubectl("get", "--raw", path)
            return done.code == 0 and [item["value"] for item in json.loads(done.out)["items"]] == [value]

        wait_for(tells, f"the external metrics API tells {value} for {name}", every=0.5)

    def _settings(self) -> list[Mapping[str, object]]:
        """The two ConfigMaps, with the system's namespace where they name one."""
        namespace, items = self.system.namespace, []
        for name in ("prometheus.yaml", "adapter.yaml"):
            text = (AUTOSCALING / name).read_text()
            text = text.replace("watchbill-operators.watchbill.svc", f"watchbill-operators.{namespace}.svc")
            text = text.replace("replacement: watchbill\n", f"replacement: {namespace}\n")
            items.append(YAML(typ="safe").load(text))
        return items


def find_crd() -> Path:
    """KEDA's CRD of ScaledObjects; skips where it was not built."""
    done = subprocess.run([str(TOOLS), "where", "keda"], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())
