"""Orders: what people say to an incident. Each order is journaled at the moment it is given, or refused with a reason."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

from stopgap.approval import pending, unanswerable
from stopgap.clock import Clock
from stopgap.closing import closing_of
from stopgap.decide import outcome_of
from stopgap.errors import StopgapError
from stopgap.guard import Refusal, Request
from stopgap.incident import (
    TARGET_LOCK,
    Cause,
    Event,
    EventKind as K,
    Incident,
    Outcome,
    Phase,
    holdings,
    lease_end,
)
from stopgap.journal import CONTROL, Append, Conflict, Journal
from stopgap.rule import Mode, Rule, bounded
from stopgap.transitions import fold

ATTEMPTS = 5  # an order is tried again when the incident moved on while it was being written
LONGEST_LEASE = timedelta(days=30)


class NoSuchIncident(StopgapError):  # noqa: N818 - named as the answer that the person reads
    """No incident has this id."""


class NotPossible(StopgapError):  # noqa: N818 - the same
    """The incident is not in a state in which the order makes sense; the text says why and what to do."""


class _Unanswerable(Exception):  # noqa: N818 - never leaves this file: the timeline is read, and says why
    """The request for approval takes no answer."""


class Ward(Protocol):
    """What orders need to know of the engine."""

    journal: Journal
    incidents: dict[str, Incident]

    def acting(self, identifier: str) -> bool:
        """Tell whether an act is under way."""
        ...

    @property
    def mode(self) -> Mode:
        """The upper bound of what rules may do."""
        ...

    def rule_of(self, state: Incident) -> Rule | None:
        """Return the rule version that an incident runs under."""
        ...


class Orders:
    """Takes people's orders. `by` is the person's name as given, `why` their reason."""

    def __init__(self, ward: Ward, clock: Clock) -> None:
        self._ward = ward
        self._clock = clock

    async def acknowledge(self, identifier: str, by: str, why: str = "") -> None:
        """Say that a person has seen it. Raises NoSuchIncident, StoreError."""
        await self._give(identifier, lambda _: (self._event(K.ACKNOWLEDGED, by=by, why=why),))

    async def approve(self, identifier: str, by: str, why: str = "", request: int | None = None) -> None:
        """Say yes to the pending request (to that of this number only); it holds for as long as it could be waited for.

        Raises NoSuchIncident, NotPossible, StoreError.
        """
        await self._answer(K.APPROVED, identifier, by, why, request)

    async def deny(self, identifier: str, by: str, why: str, request: int | None = None) -> None:
        """Say no to the pending request: the incident is handed over. Raises NoSuchIncident, NotPossible, StoreError."""
        await self._answer(K.APPROVAL_DENIED, identifier, by, why, request)

    async def _answer(self, kind: K, identifier: str, by: str, why: str, request: int | None) -> None:
        def order(state: Incident) -> tuple[Event, ...]:
            asked, now = pending(state), self._clock.now()
            if asked is None or request not in (None, asked.request) or now >= asked.until:
                raise _Unanswerable
            said = {"request": asked.request, "by": by, "why": why}
            if kind is K.APPROVAL_DENIED:
                return (self._event(kind, **said),)
            return (self._event(kind, **said, until=(now + self._valid(state, asked.rung)).isoformat()),)

        try:
            await self._give(identifier, order)
        except _Unanswerable:
            timeline = await self._ward.journal.timeline(identifier)
            raise NotPossible(unanswerable(timeline, request, self._clock.now())) from None

    def _valid(self, state: Incident, rung: int) -> timedelta:
        """Return how long an approval holds."""
        rule = self._ward.rule_of(state)
        if rule is None:
            raise NotPossible("the rule that asked is not known any more: deny it, or close the incident")
        return rule.ladder[rung].approval or rule.limits.approval

    async def note(self, identifier: str, by: str, text: str) -> None:
        """Write something down for those who read the timeline later. Raises NoSuchIncident, NotPossible, StoreError."""
        await self._give(identifier, lambda _: (self._event(K.NOTE_ADDED, by=by, text=text),))

    async def done(self, identifier: str, by: str, why: str = "") -> None:
        """Say that the step which waits for a person is done. Raises NoSuchIncident, NotPossible, StoreError."""

        def order(state: Incident) -> tuple[Event, ...]:
            ref = state.by_hand
            if ref is None:
                raise NotPossible("no step waits for a person")
            step = {"rung": ref.rung, "role": ref.role, "step": ref.step}
            return (self._event(K.MANUAL_DONE, **step, by=by, why=why),)

        await self._give(identifier, order)

    async def retry(self, identifier: str, by: str, why: str) -> None:
        """Give an incident that was handed over back to automation, where its ladder stands; the guards count.

        Raises NoSuchIncident, NotPossible, StoreError.
        """

        def order(state: Incident) -> tuple[Event, ...]:
            rung = self._retried(state)
            return (self._event(K.RETRIED, rung=rung, by=by, why=why),)

        await self._give(identifier, order)

    def _retried(self, state: Incident) -> int:
        """Return the rung at which automation goes on: the last one, where the ladder is exhausted."""
        rule = self._ward.rule_of(state)
        if not state.handed_over:
            raise NotPossible("it is not handed over: automation is at it")
        if rule is None or not rule.ladder:
            raise NotPossible("it has no ladder that could be tried again")
        if state.flaw or not state.firing or state.phase in (Phase.RECOVERING, Phase.REVERTING):
            raise NotPossible(f"there is nothing to try: {_why_not(state)}")
        rung = min(state.rung, len(rule.ladder) - 1)
        if state.phase in (Phase.OPEN, Phase.WAITING) and rung in state.held:
            raise NotPossible("the last rung is still held, and nothing stands above it: revert it first")
        return rung

    async def adopt(self, identifier: str, by: str, why: str) -> None:
        """Let an incident act that was held in shadow for being new. Raises NoSuchIncident, NotPossible, StoreError."""

        def order(state: Incident) -> tuple[Event, ...]:
            rule = self._ward.rule_of(state)
            if state.drill:
                raise NotPossible("it is a drill: run it again without --shadow to let it act")
            if rule is None or state.mode != Mode.SHADOW:
                raise NotPossible("it is not held in shadow: there is nothing to adopt")
            mode = bounded(rule.mode, self._ward.mode)
            if mode is Mode.SHADOW:
                raise NotPossible(
                    "the rule or the daemon's --mode is shadow: adopting it would change nothing"
                )
            return (self._event(K.ADOPTED, by=by, why=why, mode=mode),)

        await self._give(identifier, order)

    async def revert(self, identifier: str, by: str, why: str) -> None:
        """Take everything back now, whatever the alerts say; passes the brake. Raises NoSuchIncident, NotPossible."""

        def order(state: Incident) -> tuple[Event, ...]:
            if not state.held:
                raise NotPossible("it holds nothing that could be taken back")
            if state.phase is Phase.REVERTING and state.cause is Cause.PERSON and not state.stuck:
                raise NotPossible("a person had it taken back already")
            return (
                self._event(K.REVERT_STARTED, cause=Cause.PERSON, by=by, why=why, rungs=list(state.held)),
            )

        await self._give(identifier, order, lock=True)

    async def extend(self, identifier: str, by: str, for_: timedelta, why: str) -> None:
        """Let a lease end later, by `for_` from its present end. Raises NoSuchIncident, NotPossible."""

        def order(state: Incident) -> tuple[Event, ...]:
            rule = self._ward.rule_of(state)
            end = lease_end(state, rule.limits.max_hold) if rule else None
            if end is None:
                raise NotPossible("it holds no mitigation whose lease could be extended")
            now = self._clock.now()
            until = max(end, now) + for_
            if until - now > LONGEST_LEASE:
                raise NotPossible("a lease may not end later than 30 days from now")
            return (self._event(K.LEASE_EXTENDED, until=until.isoformat(), by=by, why=why),)

        await self._give(identifier, order)

    async def close(self, identifier: str, by: str, why: str, *, keep: bool) -> None:
        """End an incident; its firing alerts are served: their repeats open nothing. Raises NoSuchIncident, NotPossible."""

        def order(state: Incident) -> tuple[Event, ...]:
            if self._ward.acting(identifier):
                raise NotPossible("an act is under way: try again when it has ended")
            if state.held and not keep:
                raise NotPossible("it holds a mitigation: revert it first, or close it with --keep")
            outcome = Outcome.KEPT if state.held else outcome_of(state)
            if state.firing and outcome is Outcome.SELF_RESOLVED:
                outcome = Outcome.HANDED_OVER
            served = [fingerprint for fingerprint, alert in state.alerts.items() if alert.firing]
            closed = self._event(K.CLOSED, outcome=outcome, by=by, why=why, served=served)
            return (self._event(K.KEPT, by=by, why=why), closed) if state.held else (closed,)

        await self._give(identifier, order)

    def _event(self, kind: K, /, **detail: Any) -> Event:
        return Event(kind, self._clock.now(), {k: v for k, v in detail.items() if v != ""})

    async def _give(
        self, identifier: str, order: Callable[[Incident], tuple[Event, ...]], *, lock: bool = False
    ) -> None:
        for _ in range(ATTEMPTS):
            state = self._ward.incidents.get(identifier)
            if state is None:
                raise await self._absence(identifier)
            events = order(state)
            closes = events[-1].kind is K.CLOSED
            take = (TARGET_LOCK + state.target,)
            answer = await self._ward.journal.append(
                Append(
                    identifier,
                    events,
                    expect=state.seq,
                    request=Request(identifier, state.rule, state.target, take, person=True)
                    if lock
                    else None,
                    release=tuple(sorted(holdings(state))) if closes else (),
                    closing=closing_of(state, None, events[-1], serve=True) if closes else None,
                )
            )
            if isinstance(answer, Refusal):
                raise NotPossible(f"{answer.reason}: {answer.text}")
            if not isinstance(answer, Conflict):
                return
        raise NotPossible("it keeps moving on: try again")

    async def _absence(self, identifier: str) -> StopgapError:
        """Say why no live incident has this id."""
        timeline = () if identifier == CONTROL else await self._ward.journal.timeline(identifier)
        if not timeline:
            return NoSuchIncident(f"no incident {identifier[:64]}")
        return NotPossible(f"it is closed: {fold(identifier, timeline).outcome}")


def _why_not(state: Incident) -> str:
    if state.flaw:
        return "its target cannot be rendered from the alert"
    return "its alerts are over" if not state.firing else "it is being taken back"
