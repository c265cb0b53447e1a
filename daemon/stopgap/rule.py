"""Rule: which alerts it takes, what it may do about them, and how it knows that it may take that back.

A Rule is a value built by `config` from a checked document; nothing in it can be wrong any more except what only a live alert can
show (a missing or a hostile label).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any

from stopgap.matcher import Matcher
from stopgap.rate import Rate
from stopgap.storm import StormLimit
from stopgap.template import Template
from stopgap.window import Window
from stopgap.wording import Wording


class Mode(StrEnum):
    """How far a rule may go; the daemon's `--mode` is an upper bound."""

    SHADOW = "shadow"
    APPROVE = "approve"
    AUTO = "auto"


MODES = (Mode.SHADOW, Mode.APPROVE, Mode.AUTO)


def bounded(mode: Mode, bound: Mode) -> Mode:
    """Return the more careful of two modes."""
    return min(mode, bound, key=MODES.index)


class OnFailure(StrEnum):
    """What happens to a rung that did not help; also what happens to a held rung after recovery."""

    REVERT = "revert"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One action with parameters that may still hold templates (`params` is a tree with Template leaves)."""

    action: str
    params: Any
    timeout: timedelta
    retries: int = 0
    optional: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One probe with parameters that may still hold templates, and its timing."""

    probe: str
    params: Any
    after: timedelta = timedelta()
    within: timedelta = timedelta(seconds=60)
    for_: timedelta = timedelta()
    every: timedelta | None = None  # None: 5 s while verifying, a minute while recovering
    timeout: timedelta = timedelta(seconds=5)
    recheck: timedelta = timedelta(minutes=1)  # how often it is asked while what it verified is held


@dataclass(frozen=True, slots=True)
class RungSpec:
    """One way out: steps in order, what makes them effective, and the probes that prove it."""

    name: str
    do: tuple[StepSpec, ...]
    activate: tuple[StepSpec, ...] = ()
    verify: tuple[ProbeSpec, ...] = ()
    on_failure: OnFailure = OnFailure.REVERT
    on_resolve: OnFailure = OnFailure.REVERT
    only_if: tuple[ProbeSpec, ...] = ()  # all must be healthy right before it starts, else it is skipped
    approval: timedelta | None = None  # a person must approve within this time; None: nobody is asked
    go_on: bool = False  # climbs on whatever its verdict, and stays
    once: bool = False  # at most once along a chain of flaps


@dataclass(frozen=True, slots=True)
class Escalation:
    """Whom to tell when an event of this name is journaled; `after` that, or `every` so long from the opening on.

    A clock (`after`, `every`) stands still while the incident is mitigated or acknowledged, unless `even_if` says so.
    `message` names a wording of the rule's `messages`.
    """

    when: str
    notify: tuple[str, ...]
    after: timedelta | None = None
    every: timedelta | None = None
    even_if: frozenset[str] = frozenset()
    message: str = ""


@dataclass(frozen=True, slots=True)
class Circuit:
    """Open once so many incidents in so long did not hold, until a person acknowledges or `lasts` is over."""

    failures: Rate = Rate(2, timedelta(hours=6))
    lasts: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """How much of a population may be held or acted upon at once: a count, or a share of `total`, rounded down.

    `total` is a number, or the query that Prometheus answers with one. Rules with the same `total` share one population.
    """

    total: str | int
    max: int | Fraction

    def allowed(self, total: int) -> int:
        """Return how many targets may be held or acted upon at once, of so many: never all of them."""
        most = self.max if isinstance(self.max, int) else int(total * self.max)
        return max(0, min(most, total - 1))

    def __str__(self) -> str:
        return f"{self.max}" if isinstance(self.max, int) else f"{float(self.max * 100):g}%"


