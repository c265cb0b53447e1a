"""Explanation: why Stopgap would act or not, as values; every field is a key of the JSON by the same name, and stays.

`POST /api/v1/explain` and `stopgap explain --json` answer an Explanation. Instants are RFC 3339 in UTC, durations are seconds; what
there is nothing to say of is null, an empty text or an empty list.

- `alerts[]` (Sight): each alert that was asked about: which rules take it (`taken_by`), which are done with it until it is over,
  because a person closed their incident (`served_by`), and of the others the first matcher that failed, the nearest misses first
  (`missed`, of `missed_count`).
- `courses[]` (Course): what each rule that takes them does: where its incident stands (`standing`; null: none is live, and what is
  told is of a new one), its `ladder` from the rung that comes next, what the `guards` answer about rung `guarded`, what comes
  `next`, how it is taken back (`lease`), and who hears of it (`audience`, `unreachable`).
- `next`: `do` is one of Doing; `text` says it in the infinitive ("wait: cooldown, asked again 03:14:00Z (in 2m)"); `reason` and
  `why` are those of a refusal.

A Refusal is `{reason, text, until}`; the reasons of guards are those of `guard.Reason`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stopgap.guard import Reason, Refusal
from stopgap.rule import Mode


@dataclass(frozen=True, slots=True)
class Miss:
    """A rule that does not take an alert: the first of its matchers that failed, and what the alert has (None: no such label)."""

    rule: str
    matcher: str
    label: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Sight:
    """One alert, and what the rules make of it."""

    labels: Mapping[str, str]
    firing: bool
    taken_by: tuple[str, ...]
    served_by: tuple[str, ...]
    missed: tuple[Miss, ...]
    missed_count: int


@dataclass(frozen=True, slots=True)
class Question:
    """One probe in words and its times; `verdict` and `why` are its answer where it was asked just now."""

    question: str
    after_seconds: float
    for_seconds: float
    within_seconds: float
    verdict: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """One rung: what it does, what it holds (nothing: there is nothing to take back), and why it is `skipped` or hands over."""

    rung: int
    name: str
    steps: tuple[str, ...]
    holds: tuple[str, ...]
    only_if: tuple[Question, ...]
    verify: tuple[Question, ...]
    approval_seconds: float | None
    once: bool
    go_on: bool
    on_failure: str
    on_resolve: str
    skipped: Refusal | None


@dataclass(frozen=True, slots=True)
class GuardAnswer:
    """What one guard says, with its numbers; `until` is when a refusal can change by itself."""

    reason: Reason
    allows: bool
    text: str
    until: datetime | None = None


class Doing(StrEnum):
    """What comes next."""

    START = "start"
    ASK = "ask"
    SHADOW = "shadow"
    WAIT = "wait"
    HAND_OVER = "hand_over"
    HOLD = "hold"
    ACT = "act"
    TAKE_BACK = "take_back"
    CLOSE = "close"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Next:
    """What comes next, in the infinitive: it would, or it will."""

    do: Doing
    text: str
    reason: str = ""
    why: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A reason that the timeline gave for not acting."""

    at: datetime
    event: str
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Held:
    """What a rung holds."""

    rung: int
    name: str
    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an incident stands, and why; `said` are the last reasons of its timeline."""

    phase: str
    since: datetime | None
    outcome: str | None
    reason: str
    text: str
    reason_since: datetime | None
    handed_over: bool
    acknowledged_by: str
    approval_until: datetime | None
    held: tuple[Held, ...]
    lease_until: datetime | None
    said: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """How it is taken back: `recovered` asks about the cause (`flaw`: why it cannot), which must be gone for `hold_seconds`."""

    recovered: tuple[Question, ...]
    flaw: str
    hold_seconds: float
    max_hold_seconds: float


@dataclass(frozen=True, slots=True)
class Heard:
    """Who hears of an event."""

    when: str
    contacts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """One rule on one target. `incident` is that of the standing; `unreachable` says of contacts why they hear nothing."""

    incident: str | None
    rule: str
    target: str
    severity: str
    summary: str
    runbook_url: str
    mode: Mode
    because: str
    follows: str
    flaps: int
    standing: Standing | None
    ladder: tuple[Preview, ...]
    guarded: int | None
    guards: tuple[GuardAnswer, ...]
    next: Next
    lease: Lease
    audience: tuple[Heard, ...]
    unreachable: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer. `mode` is the daemon's, `rules` how many are loaded, `asked` whether probes were.

    `courses` are bounded; `course_count` says how many there are.
    """

    at: datetime
    mode: Mode
    asked: bool
    rules: int
    alerts: tuple[Sight, ...]
    courses: tuple[Course, ...]
    course_count: int
