"""Runs a program for each attempt.

Owns the program's life: start, streams, deadline, end. Invariant: when `run` returns, neither the program nor anything
that it started is alive, and memory and disk hold a bounded part of what it printed. Standard input is a file, so a
program that never reads cannot block us; standard output and error are pipes that are drained to the end, so it can
never block itself. Programs are started by vfork (subprocess without preexec_fn: 0.2 ms against 2 ms here).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from watchbill_agent import process_group
from watchbill_agent.capture import TAIL_BYTES, Capture
from watchbill_agent.memory_kills import load_memory_kills
from watchbill_agent.outcome import (
    MAX_MESSAGE,
    MAX_RESULT,
    Outcome,
    cancelled,
    classify_exit,
    classify_start_failure,
    deadline_exceeded,
    no_command,
    tell_starved,
)
from watchbill_agent.runners import Order, StopRequest

READ_BYTES = 64 * 1024  #: taken from a pipe at once, so that one loud program does not hold up the others
DRAIN_READS = 64  #: after the end: a pipe holds no more than that
TEND_SECONDS = 1.0  #: between two looks for orphans while an attempt runs, so that their zombies do not pile up
DEADLINE = "DeadlineExceeded"

logger = logging.getLogger(__name__)


def parse_arguments(command: Mapping[str, Any]) -> list[str]:
    """Return the program and its arguments; empty when the command names none."""
    if command.get("shell"):
        return ["/bin/sh", "-c", str(command["shell"])]
    return [str(argument) for argument in command.get("args") or ()]


class CommandRunner:
    """A `Runner` that starts a program. One for all slots of the process, which must be a subreaper."""

    def __init__(self) -> None:
        self._leaders: set[int] = set()  # pids of the programs that run now
        self._suspects: dict[int, set[int]] = {}  # orphan → leaders that ran when it was first seen, and still do

    async def run(self, order: Order, stop: StopRequest) -> Outcome:
        """Run the program to its end; see `Runner`."""
        arguments = parse_arguments(order.command)
        if not arguments:
            return no_command()
        output, errors = Capture(), Capture(head=TAIL_BYTES)
        kills = load_memory_kills()
        with ExitStack() as streams:
            try:
                process = self._start(order, arguments, streams)
            except (OSError, ValueError) as error:
                return classify_start_failure(error, arguments[0])
            drains = [streams.enter_context(_drained(process.stdout, output))]
            drains.append(streams.enter_context(_drained(process.stderr, errors)))
            why = await self._wait_for_end(process, order, stop)
            await self._sweep(process.pid, order)
            for drain in drains:
                drain()
        outcome = self._judge(order, process.returncode, why, output, errors)
        return tell_starved(outcome) if load_memory_kills() > kills else outcome

    def _start(self, order: Order, arguments: list[str], streams: ExitStack) -> subprocess.Popen[bytes]:
        """Start the program as leader of a session of its own. Raises OSError or ValueError."""
        stdin = streams.enter_context((order.stdin or Path(os.devnull)).open("rb"))
        process = subprocess.Popen(
            arguments,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=order.directory,
            env=dict(order.environment),
            start_new_session=True,
        )
        self._leaders.add(process.pid)
        return process

    async def _wait_for_end(self, process: subprocess.Popen[bytes], order: Order, stop: StopRequest) -> str:
        """Wait until the program ended, by itself or by force; return why it was stopped, or an empty text.

        It is not reaped before its group was killed: until then its number cannot be given to another process.
        """
        with _exit_of(process.pid) as exited:
            asked = asyncio.ensure_future(stop.wait())
            ends: set[asyncio.Future[Any]] = {exited, asked}
            await self._tend(ends, order.timeout_seconds)
            why = ""
            if not exited.done():
                why = asked.result() if asked.done() else DEADLINE
                process_group.kill_group(process.pid, signal.SIGTERM)
                await asyncio.wait({exited}, timeout=order.grace_seconds)
            asked.cancel()
            if not exited.done():
                below = process_group.list_descendants(process.pid)
                process_group.kill(below, signal.SIGKILL)
            process_group.kill_group(process.pid, signal.SIGKILL)
            await asyncio.wait({exited}, timeout=process_group.END_SECONDS)
        if process.poll() is None:
            logger.error("process %s does not end", process.pid)
        return why

    async def _tend(self, ends: set[asyncio.Future[Any]], seconds: float) -> None:
        """Wait until one of `ends` is done, at most that time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (left := deadline - loop.time()) > 0:
            done, _ = await asyncio.wait(ends, timeout=min(left, TEND_SECONDS), return_when=asyncio.FIRST_COMPLETED)
            if done:
                return
            self._note_orphans()

    async def _sweep(self, leader: int, order: Order) -> None:
        """End what the program left behind in other sessions."""
        mark = os.fsencode(f"WATCHBILL_RESULT={order.directory}/")
        rounds = int(process_group.END_SECONDS / process_group.LOOK_SECONDS)
        for _ in range(rounds):
            strays = self._find_strays(leader, mark)
            if not strays:
                break
            process_group.kill(process_group.with_descendants(strays), signal.SIGKILL)
            await asyncio.sleep(process_group.LOOK_SECONDS)
        else:
            logger.error("processes of %s do not end", order.directory)
        self._leaders.discard(leader)

    def _find_strays(self, ended: int, mark: bytes) -> set[int]:
        """Return the orphans that must be those of the program that ended.

        They carry its mark, or hide their environment and began when none ran that still runs. So a daemon that
        hides while others work ends at the latest when all that worked beside it have ended.
        """
        orphans = self._note_orphans(ended)
        return {pid for pid in orphans if not self._suspects[pid] or process_group.carries(pid, mark)}

    def _note_orphans(self, ended: int = 0) -> set[int]:
        """Return the orphans that live, reap those that do not, and note who may have started each."""
        orphans = process_group.find_orphans(self._leaders)
        self._suspects = {pid: self._suspects.get(pid, self._leaders) - {ended} for pid in orphans}
        return orphans

    def _judge(self, order: Order, code: int | None, why: str, output: Capture, errors: Capture) -> Outcome:
        """Write what was printed, and say how it ended."""
        first, last = output.first(MAX_RESULT), errors.last(MAX_MESSAGE)
        try:
            _write_output(order.directory / "result", output.content())
        except OSError as error:
            message = f"what it printed could not be written: {error.strerror}"
            return Outcome(outcome="Failed", reason="ResultNotWritten", message=message, exit_code=None)
        if why == DEADLINE:
            return deadline_exceeded(order.timeout_seconds, output=first, errors=last)
        if why:
            return cancelled(why, output=first)
        return classify_exit(-signal.SIGKILL if code is None else code, output=first, errors=last)


