"""Expectation: what a drill must show, and what a timeline says of that. Pure.

It is judged by what the daemon wrote down and when, never by when somebody looked: a slow observer makes no drill fail. What may
still come is *pending*; only the end of a time, or of the watching, makes it *missed*.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from stopgap.duration import print_duration
from stopgap.incident import EventKind as K, Outcome, Phase


class Kind(StrEnum):
    """What is expected: that an event comes, that it never comes, that somebody is told, how the incident ends."""

    EVENT = "event"
    NOT = "not"
    TOLD = "told"
    OUTCOME = "outcome"


class State(StrEnum):
    """What has become of an expectation."""

    PENDING = "pending"
    MET = "met"
    MISSED = "missed"
    UNASKED = "unasked"  # a shadow cannot show it


SEEN_IN_SHADOW = frozenset(
    {K.OPENED, K.REFUSED, K.SHADOW_PLANNED, K.ALERT_RESOLVED, K.CLOSED, K.NOTE_ADDED, K.ACKNOWLEDGED}
)
"""Events that an incident in shadow may have; the others need an act."""

_TELLING = (K.REFUSED, K.RUNG_SKIPPED, K.STEP_FAILED, K.RUNG_FAILED, K.HANDED_OVER)
"""Events that say why another one does not come."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """One of them. `word` is the event, the contact or the outcome; `within` counts from `since`, else from the alert's begin.

    `reason` narrows an event down, `when` of what somebody is told, `rule` (pack/name) any of them.
    """

    kind: Kind
    word: str
    within: timedelta | None = None
    since: str = ""
    reason: str = ""
    when: str = ""
    rule: str = ""

    @property
    def text(self) -> str:
        """Say what is expected, without its time."""
        said = {
            Kind.EVENT: self.word,
            Kind.NOT: f"never {self.word}",
            Kind.TOLD: f"{self.word} is told" + (f" of {self.when}" if self.when else ""),
            Kind.OUTCOME: f"ends {self.word}",
        }[self.kind]
        more = f" ({self.reason})" if self.reason else ""
        return f"{said}{more}" + (f", {self.rule}" if self.rule else "")

    @property
    def wanted(self) -> str:
        """Say by when."""
        since = f" since {self.since}" if self.since else ""
        return f"within {print_duration(self.within)}{since}" if self.within else "at any time"


@dataclass(frozen=True, slots=True)
class Told:
    """One line of a timeline, as the API shows it."""

    rule: str
    event: str
    at: datetime
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Course:
    """A drill as far as it has come: when its alert began, its incidents as the API shows them, whether the watching is over."""

    started_at: datetime
    now: datetime
    incidents: Sequence[Mapping[str, Any]]
    over: bool = False

    def lines(self, rule: str = "") -> Iterator[Told]:
        """Return all lines in the order of their instants, those of one rule if that is named."""
        told = [
            Told(
                str(one["rule"]),
                str(line["event"]),
                datetime.fromisoformat(line["at"]),
                line,
            )
            for one in self.incidents
            if rule in ("", one["rule"])
            for line in one["timeline"]
        ]
        yield from sorted(told, key=lambda line: line.at)

    @property
    def closed(self) -> bool:
        """Tell whether all its incidents are closed: nothing comes any more but the message about that."""
        return bool(self.incidents) and all(one["phase"] == Phase.CLOSED for one in self.incidents)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of an expectation; `after` is how long it took, where it came."""

    expectation: Expectation
    state: State
    got: str
    after: timedelta | None = None


def judge(expected: Iterable[Expectation], course: Course) -> tuple[Judgement, ...]:
    """Judge each expectation by what there is so far."""
    return tuple(_judge(one, course) for one in expected)


def in_shadow(expected: Iterable[Expectation]) -> tuple[tuple[Expectation, ...], tuple[Judgement, ...]]:
    """Return what a drill in shadow must show, and those that it cannot show."""
    asked, unasked = list[Expectation](), list[Judgement]()
    for one in expected:
        if _can_be_seen(one):
            asked.append(one)
        else:
            unasked.append(Judgement(one, State.UNASKED, "not asked in shadow"))
    planned = Expectation(Kind.EVENT, K.SHADOW_PLANNED)
    return (planned, *asked, Expectation(Kind.OUTCOME, Outcome.SHADOW)), tuple(unasked)


