"""Tell: lets people know of what a person must hear of, without ever delaying a mitigation.

An observer of the timeline that keeps a Docket (`escalation.py`) of each incident and sends what is due on it: to each contact of
an incident one message after the other, to each contact one attempt at a time, tried again for a quarter of an hour. A delivery is
a line of the timeline, and so is giving up. Nothing else is kept: after a crash the dockets are read from the timelines, and what
nobody was told is sent then. So a message arrives at least once, in rare cases twice.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from stopgap.audience import DEFAULT
from stopgap.clock import Clock
from stopgap.contacts import Contacts
from stopgap.dispatch import Dispatch
from stopgap.errors import StoreError, TemporaryError
from stopgap.escalation import SITE, Docket, Due, docket_of, due, next_ring, note, settled
from stopgap.incident import Event, EventKind as K, Incident, Phase
from stopgap.journal import CONTROL, Append, Journal, Line
from stopgap.messages import Occasion, compose
from stopgap.rule import Rule
from stopgap.timers import Timers
from stopgap.transitions import apply, fold

log = structlog.get_logger(__name__)

IN_FLIGHT, OF_ONE_CONTACT = (
    1000,
    100,
)  # messages that are being sent or tried again; the others wait on their dockets
AT_ONCE = 4  # attempts
GIVE_UP = timedelta(minutes=15)
LONGEST_PAUSE = 60.0  # seconds between two attempts
STORE_AGAIN = 1.0  # seconds until the store is asked again
FAULT_AGAIN = 30.0  # seconds until it is, after a fault of ours
LAST_WORDS = 5.0  # seconds that a stop waits for what is being sent
REMEMBERED = 1000  # events whose text need not be read again from the timeline
RECENT = timedelta(hours=1)  # how long after its end an incident, or a storm, is still told of
MOST_CLOSED, PAGE = 5000, 500  # closed incidents that are looked at
BREATH = 0.005  # seconds of work between two breaths of the event loop

Link = Callable[[str, int, str], str]
"""Returns the link with which a contact answers a request (incident, number, contact), or nothing."""


def no_link(_: str, __: int, ___: str) -> str:
    """Return nothing: nobody said under which URL people reach this daemon."""
    return ""


def no_rule(_: Any) -> Rule:
    """Build no rule of a stored document. Raises ValueError."""
    raise ValueError("rules are not built here")


@dataclass(slots=True)
class _Case:
    """One incident, and to whom something about it is under way."""

    rule: Rule
    state: Incident
    docket: Docket
    flying: set[str] = field(default_factory=set)


class Teller:
    """Sends what is due. `start` begins with what the timelines leave to be told; `stop` leaves the rest to the next start.

    `rebuild` makes the rule of a stored document again, for incidents that closed under one that is not loaded any more.
    """

    def __init__(
        self,
        journal: Journal,
        contacts: Contacts,
        clock: Clock,
        rule_of: Callable[[Incident], Rule | None],
        link: Link = no_link,
        rebuild: Callable[[Any], Rule] = no_rule,
    ) -> None:
        self._journal = journal
        self._contacts = contacts
        self._clock = clock
        self._rule_of = rule_of
        self._link = link
        self._rebuild = rebuild
        self._cases: dict[str, _Case] = {}
        self._early: list[tuple[Line, Incident]] | None = []
        self._fresh: OrderedDict[tuple[str, int], tuple[Event, Incident]] = OrderedDict()
        self._timers = Timers(clock, self._touch)
        self._dirty: dict[str, None] = {}
        self._waiting: dict[str, None] = {}  # cases with something due for which there was no room
        self._dispatch = Dispatch(contacts, clock, self._make_use)
        self._catching_up: asyncio.Task[None] | None = None
        self._stopping = False

    # --- life ---

    def start(self) -> None:
        """Begin with what the timelines leave to be told. The rules of the live incidents must be known by now."""
        self._catching_up = asyncio.create_task(self._catch_up(), name="teller")

    async def stop(self) -> None:
        """Send what is due, as far as it goes in a few seconds; the rest is still due at the next start."""
        self._timers.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle(), LAST_WORDS)
        await self.kill()
        if left := sum(1 for name in self._cases for _ in self._sendable(name)):
            log.warning("messages_left", count=left)

    async def _idle(self) -> None:
        while self._dirty or self._dispatch:
            await self._dispatch.idle()
            await asyncio.sleep(0)

    async def kill(self) -> None:
        """End at once, as a crash does."""
        self._stopping = True
        self._timers.stop()
        await self._dispatch.kill()
        if self._catching_up is not None:
            self._catching_up.cancel()
            await asyncio.gather(self._catching_up, return_exceptions=True)

    async def _catch_up(self) -> None:
        async for name, events in _breathing(await self._missed()):
            try:
                await self._take_up(name, events)
            except Exception:  # border: timeline. A surprise in one hides no other
                log.exception("timeline_fault", incident=name)
        early, self._early = self._early or [], None
        for line, state in early:
            try:
                self.observe(line, state)
            except Exception:  # border: observer. A fault of one line hides no other
                log.exception("observer_fault", incident=line.incident, kind=line.event.kind)

    async def _missed(self) -> dict[str, tuple[Event, ...]]:
        while True:
            try:
                return await self._timelines()
            except StoreError as error:
                log.warning("store_unavailable", untold="what was missed", why=str(error))
                await asyncio.sleep(STORE_AGAIN)
            except Exception:  # border: task. Without what was missed nobody would ever be told anything
                log.exception("catching_up_fault")
                await asyncio.sleep(FAULT_AGAIN)

    async def _timelines(self) -> dict[str, tuple[Event, ...]]:
        """Read what may leave something to be told: live incidents, those closed a while ago, and the control history."""
        found = dict(await self._journal.live())
        since, before, seen = self._clock.now() - RECENT, None, 0
        while rows := await self._journal.closed(rule=None, target=None, before=before, limit=PAGE):
            for row in rows:
                if row.closed_at is not None and row.closed_at >= since:
                    found[row.id] = await self._journal.timeline(row.id)
            before, seen = rows[-1].id, seen + len(rows)
            if len(rows) < PAGE or seen >= MOST_CLOSED:
                break
        control = await self._journal.timeline(CONTROL)
        found[CONTROL] = tuple(event for event in control if event.at >= since)
        return found

    async def _take_up(self, name: str, events: Sequence[Event]) -> None:
        if name == CONTROL:
            rule: Rule | None = SITE
        else:
            rule = await self._rule(fold(name, events[:1]))
        if rule is None:
            return
        docket, state = docket_of(events, name, rule)
        self._cases[name] = _Case(rule, state, docket)
        self._touch(name)

    async def _rule(self, state: Incident) -> Rule | None:
        known = self._rule_of(state)
        if known is not None:
            return known
        try:
            return self._rebuild(await self._journal.document(state.version))
        except (StoreError, ValueError) as error:
            log.warning("rule_version_lost", incident=state.id, version=state.version, why=str(error))
            return None

    # --- the timeline ---

    def observe(self, line: Line, state: Incident) -> None:
        """Take note of a line; what it leaves to be told is sent when the event loop comes to it."""
        if self._early is not None:
            self._early.append((line, state))
            return
        event = line.event
        case = self._cases.get(line.incident) or self._new_case(line, state)
        if case is None or event.seq <= case.state.seq:
            return  # read from the timeline already, or nobody's business
        # of an incident that is closed, the engine does not know the state any more
        case.state = state if state.seq == event.seq else apply(case.state, event)
        case.docket = note(case.docket, event, case.state, case.rule)
        if case.docket.untold and case.docket.untold[-1].seq == event.seq:
            self._remember(line.incident, event, case.state)
        self._touch(line.incident)

    def _new_case(self, line: Line, state: Incident) -> _Case | None:
        rule = self._rule_of(state) if line.event.kind is K.OPENED else None
        if rule is None:
            return None
        self._cases[line.incident] = _Case(rule, Incident(line.incident), Docket())
        return self._cases[line.incident]

    def _remember(self, name: str, event: Event, state: Incident) -> None:
        self._fresh[name, event.seq] = (event, state)
        if len(self._fresh) > REMEMBERED:
            self._fresh.popitem(last=False)

    # --- what is due ---

    def _touch(self, name: str) -> None:
        if self._stopping or name in self._dirty:
            return
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._consider_dirty)
        self._dirty[name] = None

    def _consider_dirty(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + BREATH
        while self._dirty and not self._stopping:
            name = next(iter(self._dirty))
            del self._dirty[name]
            try:
                self._consider(name)
            except Exception:  # border: incident. The same
                log.exception("telling_fault", incident=name)
            if loop.time() >= end and self._dirty:
                loop.call_soon(self._consider_dirty)
                return

    def _consider(self, name: str) -> None:
        """Send what is due of one incident, and set its clock."""
        case = self._cases.get(name)
        if case is None:
            return
        for one in self._sendable(name):
            if one.contact in case.flying:
                continue
            if not self._send(name, case, one):
                self._waiting[name] = None
        at = next_ring(case.docket, case.state, case.rule, self._clock.now())
        if at is None:
            self._timers.clear(name)
        else:
            self._timers.set(name, at)
        if case.state.phase is Phase.CLOSED and not case.flying and name not in self._waiting:
            del self._cases[name]

    def _sendable(self, name: str) -> list[Due]:
        """Return what is due, without what is for a `default` contact that is not there."""
        case = self._cases[name]
        found = due(case.docket, case.state, case.rule, self._clock.now())
        if not found or self._contacts.find(case.rule.pack, DEFAULT) is not None:
            return list(found)
        return [one for one in found if one.contact != DEFAULT]

    def _send(self, name: str, case: _Case, one: Due) -> bool:
        """Begin to send; False when too much is under way."""

        async def write() -> tuple[str, str] | None:
            if one not in due(case.docket, case.state, case.rule, self._clock.now()):
                case.flying.discard(one.contact)
                self._touch(name)
                return None  # acknowledged meanwhile, mitigated, answered
            return await self._composed(name, case, one)

        async def ended(why: str | None) -> None:
            try:
                await self._record(name, case, one, why)
            finally:
                case.flying.discard(one.contact)
                self._touch(name)

        if not self._dispatch.send((case.rule.pack, one.contact), write, ended):
            return False
        case.flying.add(one.contact)
        return True

    def _make_use(self, others: bool) -> None:  # noqa: FBT001 - as Dispatch calls it
        """Let those come again for whom there was no room."""
        for name in list(self._waiting)[: 2 if others else None]:
            del self._waiting[name]
            self._touch(name)

    # --- one message ---

    async def _composed(self, name: str, case: _Case, one: Due) -> tuple[str, str]:
        """Write the message: about an event, with the incident as it was then; because of a clock, as it is now."""
        event, state = await self._moment(name, one.of) if one.of else (None, case.state)
        link = self._link(name, one.of, one.contact) if one.when == K.APPROVAL_REQUESTED else ""
        heard = one.contact in case.docket.heard
        return compose(Occasion(case.rule, state, one, self._clock.now(), event, heard), link)

    async def _moment(self, name: str, seq: int) -> tuple[Event, Incident]:
        """Return an event and the state after it, from memory or from the timeline. Raises TemporaryError."""
        fresh = self._fresh.get((name, seq))
        if fresh is not None:
            return fresh
        try:
            timeline = await self._journal.timeline(name)
        except StoreError as error:
            raise TemporaryError(f"its timeline cannot be read: {error}") from None
        event = next(event for event in timeline if event.seq == seq)
        return event, fold(name, (event for event in timeline if event.seq <= seq))

    async def _record(self, name: str, case: _Case, one: Due, why: str | None) -> None:
        """Write down what came of a message; where that fails it counts for this process only."""
        kind = K.NOTIFIED if why is None else K.NOTIFY_FAILED
        event = Event(kind, self._clock.now(), one.detail | ({} if why is None else {"why": why}))
        try:
            if name == CONTROL:
                await self._journal.control(event)
            else:
                await self._journal.append(Append(name, (event,)))
        except StoreError as error:
            log.warning("message_not_journaled", incident=name, why=str(error))
        case.docket = settled(case.docket, event)


async def _breathing(
    timelines: Mapping[str, tuple[Event, ...]],
) -> AsyncIterator[tuple[str, tuple[Event, ...]]]:
    """Go through timelines, and let the event loop breathe in between."""
    loop = asyncio.get_running_loop()
    end = loop.time() + BREATH
    for name, events in timelines.items():
        yield name, events
        if loop.time() >= end:
            await asyncio.sleep(0)
            end = loop.time() + BREATH
