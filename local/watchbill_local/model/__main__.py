"""The scripted model as a process: `python -m watchbill_local.model --data DIR`.

Owns its folder (`port`, `address`) and the order of start and stop. `address` appears when the model answers and holds
its base URL; the port is that of the last run where it is free, so that agents find it again. Exit codes: 0 after
SIGTERM or SIGINT, 2 when it cannot start (one sentence on stderr says why).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

from watchbill_local.model.server import build_app

log = logging.getLogger("watchbill_local.model")
HOST = "127.0.0.1"  #: it answers anybody, so it stays on this machine
STOP_SECONDS = 0.5


class CannotServe(Exception):
    """The model cannot start; the message says why and how to mend it."""


def main() -> int:
    """Run the model until a signal ends it."""
    parser = argparse.ArgumentParser("watchbill_local.model", description="A model that plays from scripts.")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="keep port and address here")
    parser.add_argument("--port", type=int, default=0, help="port; 0, the default: that of the last run, or a free one")
    arguments = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(run(arguments.data, arguments.port))
    except CannotServe as error:
        sys.stderr.write(f"watchbill_local.model: {error}\n")
        return 2
    return 0


async def run(data: Path, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotServe."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(build_app(), access_log=None, handler_cancellation=True, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        os.makedirs(data, mode=0o700, exist_ok=True)
        taken = await _listen(runner, (port,) if port else (_load_port(data), 0))
        _write(data / "port", str(taken))
        _write(data / "address", f"http://{HOST}:{taken}")
    except OSError as error:
        raise CannotServe(f"cannot serve from {data}: {error.strerror or error}") from error
    log.info("serving http://%s:%d", HOST, taken)
    await stop.wait()
    log.info("stopping")
    await runner.cleanup()


async def _listen(runner: web.AppRunner, ports: tuple[int, ...]) -> int:
    """Listen on the first of these ports that is free; return it. Raises OSError when none is."""
    for port in ports[:-1]:
        with contextlib.suppress(OSError):
            await web.TCPSite(runner, HOST, port).start()
            return int(runner.addresses[0][1])
    await web.TCPSite(runner, HOST, ports[-1]).start()
    return int(runner.addresses[0][1])


def _load_port(data: Path) -> int:
    try:
        return int((data / "port").read_text())
    except (OSError, ValueError):
        return 0


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text + "\n")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
