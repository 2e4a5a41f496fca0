"""One attempt by the claude runner with a program of the test's own in the place of Claude Code.

`python -m support.runner_driver FOLDER PROGRAM LIMITS URL` prints the outcome as JSON; LIMITS are members of `Limits`,
an empty PROGRAM is the real one. A process of its own: the runner ends whatever is left below its process.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from pathlib import Path

from watchbill_agent.claude.runner import ClaudeRunner, find_program
from watchbill_agent.claude.session import Limits
from watchbill_agent.claude.settings import ClaudeSettings
from watchbill_agent.exchange import AttemptExchange
from watchbill_agent.runners import StopRequest
from watchbill_agent.settings import parse_settings
from watchbill_agent.workspace import prepare_order
from watchbill_coordination.core.messages import Assign
from watchbill_coordination.core.specs import TaskUid

PARTS = ("inbox", "outbox", "work", "state", "context")


def main(folder: Path, program: str, limits: str, url: str) -> None:
    """Run it."""
    for part in PARTS:
        (folder / part).mkdir()
    variables = {f"WATCHBILL_{part.upper()}": str(folder / part) for part in PARTS}
    settings = parse_settings(variables | {"WATCHBILL_REPLICA": "green-0", "WATCHBILL_ROLE": "green"})
    assign = Assign(
        task=TaskUid("0b1c2d3e-0000-4000-8000-00000000abcd"),
        attempt=1,
        name="it",
        incarnation="i",
        timeout_seconds=60.0,
        prompt="Do it.",
    )
    claude = ClaudeSettings(model="m", broker=False, base_url=url)
    path = Path(program) if program else find_program()
    runner = ClaudeRunner(settings, claude, path, limits=Limits(**json.loads(limits)))
    order = prepare_order(settings, assign, base=dict(os.environ), exchange=AttemptExchange(lambda _: None))
    outcome = asyncio.run(runner.run(order, StopRequest()))
    sys.stdout.write(json.dumps(dataclasses.asdict(outcome)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:5])
