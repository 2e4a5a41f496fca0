"""`python -m watchbill_agent`: forks before anything heavy is imported, so that the guard stays small."""

from __future__ import annotations

import sys

from watchbill_agent.guard import run_guarded


def _run_agent() -> int:
    from watchbill_agent.main import run_agent  # in the child alone

    return run_agent()


if __name__ == "__main__":
    sys.exit(run_guarded(_run_agent))
