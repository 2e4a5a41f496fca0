"""A priority queue with lazy deletion.

Owns the order of what waits: smallest first, O(log n) a push or pop. Invariant: an item that is dead (the caller's
`is_live` says so) costs nothing until it comes to the top or the dead outnumber the living. Knows nothing of tasks.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T", bound=tuple[Any, ...])

SMALL = 64  #: a heap of fewer items is never worth compacting


@dataclass(slots=True)
class LazyHeap(Generic[T]):
    """Comparable tuples, the smallest first."""

    items: list[T] = field(default_factory=list)
    limit: int = SMALL  #: when it grows beyond, the dead are swept out

    def __len__(self) -> int:
        return len(self.items)

    def peek(self) -> T | None:
        """The smallest item, dead or alive."""
        return self.items[0] if self.items else None

    def push(self, item: T, is_live: Callable[[T], bool]) -> None:
        """Add an item; sweep the dead when the heap has doubled since the last sweep, so a push stays O(log n)."""
        heapq.heappush(self.items, item)
        if len(self.items) > self.limit:
            self.items = [kept for kept in self.items if is_live(kept)]
            heapq.heapify(self.items)
            self.limit = max(SMALL, 2 * len(self.items))

    def pop(self) -> T:
        """Take the smallest item away; IndexError when there is none."""
        return heapq.heappop(self.items)

    def settle(self, is_live: Callable[[T], bool]) -> T | None:
        """Drop dead items from the top and return the smallest living one."""
        while self.items and not is_live(self.items[0]):
            heapq.heappop(self.items)
        return self.peek()

    def up_to(self, bound: T) -> Iterator[T]:
        """All items not above `bound`, in no order; costs no more than what it yields."""
        places = [0]
        while places:
            place = places.pop()
            if place < len(self.items) and self.items[place] <= bound:
                yield self.items[place]
                places += (2 * place + 1, 2 * place + 2)
