"""Recorded: the history that Prometheus has of its alerts: range queries of `ALERTS`, in pieces that it can answer.

`ALERTS` has one sample per evaluation while an alert fires, so an alert is over at the first step without one (Prometheus itself
bridges holes up to its lookback of 5 minutes, unless it knows that the series ended). Flaps shorter than a step are not seen.
Annotations are not recorded, external labels and alert relabelling are not applied there.
"""

import math
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from stopgap.alert import Alert
from stopgap.backtest.history import Episodes, HistoryError, Period, Progress, Transition, alert_of
from stopgap.duration import print_duration
from stopgap.errors import ProbeError
from stopgap.matcher import Op
from stopgap.prometheus import Prometheus, Ranged, Series
from stopgap.rule import Rule

STEP = timedelta(seconds=30)  # where Prometheus does not say how often it evaluates
SHORTEST_STEP = timedelta(seconds=5)
LONGEST_STEP = timedelta(minutes=5)  # Prometheus' lookback: beyond it, a step can miss an alert
POINTS = 10_000  # steps of one query; Prometheus refuses more than 11 000
FIRST = 720  # steps of the first query
MANY, FEW = 250_000, 60_000  # samples of an answer after which the next piece is halved, or doubled
SHRINKS = 5  # halvings before an error counts
SLACK = 0.5  # seconds by which two samples of neighbouring steps may differ
MOST_WARNINGS = 3  # of one answer
TIMEOUT = timedelta(seconds=30)  # of one query
OWN = frozenset({"__name__", "alertstate"})
SPECIAL = frozenset("\\.+*?()|[]{}^$")
LONGEST_SELECTOR = 32_768  # characters; beyond, all alerts are asked for


def selector(rules: Iterable[Rule]) -> str:
    """Return a selector of the alerts that these rules can match by name, of all where one rule takes any name."""
    names: list[str] = []
    for rule in rules:
        patterns = [_pattern(one.op, one.value) for one in rule.matchers if one.name == "alertname"]
        found = next((pattern for pattern in patterns if pattern), "")
        if not found:
            return 'ALERTS{alertstate="firing"}'
        names.append(found)
    union = "|".join(dict.fromkeys(names)).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    if not names or len(union) > LONGEST_SELECTOR:
        return 'ALERTS{alertstate="firing"}'
    return f'ALERTS{{alertstate="firing",alertname=~"{union}"}}'


def _pattern(op: Op, value: str) -> str:
    """Return the regex of RE2 for what a matcher takes, empty for one that only excludes."""
    if op is Op.EQUAL:
        return "".join(f"\\{char}" if char in SPECIAL else char for char in value)
    return f"(?:{value})" if op is Op.MATCHES else ""


@dataclass(slots=True)
class _Open:
    """A series that fires: its alert, and its last sample in seconds since 1970."""

    alert: Alert
    last: float


_Move = tuple[float, bool, Alert]


@dataclass
class Samples:
    """Makes transitions of samples. An alert is over `gap` seconds after its last one; `external` are labels that all get."""

    gap: float
    external: Mapping[str, str] = field(default_factory=dict)
    _open: dict[tuple[tuple[str, str], ...], _Open] = field(default_factory=dict)

    def take(self, series: Sequence[Series], end: float, episodes: Episodes) -> list[Transition]:
        """Return what one piece that ends at `end` shows, in the order of time."""
        moves: list[_Move] = []
        for one in series:
            moves += self._follow(one)
        for key, opened in [
            (key, opened) for key, opened in self._open.items() if opened.last + self.gap <= end
        ]:
            moves.append((opened.last + self.gap, False, opened.alert))
            del self._open[key]
        moves.sort(key=_order)
        return [transition for move in moves for transition in _moved(move, episodes)]

    def _follow(self, one: Series) -> Iterator[_Move]:
        """Go through the samples of one series."""
        own = {name: value for name, value in one.labels.items() if name not in OWN and value}
        labels = {**self.external, **own}
        key = tuple(sorted(labels.items()))
        opened = self._open.get(key)
        for first, last in _runs(one.instants, self.gap):
            if opened is None or first - opened.last > self.gap + SLACK:
                if opened is not None:
                    yield opened.last + self.gap, False, opened.alert
                opened = self._open[key] = _Open(alert_of(labels, {}, _instant(first)), last)
                yield first, True, opened.alert
            opened.last = last


