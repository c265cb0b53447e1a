"""Spending: how much of a budget was left at the worst moment."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from stopgap.rate import Rate


@dataclass(frozen=True, slots=True)
class Headroom:
    """The least that was left of a budget, of how many, and when that was first so (None: nothing was spent)."""

    left: int
    of: Rate
    at: datetime | None = None


@dataclass(slots=True)
class Spending:
    """One budget, spent in the order of time."""

    budget: Rate
    least: Headroom = field(init=False)
    _spent: deque[datetime] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.least = Headroom(self.budget.count, self.budget)

    def spend(self, at: datetime) -> None:
        """Take note that a rung is started."""
        while self._spent and self._spent[0] <= at - self.budget.window:
            self._spent.popleft()
        self._spent.append(at)
        left = self.budget.count - len(self._spent)
        if left < self.least.left:
            self.least = Headroom(left, self.budget, at)
