"""Where a local system lies: `$WATCHBILL_HOME` and the names below it.

Owns the choice of the folder and the names in it; two homes are two systems that know nothing of each other. Makes
the folders, and says in one sentence what is wrong where that cannot be done. Starts and stops nothing.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import watchbill_cli

CLAIM = "watchbill-coordination"
DAMAGED = 65  #: exit code where the log is damaged, as sysexits.h calls it EX_DATAERR


class Refused(Exception):
    """The user can mend it: the text is the one sentence that says how. Exit code 2."""


class NoLog(Refused):
    """There is no event log on this machine."""


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of one local system."""

    path: Path

    @property
    def kubeconfig(self) -> Path:
        """Written by the API server when it is ready."""
        return self.path / "kubeconfig"

    @property
    def operator_kubeconfig(self) -> Path:
        """What the operator uses on a control plane with RBAC: its own service account, in the same namespace."""
        return self.run / "operator-kubeconfig"

    @property
    def volume(self) -> Path:
        """The shared volume: `$WATCHBILL_ROOT`."""
        return self.path / "volume"

    @property
    def logs(self) -> Path:
        """What the processes say, a file each."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """Process identities and status files."""
        return self.path / "run"

    @property
    def operator_status(self) -> Path:
        """JSON with the address of health and metrics, written by the operator."""
        return self.run / "operator-status.json"

    @property
    def model(self) -> Path:
        """The scripted model's own: its port, and its address while it runs."""
        return self.path / "model"

    def make(self) -> None:
        """Make the folders, private to this user.

        Raises Refused where the place cannot be written.
        """
        try:
            for folder in (self.path, self.volume, self.logs, self.run):
                folder.mkdir(mode=0o700 if folder == self.path else 0o755, parents=True, exist_ok=True)
            probe = self.run / ".probe"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise Refused(
                f"cannot write to {self.path} ({error.strerror}): set WATCHBILL_HOME to a folder that you may write to"
            ) from error


def checkout() -> Path | None:
    """The checkout that this package runs from, or None where it was installed."""
    root = Path(watchbill_cli.__file__).resolve().parents[2]
    return root if (root / "crds").is_dir() and (root / "pyproject.toml").is_file() else None


def data_file(name: str) -> Path:
    """A file that ships with the project: from the checkout, else from the installed package.

    `name` is `crds/…`, `base/…` or `samples/…`.
    """
    root = checkout()
    if root is not None:
        return root / (name if name.startswith("crds") else f"manifests/{name}")
    return Path(watchbill_cli.__file__).resolve().parent / "data" / name


def default_home() -> Home:
    """`$WATCHBILL_HOME`, else a folder for this checkout under the user's XDG state directory."""
    if given := os.environ.get("WATCHBILL_HOME"):
        return Home(Path(given).expanduser().absolute())
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        base = Path(state).expanduser()
    except RuntimeError as error:
        raise Refused("this user has no home directory: set WATCHBILL_HOME to a folder of your choice") from error
    root = checkout() or Path(watchbill_cli.__file__).resolve().parents[1]
    digest = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    return Home(base / "watchbill" / f"{root.name}-{digest}")


def volume_root(home: Home) -> Path:
    """`$WATCHBILL_ROOT`, else the volume of the local system.

    Raises NoLog where neither is there.
    """
    root = Path(os.environ["WATCHBILL_ROOT"]) if os.environ.get("WATCHBILL_ROOT") else home.volume
    if not (root / "orchestration").is_dir():
        raise NoLog(f"no event log below {root}: start a system with `make up`, or set WATCHBILL_ROOT")
    return root


def kubeconfig_path(home: Home) -> Path:
    """`$KUBECONFIG`, else that of the local system.

    Raises Refused where there is no such file.
    """
    path = Path(os.environ.get("KUBECONFIG") or home.kubeconfig)
    if not path.is_file():
        raise Refused(f"there is no kubeconfig {path}: start a system with `make up`, or set KUBECONFIG")
    return path
