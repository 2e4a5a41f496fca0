"""The process node as a program: `python -m watchbill_local.node --kubeconfig FILE --data DIR`.

Owns the command line, the lock on the data directory, and the order of starting and stopping. Exit codes: 0 stopped by
SIGTERM or SIGINT, 1 could not start (one sentence on standard error says why and what to do), 2 wrong usage.

Everything that an earlier node of the same data directory left running is killed before the first container starts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import signal
import sys
from pathlib import Path

import aiohttp

from watchbill_local.node.api import UNREACHABLE, ApiClient, ApiError, load_cluster
from watchbill_local.node.events import EventRecorder
from watchbill_local.node.isolation import DEFAULT_IMAGES, SpecRefused, choose_level, remove_links
from watchbill_local.node.launch import Level
from watchbill_local.node.leftovers import kill_leftovers
from watchbill_local.node.process_node import ProcessNode
from watchbill_local.node.processes import Launcher
from watchbill_local.node.settings import Settings, Shared

log = logging.getLogger("watchbill_local.node")


def parse_settings(arguments: list[str]) -> Settings:
    """The command line as Settings; exits with code 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="watchbill_local.node", description="Runs pods as processes of this machine.")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="its current context names server and user")
    parser.add_argument("--data", type=Path, required=True, help="directory for pods, logs and volumes")
    parser.add_argument("--name", default="watchbill-local", help="name of the Node object")
    parser.add_argument("--isolation", choices=["auto", *Level], default="auto", help="auto takes the best that works")
    parser.add_argument("--volume", action="append", default=[], metavar="CLAIM=DIR", help="directory behind a claim")
    parser.add_argument(
        "--image", action="append", default=[], metavar="NAME=PROGRAM", help="words put before the command"
    )
    parser.add_argument(
        "--readable", action="append", default=[], type=Path, metavar="DIR", help="host directory to show"
    )
    parser.add_argument("--fast", action="store_true", help="at SIGTERM, give containers at most 5 s")
    parser.add_argument("--backoff", type=float, default=10.0, metavar="SECONDS", help="first pause of a crash loop")
    parser.add_argument("--port", type=int, default=0, help="port for container logs; 0 takes a free one")
    parser.add_argument("--tls", nargs=2, type=Path, metavar=("CERT", "KEY"), help="serve that port by TLS")
    given = parser.parse_args(arguments)
    volumes, images = (_pairs(parser, values) for values in (given.volume, given.image))
    return Settings(
        data=given.data.absolute(),
        kubeconfig=given.kubeconfig.absolute(),
        name=given.name,
        isolation=given.isolation,
        volumes={claim: Path(folder).absolute() for claim, folder in volumes.items()},
        images={**images, **DEFAULT_IMAGES},
        readable=tuple(path.absolute() for path in given.readable),
        fast=given.fast,
        backoff=given.backoff,
        port=given.port,
        certificate=tuple(given.tls) if given.tls else None,
    )


def _pairs(parser: argparse.ArgumentParser, values: list[str]) -> dict[str, str]:
    pairs = dict(value.partition("=")[::2] for value in values)
    if any("=" not in value for value in values):
        parser.error("--volume and --image take NAME=VALUE")
    return pairs


async def run_node(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises what the caller turns into a sentence."""
    cookie = hashlib.sha256(os.fsencode(settings.data.resolve())).hexdigest()[:16]
    if killed := kill_leftovers(cookie):
        log.warning("killed %d processes that an earlier node left behind", killed)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    launcher = Launcher(cookie)
    probing = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
    try:
        level = await choose_level(launcher, settings.isolation, settings.data / "trial")
        async with probing, ApiClient(load_cluster(settings.kubeconfig)) as api:
            events = EventRecorder(api, settings.name)
            await ProcessNode(Shared(settings, level, api, launcher, events, probing, cookie)).run(stop)
    finally:
        await probing.close()
        launcher.close()
        kill_leftovers(cookie)
        remove_links()


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = parse_settings(sys.argv[1:] if arguments is None else arguments)
    with contextlib.ExitStack() as stack:
        try:
            (settings.data / "pods").mkdir(parents=True, exist_ok=True)
            settings.data.chmod(0o700)
            lock = stack.enter_context((settings.data / "node.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _fail(f"another node runs with --data {settings.data}: stop it, or give this one its own directory")
        except OSError as error:
            return _fail(f"cannot use the data directory {settings.data}: {error}")
        try:
            asyncio.run(run_node(settings))
        except (*UNREACHABLE, ApiError) as error:
            return _fail(f"the API server of {settings.kubeconfig} does not take this node: {error}")
        except (OSError, KeyError, ValueError, SpecRefused) as error:
            return _fail(f"cannot start: {type(error).__name__}: {error}")
    return 0


def _fail(sentence: str) -> int:
    log.error(sentence)
    return 1


if __name__ == "__main__":
    sys.exit(main())
