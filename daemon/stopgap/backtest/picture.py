"""Picture: the timeline of a backtest as SVG: a lane for each rule and target, with a bar for how it stood at each moment.

Bounded whatever the history is: so many lanes (the rest share one per rule), so many columns per lane. Where a column is too narrow
for all that happened in it, it shows what matters most: handed over before refused, before mitigated, before acting, before firing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil

from stopgap.backtest.history import Period
from stopgap.backtest.trace import Standing, Trace

MOST_LANES = 60
MOST_RULES = 30
COLUMNS = 1440  # of one lane
NARROWEST = 2  # columns: less could not be seen
LABEL, PLOT, MARGIN, LANE, BAR, TOP = 250, 720, 40, 20, 12, 26  # units of the picture
WIDTH = LABEL + PLOT + MARGIN
RANK = {one: number for number, one in enumerate(Standing, 1)}
HEIGHTS = {Standing.FIRING: 4, Standing.WAITING: 8}  # others are as high as a bar
TICKS = tuple(
    timedelta(hours=hours) for hours in (0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 672, 2688)
)
MOST_TICKS = 10


@dataclass(frozen=True, slots=True)
class Lane:
    """One row: its label, whether it begins a rule, its y, and per standing the path of its bars."""

    label: str
    title: str
    head: bool
    y: float
    bars: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across all lanes with its label."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What there is to draw; `left_out` says what has no lane of its own."""

    height: float
    lanes: Sequence[Lane]
    ticks: Sequence[Tick]
    left_out: Sequence[str] = ()
    width: float = WIDTH
    label: float = LABEL
    right: float = LABEL + PLOT
    top: float = TOP


@dataclass(slots=True)
class _Row:
    """The traces that share a lane."""

    label: str
    rule: str
    traces: list[Trace] = field(default_factory=list)


def picture(traces: Iterable[Trace], period: Period) -> Picture:
    """Lay the lanes out."""
    rows, left_out = _rows(traces)
    lanes: list[Lane] = []
    y, rule = float(TOP), ""
    for row in rows:
        if row.rule != rule:
            rule = row.rule
            lanes.append(Lane(rule, rule, head=True, y=y))
            y += LANE
        lanes.append(Lane(row.label, _title(row), head=False, y=y, bars=tuple(_bars(row.traces, period, y))))
        y += LANE
    return Picture(y + 8, lanes, tuple(_ticks(period)), left_out)


# --- which lanes ---


def _rows(traces: Iterable[Trace]) -> tuple[list[_Row], list[str]]:
    """Give the busiest targets a lane each; the others of a rule share one, and so do all rules beyond the busiest."""
    by_rule: defaultdict[str, defaultdict[str, list[Trace]]] = defaultdict(lambda: defaultdict(list))
    for trace in traces:
        by_rule[trace.rule][trace.target].append(trace)
    sizes = Counter({rule: sum(map(len, targets.values())) for rule, targets in by_rule.items()})
    shown = {rule for rule, _ in sizes.most_common(MOST_RULES)}
    places = Counter(
        {(rule, target): len(found) for rule in shown for target, found in by_rule[rule].items()}
    )
    own = {place for place, _ in places.most_common(MOST_LANES - len(shown))}
    rows: list[_Row] = []
    for rule in sorted(shown):
        rows += _of_rule(rule, by_rule[rule], own)
    others = [rule for rule in by_rule if rule not in shown]
    if others:
        rest = [trace for rule in others for found in by_rule[rule].values() for trace in found]
        rows.append(_Row(f"{len(others)} more rules", "other rules", rest))
    hidden = len(places) - len(own)
    left_out = [f"{hidden} targets have no lane of their own: those of one rule share one"] if hidden else []
    left_out += [f"{len(others)} rules have no lane of their own: they share one"] if others else []
    return rows, left_out


def _of_rule(rule: str, targets: dict[str, list[Trace]], own: set[tuple[str, str]]) -> Iterator[_Row]:
    mine = [target for target in targets if (rule, target) in own]
    yield from (_Row(target or "(no target)", rule, targets[target]) for target in sorted(mine))
    rest = [trace for target, found in targets.items() if (rule, target) not in own for trace in found]
    if rest:
        yield _Row(f"{len(targets) - len(mine)} more targets", rule, rest)


def _title(row: _Row) -> str:
    ended = Counter(trace.stretches[-1].standing for trace in row.traces if trace.stretches)
    handed = ended[Standing.HANDED_OVER]
    return f"{row.rule}, {row.label}: {len(row.traces)} incidents, {handed} of them handed over at the end"


# --- bars ---


def _bars(traces: Iterable[Trace], period: Period, y: float) -> Iterator[tuple[str, str]]:
    """Return per standing one path of all its bars in a lane."""
    columns = _columns(traces, period)
    paths: defaultdict[int, list[str]] = defaultdict(list)
    begin = 0
    for end in range(1, COLUMNS + 1):
        if end < COLUMNS and columns[end] == columns[begin]:
            continue
        if columns[begin]:
            paths[columns[begin]].append(_bar(begin, end, columns[begin], y))
        begin = end
    standings = list(Standing)
    for rank, bars in sorted(paths.items()):
        yield standings[rank - 1].value, "".join(bars)


def _columns(traces: Iterable[Trace], period: Period) -> bytearray:
    """Return for each column the rank of what matters most in it, 0 for nothing."""
    columns = bytearray(COLUMNS)
    length = max((period.until - period.since).total_seconds(), 1.0)
    for trace in traces:
        for stretch in trace.stretches:
            first = int((stretch.since - period.since).total_seconds() / length * COLUMNS)
            last = ceil((stretch.until - period.since).total_seconds() / length * COLUMNS)
            rank = RANK[stretch.standing]
            for column in range(min(max(first, 0), COLUMNS - 1), min(max(last, first + NARROWEST), COLUMNS)):
                columns[column] = max(columns[column], rank)
    return columns


def _bar(begin: int, end: int, rank: int, y: float) -> str:
    unit = PLOT / COLUMNS
    high = HEIGHTS.get(list(Standing)[rank - 1], BAR)
    x, width, top = LABEL + begin * unit, (end - begin) * unit, y + (LANE - high) / 2
    return f"M{x:g} {top:g}h{width:g}v{high}h-{width:g}z"


# --- the scale ---


def _ticks(period: Period) -> Iterator[Tick]:
    length = period.until - period.since
    step = next((one for one in TICKS if length / one <= MOST_TICKS), TICKS[-1])
    seconds = step.total_seconds()
    at = datetime.fromtimestamp(ceil(period.since.timestamp() / seconds) * seconds, UTC)
    while at <= period.until and length:
        x = LABEL + (at - period.since) / length * PLOT
        yield Tick(round(x, 1), f"{at:%d %b}" if step >= timedelta(days=1) else f"{at:%d %b %H:%M}")
        at += step
