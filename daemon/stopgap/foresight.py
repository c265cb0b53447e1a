"""Foresight: the way that an incident would go now, by the daemon's own decisions, guards and preconditions; nothing is started.

It is walked on a copy of the state: a rung that would be skipped is skipped there, and the next one is tried.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from stopgap.clock import Clock
from stopgap.decide import decide
from stopgap.errors import StoreError
from stopgap.explanation import Doing, GuardAnswer, Next, Preview, Question
from stopgap.guard import Refusal, answers
from stopgap.incident import Event, EventKind as K, Incident, Phase
from stopgap.moves import Case, Circumstances, Record, Start
from stopgap.outlook import Outlook, because, outlook
from stopgap.perform import Performer
from stopgap.petition import approved, asks_for_approval, awaited
from stopgap.plan import Plan, PlannedProbe, question, words
from stopgap.probe import Finding
from stopgap.prospect import clock as clock_time, handed_over, prospect, refused
from stopgap.recorder import ASK_AGAIN
from stopgap.rule import Mode, Rule
from stopgap.starting import unasked, unplanned
from stopgap.transitions import apply

PASSED_BY = frozenset({K.RUNG_SKIPPED, K.BRAKE_RELEASED, K.LEASE_ENDING, K.LEASE_EXPIRED})
"""Decisions after which there is another one at once."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the guards said about one rung."""

    rung: int
    answers: tuple[GuardAnswer, ...]
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What lies ahead: the rungs from the one that comes next, what the guards say about one of them, and what comes next."""

    ladder: tuple[Preview, ...]
    guarded: int | None
    guards: tuple[GuardAnswer, ...]
    next: Next


class Foresight:
    """Looks ahead with the performer's own planner, asker and starter; without `asks` no probe is asked."""

    def __init__(self, performer: Performer, clock: Clock, *, asks: bool) -> None:
        self._performer = performer
        self._clock = clock
        self._asks = asks

    async def of(self, state: Incident, rule: Rule, at: Circumstances, why: str) -> Seen:
        """Look ahead from a state. `why` are the words of its last refusal."""
        walk = _Walk(self._performer, self._clock, rule, at, asks=self._asks)
        return await walk.go(state, why)


