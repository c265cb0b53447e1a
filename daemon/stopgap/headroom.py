"""Headroom: how many more rungs each rule may start now, counted from the permits of its budget's window."""

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime

from stopgap.clock import Clock
from stopgap.guard import Request
from stopgap.incident import EventKind, Incident
from stopgap.journal import Journal, Line
from stopgap.rule import Rule


class Headroom:
    """Counts permits as they are journaled. `use` reads those from before."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._rules: Mapping[str, Rule] = {}
        self._permits: dict[str, deque[datetime]] = {}

    async def use(self, rules: Iterable[Rule]) -> None:
        """Count for these rules from now on. Raises StoreError."""
        wanted = {rule.id: rule for rule in rules}
        permits = {}
        for rule in wanted.values():
            request = Request("", rule.id, "", starts=True, limits=rule.limits)
            before = (await self._journal.ledger(request)).permits
            permits[rule.id] = deque(reversed(before), maxlen=max(rule.limits.budget.count, 1))
        self._rules, self._permits = wanted, permits

    def observe(self, line: Line, state: Incident) -> None:
        """Count a permit; an observer of the engine."""
        if line.event.kind is EventKind.PERMITTED and state.rule in self._permits:
            self._permits[state.rule].append(line.event.at)

    def left(self) -> dict[str, int]:
        """Return by rule how many rungs may still start in its window."""
        now = self._clock.now()
        found = {}
        for name, rule in self._rules.items():
            budget = rule.limits.budget
            used = sum(1 for at in self._permits[name] if at > now - budget.window)
            found[name] = max(budget.count - used, 0)
        return found
