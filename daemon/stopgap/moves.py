"""Moves: what an incident can do next, and the circumstances in which that is decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from stopgap.guard import Reason
from stopgap.incident import Cause, EventKind as K, Incident, Ref
from stopgap.ledger import Brake
from stopgap.rule import Mode, Rule, RungSpec, bounded
from stopgap.storm import Storm
from stopgap.value import cheaply_made


@cheaply_made
@dataclass(frozen=True, slots=True)
class Record:
    """Journal these decisions; `closes` also opens the follower of a flap in the same commit."""

    events: tuple[tuple[K, Mapping[str, Any]], ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Ask the guards, plan and observe, and begin the rung with its first step (or plan it only, in shadow)."""

    rung: int
    mode: Mode


@dataclass(frozen=True, slots=True)
class Act:
    """Observe, journal the intent with the undo, and run one step (attempt `n`)."""

    ref: Ref
    n: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Find out by observation what became of an act."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Begin to revert these rungs: takes the target lock."""

    cause: Cause
    rungs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask these probes, by key (`verify/0`)."""

    keys: tuple[str, ...]


@cheaply_made
@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (None: before something happens)."""

    until: datetime | None = None


Deed = Record | Start | Act | Settle | TakeBack | Ask
"""What there is to do now."""

Move = Deed | Wait


@cheaply_made
@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decide needs to know beside the incident's own timeline.

    `brake` is the brake that covers this incident. `retry_at` is when a refused request may be asked again (None: now).
    `rule_removed` tells that the rule stands in no loaded pack any more. `bound` is the daemon's `--mode`. `storm` is the storm by
    the rule's limit. `doubt` says why the claim that it fires has yet to be confirmed. `silenced` tells that a person has silenced
    all of its alerts that fire: a hand raised. `running` are rule versions of live incidents, where the rule has a blast radius.
    `skew` is how far the wall clock is ahead of `now`, since it jumped.
    """

    now: datetime
    brake: Brake | None = None
    retry_at: datetime | None = None
    rule_removed: bool = False
    bound: Mode = Mode.AUTO
    storm: Storm | None = None
    doubt: str = ""
    silenced: bool = False
    running: tuple[Rule, ...] = ()
    skew: timedelta = timedelta()


@cheaply_made
@dataclass(frozen=True, slots=True)
class Case:
    """One call's arguments."""

    state: Incident
    rule: Rule
    at: Circumstances
    now: datetime = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "now", self.at.now)

    @property
    def rung(self) -> RungSpec:
        """Return the rung at which the ladder stands."""
        return self.rule.ladder[self.state.rung]

    @property
    def mode(self) -> Mode:
        """Return how far it may go: the most careful of what it opened with, its rule's mode and the daemon's."""
        return bounded(bounded(Mode(self.state.mode), self.rule.mode), self.at.bound)

    @property
    def hold(self) -> timedelta:
        """Return how long the cause must be gone: doubled with every flap."""
        return self.rule.limits.hold * (1 << self.state.flaps)


def record(kind: K, **detail: Any) -> Record:
    """Return the journaling of one decision."""
    return Record(((kind, detail),))


def soonest(*instants: datetime | None) -> Wait:
    """Wait for the first of these instants."""
    first: datetime | None = None
    for instant in instants:
        if instant is not None and (first is None or instant < first):
            first = instant
    return Wait(first)


def soon(case: Case, at: datetime | None, move: Move) -> Move:
    """Return the move once its instant has come (None: it has)."""
    return move if at is None or at <= case.now else Wait(at)


def refuse(reason: Reason, text: str) -> Record:
    """Return the journaling of a refusal."""
    return record(K.REFUSED, reason=reason, text=text)


def braked(case: Case) -> Move:
    """Say once that a brake stops the next change, then wait for its end."""
    brake = case.at.brake
    if brake is None or case.state.reason == Reason.BRAKE:
        return soonest(brake.until if brake else None)
    return refuse(Reason.BRAKE, f"{brake.scope} brake by {brake.by}: {brake.why}")
