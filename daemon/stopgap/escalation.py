"""Escalation: what is still to be told of one incident, to whom, and when its next clock rings. Pure.

Nothing is kept beside the timeline: `note` folds it into a Docket, in which a delivered message is a line like any other
(`notified`, or `notify_failed` when it was given up). So a process that is killed between an event and its message finds the
message still due when it is back, and the worst that can happen is that somebody hears of something twice.

A clock counts from the event that starts it (for most, `opened`), and only while somebody should hear it: it stands still while the
incident is acknowledged, or mitigated, or its alerts are over, unless the rule says `even_if`. What rang while nobody was there to
send it, and is not wanted any more, is not sent; of an `every`, only the last ring is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import reduce
from types import MappingProxyType

from stopgap.audience import DEFAULT, early_end, hearers, wanted
from stopgap.guard import Reason
from stopgap.incident import Answer, Event, EventKind as K, Incident, Phase
from stopgap.rule import Escalation, Mode, Rule
from stopgap.transitions import apply
from stopgap.value import cheaply_made

MITIGATED, ACKNOWLEDGED = "mitigated", "acknowledged"  # what `even_if` may name
AFTER, EVERY = "after", "every"
ENDS = frozenset({K.RESOLVED, K.CLOSED})
"""What only those hear who were told of the incident before (of an early end, all hear once)."""
_DONE_WITH = frozenset({K.RUNG_STARTED, K.RUNG_SKIPPED, K.APPROVAL_DENIED, K.APPROVAL_EXPIRED, K.RETRIED})
"""What is done with a request for approval: afterwards nobody who was asked waits to hear that no answer is needed."""
SITE = Rule(
    pack="", name="control", version="", matchers=(), escalate=(Escalation(K.STORM_BEGAN, (DEFAULT,)),)
)
"""Who hears of what concerns no single incident."""


@cheaply_made
@dataclass(frozen=True, slots=True)
class Due:
    """One message that is due: about the event `of`, or because `clock` rang (`after/2`, `every/3/4`). `when` is its word."""

    contact: str
    when: str
    of: int = 0
    clock: str = ""
    entry: int | None = None  # of the rule's `escalate`; None: nobody asked, but somebody must hear

    @property
    def detail(self) -> dict[str, str | int]:
        """Return what its line of the timeline says, by which it is known again."""
        about: dict[str, str | int] = {"clock": self.clock} if self.clock else {"of": self.of}
        return {"contact": self.contact, "when": self.when} | about


@cheaply_made
@dataclass(frozen=True, slots=True)
class Untold:
    """An event of which these contacts have still to hear; `newly`: even who was told of nothing before."""

    seq: int
    kind: K
    contacts: tuple[str, ...]
    newly: bool = True


@cheaply_made
@dataclass(frozen=True, slots=True)
class Count:
    """How long a clock has run, and since when it runs now (None: it stands still)."""

    ran: timedelta = timedelta()
    since: datetime | None = None

    def at(self, now: datetime) -> timedelta:
        """Return how long it has run by now."""
        return self.ran if self.since is None else self.ran + max(now - self.since, timedelta())

    def turned(self, now: datetime, *, on: bool) -> "Count":
        """Return it running or standing still from now on."""
        if on is (self.since is not None):
            return self
        return Count(self.at(now), now if on else None)


_NEW = Count()


@dataclass(frozen=True, slots=True)
class Started:
    """The event that started a clock, and what its Count showed then."""

    seq: int
    ran: timedelta


@cheaply_made
@dataclass(frozen=True, slots=True)
class Docket:
    """What one timeline leaves to be told. `rung` is how far each contact was told of each clock, `heard` who heard anything.

    `early` once its alerts were over before anything was known to help; `asked`: whom a request that is not done with has asked.
    """

    untold: tuple[Untold, ...] = ()
    counts: Mapping[frozenset[str], Count] = field(default_factory=lambda: MappingProxyType({}))
    started: Mapping[int, Started] = field(default_factory=lambda: MappingProxyType({}))
    rung: Mapping[tuple[str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    heard: frozenset[str] = frozenset()
    acknowledged: bool = False
    early: bool = False
    asked: tuple[str, ...] = ()


def note(docket: Docket, event: Event, state: Incident, rule: Rule) -> Docket:
    """Return the docket after one more line; `state` is the incident after it."""
    if event.kind in (K.NOTIFIED, K.NOTIFY_FAILED):
        docket = settled(docket, event)
    elif event.kind is K.ACKNOWLEDGED:
        docket = replace(docket, acknowledged=True)
    docket = _untold(docket, event, state, rule)
    return _timed(docket, event, state, rule) if rule.clocks else docket


def _untold(docket: Docket, event: Event, state: Incident, rule: Rule) -> Docket:
    """Add an event to what is still to be told, if anybody hears of it."""
    contacts, newly = hearers(rule, event, state), event.kind not in ENDS
    if early_end(event, state) and not docket.early:  # once: it may be over, and fire again, every minute
        docket, newly = replace(docket, early=True), True
    elif event.kind is K.RESOLVED:  # often, and before anybody has heard that it fires: closed comes once
        awaited = {name for untold in docket.untold for name in untold.contacts}
        contacts = tuple(name for name in wanted(rule, event.kind) if name in docket.heard | awaited)
    elif event.kind is K.CLOSED:
        contacts = tuple(dict.fromkeys((*contacts, *docket.asked)))
    elif event.kind is K.APPROVAL_REQUESTED:
        docket = replace(docket, asked=contacts)
    elif docket.asked and event.kind in _DONE_WITH:
        docket = replace(docket, asked=())
    if not contacts:
        return docket
    return replace(docket, untold=(*docket.untold, Untold(event.seq, event.kind, contacts, newly)))


def docket_of(events: Iterable[Event], identifier: str, rule: Rule) -> tuple[Docket, Incident]:
    """Fold a whole timeline; returns what is still to be told, and the incident's state."""

    def line(before: tuple[Docket, Incident], event: Event) -> tuple[Docket, Incident]:
        state = apply(before[1], event)
        return note(before[0], event, state, rule), state

    return reduce(line, events, (Docket(), Incident(identifier)))


