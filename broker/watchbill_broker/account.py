"""What one attempt may spend, and who may go next.

Owns the budget of an attempt. Invariant: with a budget, paid requests overshoot it by at most one answer of the model,
however many come at once: a request goes when it is alone and something is left, or when even the dearest possible
answers to all that are under way and to itself fit into what is left; otherwise it waits for one of them to end.
Nothing is spent that the ledger could not take: a ledger that cannot be written refuses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from watchbill_broker import answers
from watchbill_broker.answers import Answer
from watchbill_broker.grants import Grant
from watchbill_broker.ledger import Charge, LedgerUnreadable, Sums, load_sums, save_sums

MILLIONTH = 1e-6  #: of a dollar: less than this is not left over, but rounding

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Ticket:
    """Leave for one paid request."""

    estimate: Callable[[], float]
    charge: Charge | None = None  #: what its answer has told so far

    @cached_property
    def bound(self) -> float:
        """The most that its answer can cost, USD; reckoned only when another request asks."""
        return self.estimate()


class Account:
    """The spending of one attempt."""

    def __init__(self, grant: Grant, folder: Path) -> None:
        """Continue the ledger in `folder`."""
        self._grant = grant
        self._path = folder / f"{grant.name}.json"
        self._problem = ""  #: what the log was told last
        self._is_loaded = self._is_saved = False
        self._under_way: list[Ticket] = []
        self._changed = asyncio.Event()
        self._settled = Sums()  #: without what is under way
        self._can_use_ledger()

    @property
    def budget(self) -> float | None:
        """What the attempt may spend, USD; None is without limit."""
        return self._grant.budget_usd

    @property
    def sums(self) -> Sums:
        """All that is known to be used, answers under way included."""
        sums = self._settled
        for ticket in self._under_way:
            sums = sums.add(ticket.charge) if ticket.charge is not None else sums
        return sums

    def change(self, grant: Grant) -> None:
        """Take over a new budget."""
        self._grant = grant
        self._wake()

    async def admit(self, estimate: Callable[[], float]) -> Ticket | Answer:
        """Wait for leave; an Answer is a refusal. Every ticket must be settled. `estimate` bounds the cost in USD."""
        ticket = Ticket(estimate)
        while True:
            if refusal := self._refuse():
                return refusal
            if self._fits(ticket):
                self._under_way.append(ticket)
                return ticket
            await self._changed.wait()

    def note(self, ticket: Ticket, charge: Charge) -> None:
        """Write down what an answer under way has told; a broker that is killed in its middle has not forgotten it."""
        ticket.charge = charge
        self._is_saved = False
        self._can_use_ledger()

    def settle(self, ticket: Ticket, charge: Charge | None) -> None:
        """End a request; None where it cost nothing."""
        self._under_way.remove(ticket)
        if charge is not None:
            self._settled = self._settled.add(charge)
        if charge != ticket.charge:
            self._is_saved = False
            self._can_use_ledger()
        self._wake()

    def _refuse(self) -> Answer | None:
        """Why no paid request may go at all now, or None."""
        if not self._can_use_ledger():
            return answers.ledger_fails(self._problem)
        budget = self.budget
        if budget is not None and self.sums.cost_usd > budget - MILLIONTH:
            return answers.over_budget(budget)
        return None

    def _fits(self, ticket: Ticket) -> bool:
        budget = self.budget
        if budget is None or not self._under_way:
            return True
        at_most = self.sums.cost_usd + sum(other.bound for other in self._under_way) + ticket.bound
        return at_most <= budget

    def _can_use_ledger(self) -> bool:
        """Continue what a former life wrote, and write what is not written; False where either fails."""
        try:
            if not self._is_loaded:
                self._settled = load_sums(self._path)
                self._is_loaded = True
            if not self._is_saved:
                save_sums(self._path, task=self._grant.task, attempt=self._grant.attempt, sums=self.sums)
                self._is_saved = True
        except LedgerUnreadable as error:
            problem = str(error)
        except OSError as error:
            problem = error.strerror or type(error).__name__
        else:
            self._problem = ""
            return True
        if problem != self._problem:
            logger.error("the ledger %s cannot be used: %s", self._path.name, problem)
        self._problem = problem
        return False

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