def _can_be_seen(one: Expectation) -> bool:
    if one.since and one.since not in SEEN_IN_SHADOW:
        return False
    return one.kind is Kind.NOT or (one.kind is Kind.EVENT and one.word in SEEN_IN_SHADOW)


def passed(judgements: Iterable[Judgement]) -> bool:
    """Tell whether all came as expected."""
    return all(one.state in (State.MET, State.UNASKED) for one in judgements)


def _judge(one: Expectation, course: Course) -> Judgement:
    since = _since(one, course)
    if since is None:
        ended = course.over
        return Judgement(one, State.MISSED if ended else State.PENDING, f"no {one.since}")
    if one.kind is Kind.OUTCOME:
        return _outcome(one, course, since)
    came = next((line for line in course.lines(one.rule) if line.at >= since and _is(one, line)), None)
    if one.kind is Kind.NOT:
        return _absence(one, course, since, came)
    return _presence(one, course, since, came)


def _since(one: Expectation, course: Course) -> datetime | None:
    if not one.since:
        return course.started_at
    return next((line.at for line in course.lines(one.rule) if line.event == one.since), None)


def _is(one: Expectation, line: Told) -> bool:
    if one.kind is Kind.TOLD:
        told = line.event == K.NOTIFIED and line.detail.get("contact") == one.word
        return told and one.when in ("", line.detail.get("when"))
    return line.event == one.word and one.reason in ("", line.detail.get("reason"))


def _presence(one: Expectation, course: Course, since: datetime, came: Told | None) -> Judgement:
    if came is not None:
        after = came.at - since
        return Judgement(one, _in_time(one, after), _after(after), after)
    if course.over or (one.within is not None and course.now > since + one.within):
        return Judgement(one, State.MISSED, f"did not come{_why(one, course)}")
    return Judgement(one, State.PENDING, "")


def _absence(one: Expectation, course: Course, since: datetime, came: Told | None) -> Judgement:
    if came is not None and (one.within is None or came.at - since <= one.within):
        after = came.at - since
        reason = came.detail.get("reason") or ""
        return Judgement(one, State.MISSED, _after(after) + (f" ({reason})" if reason else ""), after)
    if course.over or (one.within is not None and course.now > since + one.within):
        return Judgement(one, State.MET, "did not come")
    return Judgement(one, State.PENDING, "")


def _outcome(one: Expectation, course: Course, since: datetime) -> Judgement:
    ours = [incident for incident in course.incidents if one.rule in ("", incident["rule"])]
    ends = [line.at for line in course.lines(one.rule) if line.event == K.CLOSED]
    if ours and len(ends) == len(ours):
        after = max(ends) - since
        others = sorted({str(incident["outcome"]) for incident in ours} - {one.word})
        got = f"{', '.join(others) or one.word}, {_after(after)}"
        return Judgement(one, State.MISSED if others else _in_time(one, after), got, after)
    if course.over or (one.within is not None and course.now > since + one.within):
        stands = sorted({str(incident["phase"]) for incident in ours if incident["phase"] != Phase.CLOSED})
        return Judgement(
            one, State.MISSED, f"still {', '.join(stands)}{_why(one, course)}" if ours else "no incident"
        )
    return Judgement(one, State.PENDING, "")


def _in_time(one: Expectation, after: timedelta) -> State:
    return State.MET if one.within is None or after <= one.within else State.MISSED


def _why(one: Expectation, course: Course) -> str:
    """Say what stood in the way, as far as the timeline does."""
    told = [line for line in course.lines(one.rule) if line.event in _TELLING]
    if not told:
        return ""
    reason = told[-1].detail.get("reason") or ""
    return f": {told[-1].event}" + (f" ({reason})" if reason else "")


def _after(after: timedelta) -> str:
    """Say how long it took, to the tenth of a second while that matters."""
    seconds = after.total_seconds()
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"after {max(seconds, 0):.1f}s"
    return f"after {print_duration(timedelta(seconds=round(seconds)))}"