def settled(docket: Docket, event: Event) -> Docket:
    """Take note that a message was delivered or given up."""
    detail = event.detail
    contact = str(detail.get("contact", ""))
    heard = docket.heard | {contact} if event.kind is K.NOTIFIED else docket.heard
    clock, count = _clock_of(str(detail.get("clock", "")))
    if clock:
        rung = {**docket.rung, (clock, contact): max(count, docket.rung.get((clock, contact), 0))}
        return replace(docket, heard=heard, rung=rung)
    of = detail.get("of")
    told = (
        replace(untold, contacts=tuple(name for name in untold.contacts if name != contact))
        if untold.seq == of
        else untold
        for untold in docket.untold
    )
    return replace(docket, heard=heard, untold=tuple(untold for untold in told if untold.contacts))


def due(docket: Docket, state: Incident, rule: Rule, now: datetime) -> tuple[Due, ...]:
    """Return the messages that are due now, in the order in which each contact must get them."""
    return (*_events_due(docket, state, rule), *_rings_due(docket, state, rule, now))


def next_ring(docket: Docket, state: Incident, rule: Rule, now: datetime) -> datetime | None:
    """Return when the next clock rings that has not rung yet, None while none is running."""
    rings: list[datetime] = []
    hushed = _hushed(docket, state) if rule.clocks else None
    for i, step in rule.clocks:
        count = docket.counts.get(step.even_if, _NEW)
        if count.since is None or hushed is None or not hushed <= step.even_if:
            continue
        left = _left(docket, i, step, count.at(now))
        rings += [now + left] if left is not None else []
    return min(rings, default=None)


# --- events ---


def _events_due(docket: Docket, state: Incident, rule: Rule) -> Iterator[Due]:
    for untold in docket.untold:
        if untold.kind is K.APPROVAL_REQUESTED and not _still_asked(state, untold.seq):
            continue
        for contact in untold.contacts:
            if untold.newly or contact in docket.heard:
                yield Due(contact, untold.kind, of=untold.seq, entry=_entry_of(rule, untold, contact))


def _still_asked(state: Incident, request: int) -> bool:
    """Tell whether a request for approval still waits for its answer: nobody is asked for what is decided."""
    asked = state.approval
    if asked is None or state.phase is Phase.CLOSED:
        return False
    return asked.request == request and asked.answer is Answer.PENDING


