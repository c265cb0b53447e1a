"""Storm: more targets in trouble at once than single mitigations can be the answer to; the more is broken, the less we act.

A storm begins when more than `targets` distinct targets got an incident within `window`. It is over when for the whole of `calm`
fewer than `below` had. Both follow from the openings alone, so a restart that replays them finds the same weather.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile

SECOND = timedelta(seconds=1)
STEP = timedelta(minutes=1)  # from which on it is not mere unrest of a clock


@dataclass(frozen=True, slots=True)
class StormLimit:
    """From which number of distinct targets on it is a storm, and when it has passed; `1 <= below <= targets`."""

    targets: int = 10
    window: timedelta = timedelta(minutes=5)
    below: int = 5
    calm: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Storm:
    """One storm, as far as is known: since when, how many targets in its window now, and when it passes if nothing more opens."""

    since: datetime
    targets: int
    until: datetime


class Openings:
    """The targets that got an incident lately, each with its last opening, and the storms that follow from them.

    Instants are given in order; one that lies a little before the last counts as the last. One that lies far before it tells of a
    clock that was set back: what is remembered is shifted with it, else all that comes until then would seem to come at once.
    At most `most` targets are remembered, far more than any threshold.
    """

    def __init__(self, limits: Iterable[StormLimit], most: int = 100_000) -> None:
        self._last: OrderedDict[str, datetime] = OrderedDict()
        self._since: dict[StormLimit, datetime] = {}
        self._counted: dict[StormLimit, tuple[datetime, int]] = {}
        self._limits = frozenset(limits)
        self._most = most

    def open(self, target: str, at: datetime) -> None:
        """Take note that a target got an incident."""
        self._follow(at)
        if self._last:
            at = max(at, self._nth(1))
        for limit in self._limits if self._since else ():
            self._lift(limit, at)
        self._last[target] = at
        self._last.move_to_end(target)
        if len(self._last) > self._most:
            self._last.popitem(last=False)
        for limit in self._limits:
            begins = len(self._last) > limit.targets and self._nth(limit.targets + 1) > at - limit.window
            if begins and limit not in self._since:
                self._since[limit] = at

    def under(self, limits: Iterable[StormLimit]) -> "Openings":
        """Return the same openings under other limits; what a limit that stays has said stays said."""
        other = Openings(limits, self._most)
        for target, at in self._last.items():
            other.open(target, at)
        other._since |= {limit: since for limit, since in self._since.items() if limit in other._limits}
        return other

    @property
    def stormy(self) -> bool:
        """Tell whether a storm has begun that nobody saw end yet."""
        return bool(self._since)

    def storm(self, limit: StormLimit, now: datetime) -> Storm | None:
        """Return the storm by one of the limits, None in calm weather."""
        self._follow(now)
        if not self._since:
            return None
        self._lift(limit, now)
        since = self._since.get(limit)
        if since is None:
            return None
        return Storm(since, self._count(limit, now), self._over_at(limit))

    def storms(self, now: datetime) -> dict[StormLimit, Storm]:
        """Return all storms of the moment."""
        found = {limit: self.storm(limit, now) for limit in self._limits}
        return {limit: storm for limit, storm in found.items() if storm is not None}

    def _follow(self, now: datetime) -> None:
        """Go back with a clock that was set back."""
        if not self._last or self._nth(1) - now <= STEP:
            return
        back = self._nth(1) - now
        self._last = OrderedDict((target, at - back) for target, at in self._last.items())
        self._since = {limit: since - back for limit, since in self._since.items()}
        self._counted.clear()

    def _lift(self, limit: StormLimit, now: datetime) -> None:
        if limit in self._since and now >= self._over_at(limit):
            del self._since[limit]

    def _over_at(self, limit: StormLimit) -> datetime:
        """Return when fewer than `below` targets will have been in the window for the whole of `calm`."""
        return self._nth(limit.below) + limit.window + limit.calm

    def _nth(self, n: int) -> datetime:
        """Return the opening of the n-th last target; there are as many."""
        return next(islice(reversed(self._last.values()), n - 1, None))

    def _count(self, limit: StormLimit, now: datetime) -> int:
        """Count the targets in the window, at most once a second: in a storm many ask."""
        counted_at, count = self._counted.get(limit, (None, 0))
        if counted_at is None or not timedelta() <= now - counted_at < SECOND:
            recent = takewhile(lambda at: at > now - limit.window, reversed(self._last.values()))
            count = sum(1 for _ in recent)
            self._counted[limit] = (now, count)
        return count