def _write_output(result: Path, content: bytes) -> None:
    """Put what was printed into result/stdout, unless the program made a file of that name. Raises OSError."""
    result.mkdir(exist_ok=True)
    folder = os.open(result, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with suppress(FileExistsError), open(os.open("stdout", new, 0o644, dir_fd=folder), "wb") as file:
            file.write(content)
    finally:
        os.close(folder)


@contextmanager
def _drained(pipe: Any, capture: Capture) -> Iterator[Any]:
    """Feed a pipe to a capture while the loop runs; yields a function that takes what is left at the end."""
    loop = asyncio.get_running_loop()
    fd = pipe.fileno()
    os.set_blocking(fd, False)

    def take() -> bool:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        capture.feed(data)
        if not data:
            loop.remove_reader(fd)
        return bool(data)

    def drain() -> None:
        for _ in range(DRAIN_READS):
            if not take():
                return

    loop.add_reader(fd, take)
    try:
        yield drain
    finally:
        loop.remove_reader(fd)
        pipe.close()


@contextmanager
def _exit_of(pid: int) -> Iterator[asyncio.Future[None]]:
    """Yield a future that is done when that child has ended; it is not reaped."""
    loop = asyncio.get_running_loop()
    exited: asyncio.Future[None] = loop.create_future()
    fd = os.pidfd_open(pid)

    def ended() -> None:
        loop.remove_reader(fd)
        if not exited.done():
            exited.set_result(None)

    loop.add_reader(fd, ended)
    try:
        yield exited
    finally:
        loop.remove_reader(fd)
        os.close(fd)