def _entry_of(rule: Rule, untold: Untold, contact: str) -> int | None:
    """Return the entry that tells a contact of an event; of an early end that of `mitigated`, in whose place it is heard."""
    kinds = (K.RESOLVED, K.MITIGATED) if untold.kind is K.RESOLVED and untold.newly else (untold.kind,)
    for kind in kinds:
        for i, step in enumerate(rule.escalate):
            if step.when == kind and contact in step.notify and not step.after and not step.every:
                return i
    return None


# --- clocks ---


def calm(state: Incident) -> bool:
    """Tell whether nobody suffers just now: it is mitigated and that holds, or its alerts are over and nothing is stuck."""
    if state.stuck:
        return False
    return not state.firing or (state.phase is Phase.MITIGATED and not state.lost)


def shadowed(state: Incident) -> bool:
    """Tell whether the incident is only thought through: nothing is done, so nothing can have failed in time."""
    return state.mode == Mode.SHADOW or state.reason == Reason.SHADOW


def _hushed(docket: Docket, state: Incident) -> frozenset[str] | None:
    """Return what a clock must go on in spite of (its `even_if`) to run now, None when none does."""
    if state.phase is Phase.CLOSED or shadowed(state):
        return None
    return _HUSHED[docket.acknowledged, calm(state)]


_HUSHED = {
    (False, False): frozenset[str](),
    (False, True): frozenset({MITIGATED}),
    (True, False): frozenset({ACKNOWLEDGED}),
    (True, True): frozenset({ACKNOWLEDGED, MITIGATED}),
}


def _timed(docket: Docket, event: Event, state: Incident, rule: Rule) -> Docket:
    """Let the clocks run or stand still as the state wants, and start those that this event starts."""
    counts, started = docket.counts, docket.started
    hushed = _hushed(docket, state)
    for i, step in rule.clocks:
        before = counts.get(step.even_if)
        runs = hushed is not None and hushed <= step.even_if
        count = (before or _NEW).turned(event.at, on=runs)
        if count is not before:
            counts = {**counts, step.even_if: count}
        if step.when == event.kind or (step.every and event.kind is K.OPENED):
            started = {**started, i: Started(event.seq, count.at(event.at))}
    if counts is docket.counts and started is docket.started:
        return docket
    return replace(docket, counts=counts, started=started)


def _rings_due(docket: Docket, state: Incident, rule: Rule, now: datetime) -> Iterator[Due]:
    hushed = _hushed(docket, state) if rule.clocks else None
    for i, step in rule.clocks:
        if hushed is None or not hushed <= step.even_if:
            continue
        clock, count, name = _ringing(docket, i, step, docket.counts.get(step.even_if, _NEW).at(now))
        for contact in dict.fromkeys(step.notify):
            if count > docket.rung.get((clock, contact), 0):
                yield Due(contact, EVERY if step.every else AFTER, clock=name, entry=i)


def _ringing(docket: Docket, i: int, step: Escalation, ran: timedelta) -> tuple[str, int, str]:
    """Return a clock, how far it has rung (0: not at all), and the name of that ring."""
    start = docket.started.get(i)
    if step.every:
        count = (ran - start.ran) // step.every if start is not None else 0
        return f"{EVERY}/{i}", count, f"{EVERY}/{i}/{count}"
    rang = start is not None and step.after is not None and ran - start.ran >= step.after
    seq = start.seq if start is not None and rang else 0
    return f"{AFTER}/{i}", seq, f"{AFTER}/{i}" if step.when == K.OPENED else f"{AFTER}/{i}/{seq}"


def _left(docket: Docket, i: int, step: Escalation, ran: timedelta) -> timedelta | None:
    """Return how long a running clock takes to ring again, None for one that does not."""
    start = docket.started.get(i)
    if start is None:
        return None
    if step.every:
        return step.every - (ran - start.ran) % step.every
    left = (step.after or timedelta()) - (ran - start.ran)
    return left if left > timedelta() else None


def _clock_of(name: str) -> tuple[str, int]:
    """Read the name of a ring: the clock, and how far it has rung. `after/2` is that of the opening, the first line."""
    kind, _, rest = name.partition("/")
    number, _, count = rest.partition("/")
    if kind not in (AFTER, EVERY) or not number.isdecimal() or not (count or "1").isdecimal():
        return "", 0
    return f"{kind}/{number}", int(count or "1")
