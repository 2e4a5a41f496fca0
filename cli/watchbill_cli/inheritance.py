"""What the programs that the command starts inherit: its environment without the credentials of model and cloud.

Owns the list of what is left out. Invariant: a key that a user set for one program is seen by no other one. A cloud's
credentials stay where the kubeconfig logs in with a program of that cloud, which needs them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

MODEL = ("ANTHROPIC_", "CLAUDE_", "CLAUDECODE", "AWS_BEARER_TOKEN_", "VERTEX_")
CLOUD = ("AWS_", "GOOGLE_", "CLOUDSDK_", "AZURE_")


def build_environment(environment: Mapping[str, str], *, keep_cloud: bool) -> dict[str, str]:
    """The environment without what is left out."""
    left_out = MODEL if keep_cloud else (*MODEL, *CLOUD)
    return {name: value for name, value in environment.items() if not name.startswith(left_out)}


def load_environment(kubeconfig: Path) -> dict[str, str]:
    """What a program that uses this kubeconfig, which need not be there yet, is started with."""
    try:
        text = kubeconfig.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return build_environment(os.environ, keep_cloud="exec:" in text or '"exec"' in text)