@dataclass(frozen=True, slots=True)
class Windows:
    """When a rung may start: inside one of `allow` (empty: always) and outside all of `deny`."""

    allow: tuple[Window, ...] = ()
    deny: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """The durations and counts of DESIGN 4 "Defaults"; this class is the one place where they stand in code."""

    hold: timedelta = timedelta(minutes=5)
    max_hold: timedelta = timedelta(hours=4)
    cooldown: timedelta = timedelta(minutes=10)
    flap_window: timedelta = timedelta(minutes=15)
    unknown_for: timedelta = timedelta(minutes=10)
    approval: timedelta = timedelta(minutes=15)
    budget: Rate = Rate(3, timedelta(hours=1))
    budget_global: Rate = Rate(20, timedelta(hours=1))
    circuit: Circuit = Circuit()
    storm: StormLimit = StormLimit()
    protected: tuple[str, ...] = ()  # targets and resources; `*` stands for anything
    windows: Windows = Windows()
    blast_radius: BlastRadius | None = None


def guarded(rule: "Rule", now: "Rule") -> "Rule":
    """Return a running rule version under the guards of now, and no less careful than now: policy is not part of what was begun."""
    limits = replace(
        now.limits,
        hold=rule.limits.hold,
        max_hold=rule.limits.max_hold,
        flap_window=rule.limits.flap_window,
        unknown_for=rule.limits.unknown_for,
        approval=rule.limits.approval,
    )
    return replace(rule, limits=limits, yield_to=now.yield_to, mode=bounded(rule.mode, now.mode))


@dataclass(frozen=True, slots=True)
class AtOnce:
    """How much the whole daemon does at the same time."""

    actions: int = 8
    probes: int = 64


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of one pack. `document` is the checked source that builds an equal rule again; `version` is its digest."""

    pack: str
    name: str
    version: str
    matchers: tuple[Matcher, ...]
    target: "Template | str | None" = None
    per: tuple[str, ...] = ()
    summary: str = ""
    runbook_url: str = ""
    mode: Mode = Mode.AUTO
    recovered: tuple[ProbeSpec, ...] = ()
    ladder: tuple[RungSpec, ...] = ()
    limits: Limits = field(default_factory=Limits)
    yield_to: tuple[str, ...] = ()  # rules (pack/name) whose incident on the same target goes first
    escalate: tuple[Escalation, ...] = ()
    severities: Mapping[str, str] = field(default_factory=dict)
    severity_names: Mapping[str, str] = field(default_factory=dict)  # P0..P3 as people here call them
    messages: Mapping[str, Wording] = field(default_factory=dict)
    vars: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    # What follows from the others, and is asked for with every alert.
    id: str = field(init=False, compare=False, repr=False)  # `pack/name`
    flap_from: Mapping[str, int] = field(init=False, compare=False, repr=False)
    clocks: tuple[tuple[int, Escalation], ...] = field(init=False, compare=False, repr=False)
    # Whom the escalation tells at once, by event.
    tells: Mapping[str, tuple[str, ...]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        clocks = tuple((i, step) for i, step in enumerate(self.escalate) if step.after or step.every)
        for name, value in (
            ("id", f"{self.pack}/{self.name}"),
            ("flap_from", _flap_from(self.ladder)),
            ("clocks", clocks),
            ("tells", _told_at_once(self.escalate)),
        ):
            object.__setattr__(self, name, value)

    def severity(self, labels: Mapping[str, str]) -> str:
        """Map the alert's `severity` label to P0..P3."""
        name = labels.get("severity", "")
        return self.severities.get(name) or SEVERITIES.get(name, "P2")


def _told_at_once(escalate: tuple[Escalation, ...]) -> Mapping[str, tuple[str, ...]]:
    told: dict[str, dict[str, None]] = {}
    for step in escalate:
        if not step.after and not step.every:
            told.setdefault(step.when, {}).update(dict.fromkeys(step.notify))
    return {kind: tuple(names) for kind, names in told.items()}


def _flap_from(ladder: tuple[RungSpec, ...]) -> Mapping[str, int]:
    """Return at which rung a flap starts, by the name of the rung that held: a reload may give it another number.

    Rungs right below it that go on are applied again first: they held too, and were taken back with it.
    """
    starts: dict[str, int] = {}
    first = 0
    for number, rung in enumerate(ladder):
        starts.setdefault(rung.name, first)
        first = first if rung.go_on else number + 1
    return starts


SEVERITIES: Mapping[str, str] = {"critical": "P1", "error": "P2", "warning": "P2", "info": "P3", "none": "P3"}
TARGET_LABELS = ("service", "job", "instance")
