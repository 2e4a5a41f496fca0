"""Who may go next, as far as no process is needed to see it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from watchbill_broker.account import Account, Ticket
from watchbill_broker.grants import Grant


def test_requests_that_could_cost_too_much_together_go_one_after_the_other(tmp_path: Path) -> None:
    """Each alone would fit into the budget."""

    async def play() -> None:
        account = Account(Grant("t", 1, 1.0), tmp_path)
        first = await account.admit(lambda: 0.6)
        assert isinstance(first, Ticket)
        second = asyncio.ensure_future(account.admit(lambda: 0.6))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not second.done()

        account.settle(first, None)

        assert isinstance(await asyncio.wait_for(second, 60), Ticket)

    asyncio.run(play())


def test_requests_that_fit_together_go_at_once(tmp_path: Path) -> None:
    """Nobody waits without need."""

    async def play() -> None:
        account = Account(Grant("t", 1, 1.0), tmp_path)
        for _ in range(2):
            assert isinstance(await asyncio.wait_for(account.admit(lambda: 0.4), 60), Ticket)

    asyncio.run(play())
