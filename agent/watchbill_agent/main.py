"""The agent process: settings, signals, one life.

Owns the start and the exit codes: 0 after a clean stop, 78 when the environment is wrong, 74 when the mailboxes fail.
Nothing that it ran is alive when it exits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time

from watchbill_agent import process_group
from watchbill_agent.claude.environment import forget_environment
from watchbill_agent.command_runner import CommandRunner
from watchbill_agent.guard import FORWARDED, PARENT_GONE
from watchbill_agent.lifecycle import StopSignal
from watchbill_agent.loop import AgentLoop
from watchbill_agent.outcome import EX_CONFIG
from watchbill_agent.runners import Runner
from watchbill_agent.settings import Settings, SettingsError, parse_settings
from watchbill_agent.workspace import clear_state

EX_IOERR = 74

logger = logging.getLogger(__name__)


def run_agent() -> int:
    """Run one life of the agent in this process and return the exit code."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = parse_settings(os.environ)
        logging.getLogger().setLevel(settings.log_level)
        runner = build_runner(settings)
    except (SettingsError, ValueError) as error:
        logger.critical("%s", error)
        return EX_CONFIG
    os.umask(0o022)  # the operator, another user, reads results
    try:
        asyncio.run(_live(settings, runner))
    except OSError as error:
        logger.critical("the agent's folders cannot be used: %s", error)
        return EX_IOERR
    finally:
        if left := process_group.end_all_below():
            logger.error("these processes do not end: %s", sorted(left))
    return 0


async def _live(settings: Settings, runner: Runner) -> None:
    """Serve until released."""
    end_former_life(settings)
    clear_state(settings.state)
    start = time.time_ns() // 1_000_000  # by the clock: commands may change any file that could keep a count
    incarnation = f"{settings.pod_uid}/{start}"
    agent = AgentLoop(settings, runner, incarnation=incarnation, start=start)
    if settings.claude is not None:
        forget_environment(os.environ)  # the loop has a copy for its commands; the SDK would hand this one on
    loop = asyncio.get_running_loop()
    for number in FORWARDED:
        loop.add_signal_handler(number, agent.observe, StopSignal())
    loop.add_signal_handler(PARENT_GONE, _end_at_once)
    logger.info("%s is incarnation %s, %s slots", settings.replica, incarnation, settings.slots)
    await agent.run()
    logger.info("%s is released", settings.replica)


def build_runner(settings: Settings) -> Runner:
    """Return what does the work of attempts. Raises SettingsError when it is not installed."""
    if settings.claude is None:
        return CommandRunner()
    from watchbill_agent.claude.runner import ClaudeRunner, find_program  # an agent that runs commands stays small

    return ClaudeRunner(settings, settings.claude, find_program())


def end_former_life(settings: Settings) -> None:
    """End the commands of a life whose two processes were both killed. Pods with a pid namespace have none left."""
    marks = (os.fsencode(f"WATCHBILL_RESULT={settings.work}/"), os.fsencode(f"WATCHBILL_REPLICA={settings.replica}"))
    if left := process_group.end_all(lambda: process_group.find_marked(*marks)):
        logger.error("commands of a former life do not end: %s", sorted(left))


def _end_at_once() -> None:
    """The guard was killed: leave nothing running, say nothing; the next life tells the operator."""
    process_group.end_all_below()
    os._exit(128 + signal.SIGKILL)