def _runs(instants: tuple[float, ...], gap: float) -> Iterator[tuple[float, float]]:
    """Yield the first and the last of each run of samples without a hole."""
    first = last = None
    for at in instants:
        if first is None or last is None:
            first = at
        elif at - last > gap + SLACK:
            yield first, last
            first = at
        last = at
    if first is not None and last is not None:
        yield first, last


def _order(move: _Move) -> tuple[float, bool]:
    return move[0], move[1]


def _moved(move: _Move, episodes: Episodes) -> Iterator[Transition]:
    at, firing, alert = move
    return episodes.fires(alert, _instant(at)) if firing else episodes.ends(alert.fingerprint, _instant(at))


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class Recorded:
    """The alerts of one Prometheus. `url` is shown, so it must hold no secret; `step` None: what its rules say."""

    def __init__(
        self,
        prometheus: Prometheus,
        url: str,
        rules: Sequence[Rule],
        step: timedelta | None,
        external: Mapping[str, str],
    ) -> None:
        self._prometheus = prometheus
        self._url = url
        self._selector = selector(rules)
        self._step = step
        self._external = external
        self._warnings: dict[str, None] = {}
        self.asked = 0  # queries

    @property
    def name(self) -> str:
        """What it is, in a line without secrets."""
        return f"Prometheus at {self._url}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """What it cannot know."""
        step = print_duration(self._step or STEP)
        return (
            f"Prometheus was asked every {step}: what fired for less may be missing, and times are as coarse",
            "Prometheus keeps no annotations, and knows no alert relabelling, silences or inhibitions",
            *(f"Prometheus warned: {text}" for text in self._warnings),
        )

    async def transitions(self, period: Period, progress: Progress) -> AsyncIterator[Transition]:
        """Yield what happened in a period. Raises HistoryError."""
        if self._step is None:
            self._step = await self._interval()
        step = self._step.total_seconds()
        samples, episodes = Samples(step, self._external), Episodes(period)
        at, last = _ceil(period.since, step), period.until.timestamp()
        points, shrunk = FIRST, 0
        while at <= last:
            end = min(at + (points - 1) * step, last)
            try:
                found = await self._piece(at, end)
            except ProbeError as error:
                shrunk += 1
                if shrunk > SHRINKS or points == 1:
                    raise HistoryError(
                        f"{error}, asked for {_instant(at):%Y-%m-%d %H:%M}Z and {points} steps"
                    ) from None
                points = max(points // 4, 1)
                continue
            for transition in samples.take(found.series, end, episodes):
                yield transition
            shrunk, points = 0, _next(points, sum(len(one.instants) for one in found.series))
            progress(period.share(_instant(end)))
            at = end + step
        for transition in episodes.reach(period.until):
            yield transition

    async def _piece(self, start: float, end: float) -> Ranged:
        self.asked += 1
        step = self._step or STEP
        found = await self._prometheus.presence(
            self._selector, _instant(start), _instant(end), step, timeout=TIMEOUT
        )
        self._warnings |= dict.fromkeys(found.warnings[:MOST_WARNINGS])
        return found

    async def _interval(self) -> timedelta:
        """Return how often Prometheus evaluates what it alerts on, at the oftenest."""
        try:
            rules = await self._prometheus.rules(TIMEOUT)
        except ProbeError as error:
            raise HistoryError(f"{error}; with --step DURATION its rules are not asked for") from None
        intervals = [rule.interval for rule in rules if rule.interval > timedelta()]
        return min(max(min(intervals, default=STEP), SHORTEST_STEP), LONGEST_STEP)


def _ceil(at: datetime, step: float) -> float:
    """Return the first step at or after an instant: the same steps whatever the period."""
    return math.ceil(at.timestamp() / step) * step


def _next(points: int, samples: int) -> int:
    """Return how many steps to ask for next."""
    if samples > MANY:
        return max(points // 2, 1)
    return min(points * 2, POINTS) if samples < FEW else points
