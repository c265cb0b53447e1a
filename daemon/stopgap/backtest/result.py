"""Result: what would have happened, counted; the shape of `stopgap backtest --json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta

from stopgap.backtest.history import Period
from stopgap.backtest.spending import Headroom
from stopgap.backtest.trace import Trace


@dataclass(frozen=True, slots=True)
class Hold:
    """How long something was held, by which incident, since when."""

    lasted: timedelta
    incident: str
    target: str
    since: datetime


@dataclass(slots=True)
class Score:
    """What was counted of one rule, or of all."""

    incidents: int = 0
    flaps: int = 0  # of these, fired again soon after they were taken back
    mitigations: int = 0  # rungs started
    mitigated: int = 0  # incidents that were
    failed: int = 0  # rungs that did not help
    reverts: int = 0
    handed_over: int = 0
    past_max_hold: int = 0
    unfinished: int = 0  # live at the end
    shadows: int = 0  # only thought through
    refusals: dict[str, int] = field(default_factory=dict)
    hand_overs: dict[str, int] = field(default_factory=dict)  # by reason
    outcomes: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)  # by contact
    held: timedelta = timedelta()  # all holds together
    longest_hold: Hold | None = None
    headroom: Headroom | None = None

    def add(self, other: "Score") -> None:
        """Add what was counted of another rule; budgets are not comparable and stay apart."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in TABLES:
            mine = getattr(self, name)
            for word, count in getattr(other, name).items():
                mine[word] = mine.get(word, 0) + count
        self.held += other.held
        if other.longest_hold is not None and (
            self.longest_hold is None or other.longest_hold.lasted > self.longest_hold.lasted
        ):
            self.longest_hold = other.longest_hold


COUNTS = tuple(one.name for one in fields(Score) if one.type is int)
TABLES = ("refusals", "hand_overs", "outcomes", "messages")


@dataclass(slots=True)
class Overlap:
    """Two rules that wanted one target, or one resource, at the same time: how often, and first when."""

    kind: str  # target or resource
    of: str
    rules: tuple[str, str]
    times: int
    first_at: datetime


@dataclass(slots=True)
class StormSpell:
    """One storm: from when until when (None: still), and how many targets it had when it was told of."""

    since: datetime
    targets: int
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Alerts:
    """What the history held: transitions, distinct alerts, how many fired at its beginning, and how many no rule takes.

    `untaken` are the names of those that no rule takes, each once.
    """

    transitions: int = 0
    distinct: int = 0
    already: int = 0
    unmatched: int = 0
    untaken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """A whole backtest. `assumed` says what was assumed of the outside, `caveats` what the history does not know."""

    rules_from: str
    source: str
    period: Period
    alerts: Alerts
    rules: Mapping[str, Score]
    total: Score
    overlaps: Sequence[Overlap] = ()
    storms: Sequence[StormSpell] = ()
    assumed: Sequence[str] = ()
    caveats: Sequence[str] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)  # what was bounded: how much is missing
    traces: Sequence[Trace] = ()
