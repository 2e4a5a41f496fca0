"""The broker's process: settings, hardening, signals, one life.

Owns the start and the exit codes: 0 after a clean stop, 78 when the environment is wrong, 74 when the folder of
sockets fails. Invariant: hardened before the first credential is read; within STOP_SECONDS of SIGTERM it is gone.
Grants that cannot be read leave those that were read last in force.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress

from watchbill_broker.forwarding import Forwarder
from watchbill_broker.grants import GRANTS_FILE, Grant, GrantsUnreadable, load_grants
from watchbill_broker.hardening import apply_hardening
from watchbill_broker.prices import BadPrices, load_prices
from watchbill_broker.settings import Settings, SettingsError, parse_settings
from watchbill_broker.sockets import Sockets
from watchbill_broker.watching import FolderWatch

EX_IOERR = 74
EX_CONFIG = 78
STOP_SECONDS = 2.0
RETRY_SECONDS = 1.0  #: while an attempt lacks its socket

logger = logging.getLogger(__name__)


def run_broker() -> int:
    """Run one life of the broker and return the exit code."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        apply_hardening()
        settings = parse_settings(os.environ)
        logging.getLogger().setLevel(settings.log_level)
        prices = load_prices(settings.prices)
    except (SettingsError, BadPrices, ValueError) as error:
        logger.critical("%s", error)
        return EX_CONFIG
    try:
        os.makedirs(settings.sockets, mode=0o755, exist_ok=True)
        os.chdir(settings.sockets)
        asyncio.run(_live(settings, Forwarder(settings, prices)))
    except OSError as error:
        logger.critical("the broker's folders cannot be used: %s", error)
        return EX_IOERR
    return 0


async def _live(settings: Settings, forwarder: Forwarder) -> None:
    """Serve until told to stop."""
    sockets = Sockets(forwarder, settings.ledger)
    following = asyncio.ensure_future(follow_grants(settings, sockets))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, following.cancel)
    logger.info("the broker of provider %s is ready", settings.provider)
    with suppress(asyncio.CancelledError):
        await following
    with suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS / 2):
            await sockets.close()
    forwarder.close()
    logger.info("the broker stops")


async def follow_grants(settings: Settings, sockets: Sockets) -> None:
    """Make the sockets equal to the grants whenever these change, and every RETRY_SECONDS while a socket is missing."""
    watch = FolderWatch(settings.grants, GRANTS_FILE, notify=settings.notify)
    told = ""
    latest: dict[str, Grant] | None = None
    try:
        while True:
            await _wait_for_work(watch, sockets)
            grants, problem = _read_grants(settings)
            if problem and problem != told:
                logger.error("the grants cannot be read and stay as they were: %s", problem)
            told = problem
            latest = latest if grants is None else grants
            if latest is not None:
                await sockets.apply(latest)
    finally:
        watch.close()


async def _wait_for_work(watch: FolderWatch, sockets: Sockets) -> None:
    """Until the grants may have changed, or a missing socket is due again."""
    with suppress(TimeoutError):
        async with asyncio.timeout(None if sockets.are_whole else RETRY_SECONDS):
            await watch.wait()


def _read_grants(settings: Settings) -> tuple[dict[str, Grant] | None, str]:
    """The grants, or why they cannot be read; neither where there are none yet."""
    try:
        return load_grants(settings.grants), ""
    except GrantsUnreadable as error:
        return None, str(error)
