"""Starting: how a rung begins, or why it does not.

The order never changes: plan, ask the guards, measure, ask the rung's own preconditions, let a person approve where one must,
observe, decide once more from the present, and ask the guards once more inside the commit that holds the permit. Where nobody is
asked anything between the guards and that commit, they are asked there only. One turn holds all of this and the act. Whoever passed
the guards counts for the others until that commit; the engine sends them in the order of severity and age, so that what is left of
a budget goes to the most urgent.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stopgap.action import Json
from stopgap.asker import Asker
from stopgap.clock import Clock
from stopgap.decide import decide
from stopgap.errors import StoreError
from stopgap.guard import SKIPS, Reason, Refusal, Request, check
from stopgap.incident import Event, EventKind as K, Incident, Phase, Ref, Role
from stopgap.journal import Conflict, Journal, Undo
from stopgap.ledger import Ledger
from stopgap.moves import Circumstances, Record, Start, record
from stopgap.outlook import unmet
from stopgap.petition import approved, asks_for_approval, awaited, digest_of, petition
from stopgap.plan import Plan, question, words
from stopgap.planner import Planner
from stopgap.recorder import Recorder
from stopgap.rule import Mode, Rule
from stopgap.steps import Act, Begun, Steps, undone_by_hand
from stopgap.value import cheaply_made

AGAIN_SOON = timedelta(seconds=5)
ATTEMPTS = 5  # at a commit, while alerts join
BUDGETS = frozenset({Reason.BUDGET_RULE, Reason.BUDGET_GLOBAL})


@cheaply_made
@dataclass(frozen=True, slots=True)
class Attempt:
    """One rung that the guards let through."""

    state: Incident
    rule: Rule
    planned: Plan
    request: Request
    move: Start
    at: Circumstances
    act: Act

    @property
    def rung(self) -> int:
        """Return which rung it is."""
        return self.move.rung

    @property
    def asks(self) -> bool:
        """Tell whether anybody outside is asked anything between the guards and the commit."""
        return (
            bool(self.planned.only_if)
            or asks_for_approval(self.rule, self.rung, self.move.mode)
            or _is_measured(self.request)
            or self.act.looks
        )

    @property
    def was_refused(self) -> bool:
        """Tell whether the guards said no before: they may well again, and that need not keep the writer busy."""
        return self.state.phase is Phase.WAITING


Present = Callable[[str], tuple[Incident, Rule, Circumstances] | None]
"""Tells how an incident stands now, None when nothing may begin any more."""


class Starter:
    """Starts rungs. Remembers only who is about to take a permit, and lets nobody past them unseen."""

    def __init__(
        self, journal: Journal, clock: Clock, planner: Planner, recorder: Recorder, asker: Asker, steps: Steps
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._planner = planner
        self._recorder = recorder
        self._asker = asker
        self._steps = steps
        self._door = asyncio.Lock()
        self._starting: dict[str, str] = {}
        self.present: Present = lambda _identifier: None

    async def start(
        self, state: Incident, rule: Rule, move: Start, at: Circumstances, hurry: asyncio.Event
    ) -> Record | None:
        """Start a rung, or journal why not; returns what is left to be journaled. Raises StoreError."""
        planned = self._planner.plan(state, rule, move.rung)
        if isinstance(planned, Refusal):
            return unplanned(move.rung, planned)
        request = petition(state, rule, planned, move.mode, self._planner.rulebook, at)
        ref = Ref(move.rung, Role.DO, 0)
        act = Act(state, rule, planned, ref, state.steps[ref].n if ref in state.steps else 1, hurry)
        turns = self._steps.turns(act)
        if not turns.free:  # what the guards refuse anyway need not wait for a turn to hear of it
            refusal = await self._refusal(request)
            if refusal is not None:
                return await self._refused(state, refusal)
        async with turns.take():
            return await self._in_turn(Attempt(state, rule, planned, request, move, at, act))

    async def _in_turn(self, attempt: Attempt) -> Record | None:
        """Admit, prepare, commit and run, with nothing that waits between the commit and the act."""
        straight = not (attempt.asks or attempt.was_refused or self._overtakes)
        try:
            begun = await (self._straight(attempt) if straight else self._asked(attempt))
        finally:
            self._starting.pop(attempt.state.id, None)
        if not isinstance(begun, Begun):
            return begun
        await self._steps.run(begun)
        return None

    @property
    def _overtakes(self) -> bool:
        """Tell whether somebody who went straight to the commit would overtake one that asks the guards or has passed them."""
        return self._door.locked() or bool(self._starting)

    async def _straight(self, attempt: Attempt) -> Begun | Record | None:
        """Go to the commit, where the guards are asked in the order in which it was gone to."""
        self._recorder.forget(attempt.state.id)
        return await self._commit(attempt, (), await self._steps.look(attempt.act))

    async def _asked(self, attempt: Attempt) -> Begun | Record | None:
        """Ask the guards, then whatever must be asked, and go to the commit."""
        if self._still(attempt) is None:
            return None
        refusal = await self._admit(attempt.request)
        if refusal is not None:
            return await self._refused(attempt.state, refusal)
        if _is_measured(attempt.request):
            request = await self._measured(attempt.request)
            refusal = check(request, await self.ledger(request), self._clock.now())
            if refusal is not None:
                return await self._refused(attempt.state, refusal)
            attempt = replace(attempt, request=request)
        return await self._prepare(attempt)

    async def _refused(self, state: Incident, refusal: Refusal) -> Record | None:
        if refusal.reason is Reason.PROTECTED_TARGET:
            return record(K.HANDED_OVER, reason=refusal.reason, text=refusal.text)
        await self._recorder.refuse(state, refusal)
        return None

    # --- the guards ---

    async def request(
        self, state: Incident, rule: Rule, planned: Plan, mode: Mode, at: Circumstances
    ) -> Request:
        """Return the request to start a rung, with its population measured."""
        return await self._measured(petition(state, rule, planned, mode, self._planner.rulebook, at))

    async def _measured(self, request: Request) -> Request:
        blast = request.limits.blast_radius
        if blast is None or isinstance(blast.total, int):
            return request
        return replace(request, extent=await self._asker.extent(blast.total))

    async def ledger(self, request: Request) -> Ledger:
        """Read what the guards need, those counted in that are about to take a permit. Raises StoreError."""
        ledger = await self._journal.ledger(request)
        others = [rule for name, rule in self._starting.items() if name != request.incident]
        return replace(ledger, starting=others.count(request.rule), starting_global=len(others))

    async def _refusal(self, request: Request) -> Refusal | None:
        """Ask the guards that need nothing measured."""
        now = self._clock.now()
        cheap = request
        if _is_measured(request):
            cheap = replace(request, limits=replace(request.limits, blast_radius=None))
        try:
            ledger = await self.ledger(request)
        except StoreError as error:
            return unasked(error, now)
        refusal = check(cheap, ledger, now)
        if refusal is not None and refusal.reason in BUDGETS and ledger.starting_global:
            return replace(refusal, until=now + AGAIN_SOON)  # those who are starting may yet leave it
        return refusal

    async def _admit(self, request: Request) -> Refusal | None:
        async with self._door:
            refusal = await self._refusal(request)
            if refusal is None:
                self._starting[request.incident] = request.rule
                self._recorder.forget(request.incident)
        return refusal

    # --- what comes between the guards and the act ---

    async def _prepare(self, attempt: Attempt) -> Begun | Record | None:
        answers = await self._preconditions(attempt)
        if isinstance(answers, Record):
            return answers
        values: list[Json] = []
        if asks_for_approval(attempt.rule, attempt.rung, attempt.move.mode):
            try:
                values = await self._steps.values(attempt.state, attempt.rule, attempt.planned, attempt.rung)
            except Exception as error:  # noqa: BLE001 - border: step. What cannot be observed cannot be approved
                text = f"what it would change cannot be observed: {_why(error)}"
                return _skip(attempt, Reason.PRECONDITION_UNKNOWN, text)
            if not await self._approved(attempt, values):
                return None
        seen = await self._steps.look(attempt.act)
        if values and attempt.planned.reverts[0] and isinstance(seen, Undo) and seen.before != values[0]:
            await self._approved(attempt, [seen.before, *values[1:]])
            return None
        return await self._commit(attempt, answers, seen)

    async def _commit(
        self, attempt: Attempt, answers: tuple[Event, ...], seen: Undo | Event
    ) -> Begun | Record | None:
        """Commit permit, rung, intent and undo in one, if it would still be decided so; alerts that join do not matter."""
        for _ in range(ATTEMPTS):
            now = self._still(attempt)
            if now is None:
                return None
            state, request = now
            if state is not attempt.state:
                attempt = replace(attempt, state=state)
            opening = (*answers, *self._opening(attempt))
            if isinstance(seen, Event):
                answer = await self._recorder.put(state, *opening, seen, request=request)
            else:
                events = (*opening, self._steps.observed(attempt.act), self._steps.intent(attempt.act))
                undo = {str(attempt.act.ref): seen.before}
                self._steps.running.add(state.id)
                answer = await self._recorder.put(state, *events, request=request, undo=undo)
            if isinstance(answer, Refusal):
                return await self._refused(state, answer)
            if not isinstance(answer, Conflict):
                return Begun(attempt.act, seen) if isinstance(seen, Undo) else None
        return None

    def _still(self, attempt: Attempt) -> tuple[Incident, Request] | None:
        """Return the incident and the request as they are now, None when another thing would be decided by now."""
        now = self.unmoved(attempt.state, attempt.rule, attempt.move)
        if now is None:
            return None
        state, rule, at = now
        fresh = petition(state, rule, attempt.planned, attempt.move.mode, self._planner.rulebook, at)
        if _is_measured(fresh) and fresh.limits.blast_radius == attempt.request.limits.blast_radius:
            fresh = replace(fresh, extent=attempt.request.extent)
        return state, fresh

    def unmoved(
        self, asked: Incident, rule: Rule, move: Start
    ) -> tuple[Incident, Rule, Circumstances] | None:
        """Return how an incident stands now, None when another thing would be decided, or planned, by now."""
        present = self.present(asked.id)
        if present is None:
            return None
        state, now, at = present
        same = (state.labels, state.annotations) == (asked.labels, asked.annotations)
        return present if same and now.version == rule.version and decide(state, now, at) == move else None

    async def _preconditions(self, attempt: Attempt) -> tuple[Event, ...] | Record:
        """Ask `only_if`; returns the answers, or the skipping of the rung."""
        probes = attempt.planned.only_if
        findings = await self._asker.ask(probes)
        answers = tuple(
            self._recorder.event(
                K(f"probe_{found.verdict}"),
                probe=f"only_if/{i}",
                role="precondition",
                kind=probe.spec.probe,
                why=found.why,
            )
            for i, (probe, found) in enumerate(zip(probes, findings, strict=True))
        )
        refusal = unmet(findings)
        if refusal is None:
            return answers
        skipped = _skip(attempt, refusal.reason, refusal.text)
        return Record((*((answer.kind, answer.detail) for answer in answers), *skipped.events))

    def _opening(self, attempt: Attempt) -> tuple[Event, ...]:
        state, planned, rung = attempt.state, attempt.planned, attempt.rung
        spec = attempt.rule.ladder[rung]
        by = state.approval.by if state.approval is not None else None
        return (
            self._recorder.event(K.PERMITTED, rung=rung, approved_by=by),
            self._recorder.event(
                K.RUNG_STARTED,
                rung=rung,
                name=spec.name,
                do=len(planned.do),
                activate=len(planned.activate),
                reverts=list(planned.reverts),
                resources=list(planned.resources),
                labels=state.labels,
                annotations=state.annotations,
                on_resolve=spec.on_resolve,
                once=spec.once or None,
                steps=[words(step) for step in planned.steps],
            ),
        )

    # --- approval ---

    async def _approved(self, attempt: Attempt, values: list[Json]) -> bool:
        """Tell whether a person approved exactly this; asks a person when not."""
        state, act = attempt.state, f"{attempt.rung}/approval"
        bound = digest_of(attempt.planned, values)
        stale: tuple[Event, ...] = ()
        if approved(state, attempt.at):
            asked = await self._journal.undo(state.id, act)
            if asked is not None and asked.before == bound:
                return True
            text = "what it found has changed since a person approved it: asking again"
            stale = (self._recorder.event(K.REFUSED, reason=Reason.STALE_PLAN, text=text),)
        asking = self._asking(attempt, values, again=bool(stale))
        now = self._still(attempt)
        if now is not None:
            await self._recorder.append(now[0], *stale, asking, undo={act: bound})
        return False

    def _asking(self, attempt: Attempt, values: list[Json], *, again: bool) -> Event:
        rule, planned, now = attempt.rule, attempt.planned, self._clock.now()
        asked = awaited(rule, attempt.rung, now)
        held = [step for step, back in zip(planned.do, planned.reverts, strict=True) if back]
        return self._recorder.event(
            K.APPROVAL_REQUESTED,
            rung=attempt.rung,
            name=rule.ladder[attempt.rung].name,
            until=(asked.until or now).isoformat(),
            reason=asked.reason,
            text=f"{asked.text} again: what it found has changed since a person said yes"
            if again
            else asked.text,
            steps=[words(step) for step in planned.steps],
            verify=[question(probe) for probe in planned.verify],
            undo=[undone_by_hand(step, before) for step, before in zip(held, values, strict=True)] or None,
        )


def _is_measured(request: Request) -> bool:
    """Tell whether a guard needs to know how large a population is just now."""
    blast = request.limits.blast_radius
    return blast is not None and not isinstance(blast.total, int)


def unasked(error: StoreError, now: datetime) -> Refusal:
    """Refuse because the guards cannot be asked."""
    return Refusal(Reason.STORE_UNAVAILABLE, f"the guards cannot be asked: {error}", now + AGAIN_SOON)


def unplanned(rung: int, refusal: Refusal) -> Record:
    """Skip a rung that lacks a value; hand over what a hostile label would have changed."""
    kind = K.RUNG_SKIPPED if refusal.reason in SKIPS else K.HANDED_OVER
    rungs = {"rung": rung} if kind is K.RUNG_SKIPPED else {}
    return record(kind, **rungs, reason=refusal.reason, text=refusal.text)


def _skip(attempt: Attempt, reason: Reason, text: str) -> Record:
    name = attempt.rule.ladder[attempt.rung].name
    return record(K.RUNG_SKIPPED, rung=attempt.rung, name=name, reason=reason, text=text)


def _why(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:300]
