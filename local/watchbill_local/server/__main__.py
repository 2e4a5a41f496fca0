"""The small API server as a process: `python -m watchbill_local.server --data DIR --kubeconfig FILE`.

Exit codes: 0 after SIGTERM or SIGINT, 2 when it cannot start as asked (one sentence on stderr says why).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys

from watchbill_local.server.serving import CannotServeError, Settings, serve

log = logging.getLogger("watchbill_local.server")

EXAMPLE = """\
example:
  python -m watchbill_local.server --data ~/.local/state/watchbill/api --kubeconfig /tmp/kubeconfig
  KUBECONFIG=/tmp/kubeconfig kubectl get namespaces
"""


def main() -> int:
    """Run the server until a signal ends it."""
    settings = parse_arguments(sys.argv[1:])
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(run(settings))
    except CannotServeError as error:
        sys.stderr.write(f"watchbill_local.server: {error}\n")
        return 2
    return 0


def parse_arguments(arguments: list[str]) -> Settings:
    """Return the settings of a command line; exits with code 2 on a wrong one."""
    parser = argparse.ArgumentParser(
        prog="watchbill_local.server",
        description="A small Kubernetes API server for trying things and for tests. It serves loopback alone.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="keep objects and token here")
    parser.add_argument("--kubeconfig", required=True, metavar="FILE", help="write the kubeconfig here when ready")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port; 0, the default: that of the last run, or a free one")
    given = parser.parse_args(arguments)
    if not 0 <= given.port <= 65535:
        parser.error(f"--port {given.port} is no port number")
    return Settings(data=given.data, kubeconfig=given.kubeconfig, host=given.host, port=given.port)


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotServeError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serve(settings) as server:
        gc.freeze()  # what start-up made lives as long as the process; later collections need not look at it
        log.info("serving %s, %d objects from earlier, kubeconfig %s", server.url, server.loaded, settings.kubeconfig)
        await stop.wait()
        log.info("stopping")


if __name__ == "__main__":
    sys.exit(main())