class _Walk:
    """One walk under one rule."""

    def __init__(
        self, performer: Performer, clock: Clock, rule: Rule, at: Circumstances, *, asks: bool
    ) -> None:
        self._performer = performer
        self._clock = clock
        self._rule = rule
        self._at = at
        self._asks = asks
        self._asked: Asked | None = None

    async def go(self, state: Incident, why: str) -> Seen:
        """Walk until something happens that is not passed by."""
        rungs = range(state.rung, len(self._rule.ladder)) if _may_start(state, self._at) else ()
        asker = self._performer.asker if self._asks else None
        planner = self._performer.planner
        ahead = {
            look.rung: look
            for look in await asyncio.gather(*(outlook(planner, asker, state, self._rule, n) for n in rungs))
        }
        coming = await self._walk(state, ahead, why)
        if self._asked is None:  # something else comes first: say all the same what the guards would
            plans = ((look.rung, look.planned) for look in ahead.values())
            first = next(((rung, plan) for rung, plan in plans if isinstance(plan, Plan)), None)
            if first is not None:
                await self._ask(state, *first)
        ladder = tuple(self._preview(state, look) for look in ahead.values())
        if self._asked is None:
            return Seen(ladder, None, (), coming)
        return Seen(ladder, self._asked.rung, self._asked.answers, coming)

    async def _walk(self, state: Incident, ahead: dict[int, Outlook], why: str) -> Next:
        while True:
            case = Case(state, self._rule, self._at)
            move = decide(state, self._rule, self._at)
            if isinstance(move, Start):
                after = await self._try(case, ahead, move)
            elif isinstance(move, Record) and move.events[-1][0] in PASSED_BY:
                after = self._after(state, move)
            else:
                return prospect(case, move, why)
            if isinstance(after, Next):
                return after
            state, why = after, ""

    def _after(self, state: Incident, move: Record) -> Incident:
        for kind, detail in move.events:
            state = apply(state, Event(kind, self._at.now, detail))
        return state

    # --- one rung ---

    async def _try(self, case: Case, ahead: dict[int, Outlook], move: Start) -> Next | Incident:
        """Go through what comes before a start, in its order; returns what comes of it, or the state after a skipped rung."""
        if move.mode is Mode.SHADOW:
            return await self._shadow(case, ahead)
        look = ahead[move.rung]
        if isinstance(look.planned, Refusal):
            return self._cannot(case, look.rung, look.planned)
        asked = await self._ask(case.state, look.rung, look.planned)
        if asked.refusal is not None:
            until = asked.refusal.until or self._clock.now() + ASK_AGAIN
            return refused(asked.refusal, until, case.now)
        if look.barred is not None:
            return self._skipped(case, look.rung, look.barred)
        if asks_for_approval(self._rule, look.rung, move.mode) and not approved(case.state, self._at):
            return self._awaits(look)
        return self._starts(case, look.planned, prospect(case, move))

    def _cannot(self, case: Case, rung: int, refusal: Refusal) -> Next | Incident:
        record = unplanned(rung, refusal)
        if record.events[-1][0] is K.RUNG_SKIPPED:
            return self._after(case.state, record)
        return handed_over(refusal.reason, refusal.text)

    def _skipped(self, case: Case, rung: int, refusal: Refusal) -> Incident:
        detail = {"rung": rung, "reason": refusal.reason, "text": refusal.text}
        return apply(case.state, Event(K.RUNG_SKIPPED, case.now, detail))

    def _awaits(self, look: Outlook) -> Next:
        now = self._clock.now()
        asked = awaited(self._rule, look.rung, now)
        until = asked.until or now
        text = f"ask a person to approve rung '{look.spec.name}' until {clock_time(until, now)}: no answer means no"
        return Next(Doing.ASK, text, asked.reason, asked.text, until)

    def _starts(self, case: Case, planned: Plan, said: Next) -> Next:
        if planned.only_if and not self._asks:
            return Next(said.do, f"{said.text}, if its preconditions hold: they were not asked")
        answer = case.state.approval
        if answer is not None and approved(case.state, self._at):
            return Next(said.do, f"{said.text}: {answer.by} said yes", why=answer.why)
        return said

    async def _shadow(self, case: Case, ahead: dict[int, Outlook]) -> Next:
        """Choose the rung as a shadow does: its plan and its preconditions first, then the guards."""
        why = because(case.state, self._rule, self._at)
        for look in ahead.values():
            if look.last is not None:
                text = f"only write down that {look.last.reason} at rung '{look.spec.name}' hands it over"
                return Next(Doing.SHADOW, f"{text}: shadow, {why}", "shadow", why)
            if look.tried is not None:
                asked = await self._ask(case.state, look.rung, look.tried)
                text = f"only write down that it would start rung '{look.spec.name}'"
                if asked.refusal is not None:
                    text = f"only write down that {asked.refusal.reason} keeps rung '{look.spec.name}' from starting"
                return Next(Doing.SHADOW, f"{text}: shadow, {why}", "shadow", why)
        return Next(Doing.SHADOW, f"only write down that no rung can be tried: shadow, {why}", "shadow", why)

    # --- the guards ---

    async def _ask(self, state: Incident, rung: int, planned: Plan) -> Asked:
        """Ask all guards of the start of a rung; nothing is reserved."""
        mode = Case(state, self._rule, self._at).mode
        starter = self._performer.starter
        request = await starter.request(state, self._rule, planned, mode, self._at)
        now = self._clock.now()
        try:
            ledger = await starter.ledger(request)
        except StoreError as error:
            refusal = unasked(error, now)
            self._asked = Asked(rung, (_answer(refusal),), refusal)
            return self._asked
        said = answers(request, ledger, now)
        refusals = (one for one in said.values() if isinstance(one, Refusal))
        given = tuple(
            _answer(one) if isinstance(one, Refusal) else GuardAnswer(reason, allows=True, text=one)
            for reason, one in said.items()
        )
        self._asked = Asked(rung, given, next(refusals, None))
        return self._asked

    # --- in words ---

    def _preview(self, state: Incident, look: Outlook) -> Preview:
        spec, planned = look.spec, look.planned if isinstance(look.planned, Plan) else None
        mode = Case(state, self._rule, self._at).mode
        asks = asks_for_approval(self._rule, look.rung, mode)
        timeout = spec.approval or self._rule.limits.approval
        return Preview(
            rung=look.rung,
            name=spec.name,
            steps=tuple(words(step) for step in planned.steps) if planned else (),
            holds=planned.resources if planned else (),
            only_if=questions(planned.only_if, look.findings) if planned else (),
            verify=questions(planned.verify) if planned else (),
            approval_seconds=timeout.total_seconds() if asks else None,
            once=spec.once,
            go_on=spec.go_on,
            on_failure=str(spec.on_failure),
            on_resolve=str(spec.on_resolve),
            skipped=look.refusal,
        )


def _may_start(state: Incident, at: Circumstances) -> bool:
    """Tell whether a rung may still start, now or after a wait."""
    waits = state.phase in (Phase.OPEN, Phase.WAITING) and state.firing and state.applying
    return waits and not state.flaw and not at.rule_removed and not state.stuck


def _answer(refusal: Refusal) -> GuardAnswer:
    return GuardAnswer(refusal.reason, allows=False, text=refusal.text, until=refusal.until)


def questions(probes: Sequence[PlannedProbe], findings: Sequence[Finding] = ()) -> tuple[Question, ...]:
    """Put probes into words, with their answers where they were asked."""
    return tuple(_question(probe, found) for probe, found in zip_longest(probes, findings))


def _question(probe: PlannedProbe, found: Finding | None) -> Question:
    spec = probe.spec
    times = (spec.after.total_seconds(), spec.for_.total_seconds(), spec.within.total_seconds())
    if found is None:
        return Question(question(probe), *times)
    return Question(question(probe), *times, str(found.verdict), found.why)
