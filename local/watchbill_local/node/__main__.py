"""The process node as a program: `python -m watchbill_local.node --kubeconfig FILE --data DIR`.

Owns the lock on the data directory, and the order of starting and stopping. Exit codes: 0 stopped by SIGTERM or
SIGINT, 1 could not start (one sentence on standard error says why and what to do), 2 wrong usage.

Everything that an earlier node of the same data directory left running is killed before the first container starts.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import signal
import sys

import aiohttp

from watchbill_local.node.api import UNREACHABLE, ApiError, connect
from watchbill_local.node.isolation import SpecRefused, choose_level, remove_links
from watchbill_local.node.process_node import ProcessNode
from watchbill_local.node.processes import Launcher, kill_leftovers
from watchbill_local.node.reports import EventRecorder
from watchbill_local.node.settings import Settings, Shared, parse_settings

log = logging.getLogger("watchbill_local.node")


async def run_node(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises what the caller turns into a sentence."""
    cookie = hashlib.sha256(os.fsencode(settings.data.resolve())).hexdigest()[:16]
    if killed := kill_leftovers(cookie):
        log.warning("killed %d processes that an earlier node left behind", killed)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    launcher, probing = Launcher(cookie), aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
    api = connect(settings.kubeconfig)
    try:
        level = await choose_level(launcher, settings.isolation, settings.data / "trial")
        events = EventRecorder(api, settings.name)
        await ProcessNode(Shared(settings, level, api, launcher, events, probing, cookie)).run(stop)
    finally:
        await probing.close()
        await api.close()
        launcher.close()
        kill_leftovers(cookie)
        remove_links()


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = parse_settings(arguments)
    try:
        (settings.data / "pods").mkdir(parents=True, exist_ok=True)
        settings.data.chmod(0o700)
        with (settings.data / "node.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            asyncio.run(run_node(settings))
    except BlockingIOError:
        said = f"another node runs with --data {settings.data}: stop it, or give this one its own directory"
    except (*UNREACHABLE, ApiError) as error:
        said = f"the API server of {settings.kubeconfig} does not take this node: {error}"
    except (OSError, KeyError, ValueError, SpecRefused) as error:
        said = f"cannot start with --data {settings.data}: {type(error).__name__}: {error}"
    else:
        return 0
    log.error(said)
    return 1


if __name__ == "__main__":
    sys.exit(main())
