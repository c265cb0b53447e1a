"""Performing: does a Move in the model world as the engine does, in the same order, with a pause wherever the engine awaits.

What pauses is a flight: it ends when the machine says so and with the outcome that it says, or never, when the process dies.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, Protocol

from tests.property.flights import Acting, Asking, End, Flight, Starting
from tests.property.ladders import TURNING, planned, question_of
from tests.property.outside import Away, Outside, Turn, Value
from tests.property.rows import Rows

from stopgap.action import Restored, Settled
from stopgap.asking import causes
from stopgap.closing import closing_of
from stopgap.decide import LOOKS, TRIES, decide
from stopgap.guard import Extent, Reason, Refusal, Request, check
from stopgap.incident import (
    TARGET_LOCK,
    Cause,
    Event,
    EventKind as K,
    Incident,
    Phase,
    Ref,
    Role,
    holdings,
)
from stopgap.journal import Append, Conflict
from stopgap.ledger import Ledger
from stopgap.moves import Act, Ask, Circumstances, Deed, Record, Settle, Start, TakeBack
from stopgap.petition import approved, asks_for_approval, digest_of, petition
from stopgap.plan import Plan
from stopgap.probe import Verdict
from stopgap.rule import Mode, Rule
from stopgap.rulebook import Rulebook
from stopgap.transitions import apply

TAKING_BACK = (Role.REVERT, Role.REACTIVATE)
AGAIN = timedelta(seconds=30)
BUDGETS = (Reason.BUDGET_RULE, Reason.BUDGET_GLOBAL)


class Engine(Protocol):
    """What performing needs of the world."""

    now: datetime
    rows: Rows
    outside: Outside
    book: Rulebook
    flights: dict[str, Flight]
    refused: dict[str, Refusal]

    def append(self, what: Append) -> tuple[Event, ...] | Conflict | Refusal: ...

    def present(self, name: str) -> tuple[Incident, Rule, Circumstances] | None: ...

    def note(self, asked: Incident, event: Event) -> None: ...

    def answered(self, incident: str, key: str, verdict: Verdict) -> None: ...


def turn_of(state: Incident, rule: Rule, ref: Ref) -> Turn:
    """Return what an act turns."""
    plan = planned(state, rule, ref.rung)
    steps = plan.do if ref.role in (Role.DO, Role.REVERT) else plan.activate
    turn = steps[ref.step].params
    assert isinstance(turn, Turn)
    return turn


class Performing:
    """Performs moves. Keeps nothing of its own."""

    def __init__(self, world: Engine) -> None:
        self._world = world

    def perform(self, state: Incident, rule: Rule, move: Deed, at: Circumstances) -> None:
        match move:
            case Record():
                self._record(state, rule, move)
            case Start(mode=Mode.SHADOW):
                self._shadow(state, rule, move, at)
            case Start():
                self._start(state, rule, move, at)
            case Act():
                request = Request(state.id, rule.id, state.target, person=state.cause is Cause.PERSON)
                self._intend(state, rule, move.ref, move.n, (), request)
            case Settle():
                self._settle(state, rule, move.ref)
            case TakeBack():
                request = Request(state.id, rule.id, state.target, take=(TARGET_LOCK + state.target,))
                event = self._event(K.REVERT_STARTED, cause=move.cause, rungs=list(move.rungs))
                self._append(state, event, request=request)
            case Ask():
                self._world.flights[state.id] = Asking(state, rule, move.keys)

    # --- journaling ---

    def _event(self, kind: K, /, **detail: Any) -> Event:
        return Event(kind, self._world.now, {k: v for k, v in detail.items() if v not in (None, "")})

    def _append(self, state: Incident, *events: Event, **more: Any) -> bool:
        after = reduce(apply, events, state)
        release = tuple(sorted(holdings(state) - holdings(after)))
        answer = self._world.append(Append(state.id, events, expect=state.seq, release=release, **more))
        if isinstance(answer, Refusal):
            self._refuse(state, answer)
            return False
        return not isinstance(answer, Conflict)

    def _fact(self, flight: Acting, event: Event) -> None:
        self._world.append(Append(flight.state.id, (event,)))

    def _refuse(self, state: Incident, refusal: Refusal) -> None:
        if refusal.reason is Reason.PROTECTED_TARGET:
            self._append(state, self._event(K.HANDED_OVER, reason=refusal.reason, text=refusal.text))
            return
        self._world.refused[state.id] = replace(refusal, until=refusal.until or self._world.now + AGAIN)
        if state.reason != refusal.reason:
            self._append(state, self._event(K.REFUSED, reason=refusal.reason, text=refusal.text))

    def _record(self, state: Incident, rule: Rule, move: Record) -> None:
        events = [self._event(kind, **detail) for kind, detail in move.events]
        closing = None
        if events[-1].kind is K.CLOSED:
            closing = closing_of(state, self._world.book.rules.get(rule.id, rule), events[-1])
        self._append(state, *events, closing=closing)

    # --- starting a rung ---

    def _request(self, state: Incident, rule: Rule, plan: Plan, mode: Mode, at: Circumstances) -> Request:
        request = petition(state, rule, plan, mode, self._world.book, at)
        blast = rule.limits.blast_radius
        if blast is None or isinstance(blast.total, int):
            return request
        total = self._world.outside.population(request.incident)
        return replace(request, extent=Extent(flaw="no data") if total is None else Extent(total))

    def _ledger(self, request: Request) -> Ledger:
        flights = [f for f in self._world.flights.values() if isinstance(f, Starting)]
        others = [f.rule.id for f in flights if f.state.id != request.incident]
        ledger = self._world.rows.ledger(request)
        return replace(ledger, starting=others.count(request.rule), starting_global=len(others))

    def _shadow(self, state: Incident, rule: Rule, move: Start, at: Circumstances) -> None:
        request = self._request(state, rule, planned(state, rule, move.rung), move.mode, at)
        refusal = check(request, self._ledger(request), self._world.now)
        event = self._event(K.SHADOW_PLANNED, rung=move.rung)
        self._append(state, event, request=request if refusal is None else None)

    def _start(self, state: Incident, rule: Rule, move: Start, at: Circumstances) -> None:
        plan = planned(state, rule, move.rung)
        request = self._request(state, rule, plan, move.mode, at)
        ledger = self._ledger(request)
        refusal = check(request, ledger, self._world.now)
        if refusal is None:
            self._world.refused.pop(state.id, None)
            self._world.flights[state.id] = Starting(state, rule, move, at, plan, request)
        else:
            if refusal.reason in BUDGETS and ledger.starting_global:
                refusal = replace(refusal, until=self._world.now + timedelta(seconds=5))
            self._refuse(state, refusal)

    def started(self, flight: Starting) -> None:
        """Go on when the preconditions have answered."""
        state, rule, rung = flight.state, flight.rule, flight.move.rung
        verdicts = {self._verdict(probe.spec, state) for probe in flight.plan.only_if}
        if verdicts - {Verdict.HEALTHY}:
            failed = Verdict.UNHEALTHY in verdicts
            reason = Reason.PRECONDITION_FAILED if failed else Reason.PRECONDITION_UNKNOWN
            self._append(state, self._event(K.RUNG_SKIPPED, rung=rung, reason=reason))
            return
        if asks_for_approval(rule, rung, flight.move.mode) and not self._approved(flight):
            return
        present = self._still(flight)
        if present is None:
            return
        state, request = present
        spec = rule.ladder[rung]
        opening = (
            self._event(K.PERMITTED, rung=rung),
            self._event(
                K.RUNG_STARTED,
                rung=rung,
                name=spec.name,
                do=len(spec.do),
                activate=len(spec.activate),
                reverts=list(flight.plan.reverts),
                resources=list(flight.plan.resources),
                on_resolve=spec.on_resolve,
                once=spec.once or None,
            ),
        )
        self._intend(state, rule, Ref(rung, Role.DO, 0), 1, opening, request)

    def _still(self, flight: Starting) -> tuple[Incident, Request] | None:
        """Return the incident and the request as they are now, None when another thing would be decided by now."""
        present = self._world.present(flight.state.id)
        if present is None:
            return None
        state, rule, at = present
        if rule.version != flight.rule.version or state.labels != flight.state.labels:
            return None
        if decide(state, rule, at) != flight.move:
            return None
        acknowledged = bool(state.acknowledged_by)
        return state, replace(flight.request, storm=at.storm, limits=rule.limits, acknowledged=acknowledged)

    def _approved(self, flight: Starting) -> bool:
        """Tell whether a person approved exactly this; ask a person when not."""
        state, rule, rung, outside = flight.state, flight.rule, flight.move.rung, self._world.outside
        spec, act = rule.ladder[rung], f"{rung}/approval"
        turns: list[Any] = [step.params for step, back in self._zip(flight.plan) if back]
        try:
            bound = digest_of(flight.plan, [outside.observe(turn) for turn in turns])
        except Away:
            event = self._event(K.RUNG_SKIPPED, rung=rung, reason=Reason.PRECONDITION_UNKNOWN)
            self._append(state, event)
            return False
        stale: tuple[Event, ...] = ()
        if approved(state, flight.at):
            asked = self._world.rows.undos.get((state.id, act))
            if asked is not None and asked.before == bound:
                return True
            stale = (self._event(K.REFUSED, reason=Reason.STALE_PLAN),)
        until = self._world.now + (spec.approval or rule.limits.approval)
        reason = Reason.MODE_APPROVE if spec.approval is None else Reason.APPROVAL_PENDING
        asking = self._event(K.APPROVAL_REQUESTED, rung=rung, until=until.isoformat(), reason=reason)
        self._append(state, *stale, asking, undo={act: bound})
        return False

    @staticmethod
    def _zip(plan: Plan) -> Any:
        return zip(plan.do, plan.reverts, strict=True)

    # --- acts ---

    def _intend(
        self, state: Incident, rule: Rule, ref: Ref, n: int, opening: tuple[Event, ...], request: Request
    ) -> None:
        """Observe, commit intent and undo, and let the act begin."""
        flight = Acting(state, rule, ref, n, turn_of(state, rule, ref), 0)
        if ref.role is Role.REVERT:
            flight = replace(flight, before=self._undo_of(flight))
            undo: dict[str, Value] = {}
        else:
            try:
                flight = replace(flight, before=self._world.outside.observe(flight.turn))
            except Away:
                self._append(state, *opening, self._failure(flight, for_now=True), request=request)
                return
            undo = {str(ref): flight.before}
        intent = self._event(K.STEP_STARTED, **flight.detail, key=flight.key)
        if self._append(state, *opening, intent, request=request, undo=undo):
            self._world.flights[state.id] = flight

    def _undo_of(self, flight: Acting) -> Value:
        role = Role.DO if flight.ref.role is Role.REVERT else flight.ref.role
        undo = self._world.rows.undos[flight.state.id, str(flight.ref._replace(role=role))]
        assert isinstance(undo.before, str | int)
        return undo.before

    def _failure(self, flight: Acting, *, for_now: bool) -> Event:
        if flight.doubtful:
            return self._event(K.STEP_UNKNOWN, **flight.detail)
        kind = K.REVERT_FAILED if flight.ref.role in TAKING_BACK else K.STEP_FAILED
        retry_at = (self._world.now + timedelta(seconds=2)).isoformat() if for_now else None
        return self._event(kind, **flight.detail, retry_at=retry_at)

    def acted(self, flight: Acting, end: End) -> None:
        """Let an act end, and journal what came of it."""
        if end in (End.FAILED, End.FAILED_FOR_NOW):
            self._fact(flight, self._failure(flight, for_now=end is End.FAILED_FOR_NOW))
            return
        said = self._event(K.STEP_UNKNOWN, **flight.detail)
        if end is not End.UNKNOWN_LOST:
            known = self.takes_effect(flight)
            said = known if end is End.OK else said
        self._fact(flight, said)

    def takes_effect(self, flight: Acting) -> Event:
        """Change the world outside; returns the result, which need not reach the disk."""
        if flight.ref.role is not Role.REVERT:
            if self._world.outside.run(flight.turn, flight.before, flight.key):
                return self._event(K.STEP_SUCCEEDED, **flight.detail)
            return self._failure(flight, for_now=True)
        said = self._world.outside.revert(flight.turn, flight.before, flight.key)
        kind = K.DRIFTED if said.result is Restored.DRIFTED else K.STEP_REVERTED
        return self._event(kind, **flight.detail, detail=said.detail, changed=said.changed)

    # --- unknown outcomes ---

    def _settle(self, state: Incident, rule: Rule, ref: Ref) -> None:
        step = state.steps[ref]
        flight = Acting(state, rule, ref, step.n, turn_of(state, rule, ref), 0)
        flight, looks = replace(flight, before=self._undo_of(flight)), step.looks + 1
        try:
            now = self._world.outside.observe(flight.turn)
        except Away:
            self._unknown(flight, looks=looks, unclear=looks >= LOOKS or None)
            return
        reverting = ref.role is Role.REVERT
        settled = (TURNING.settled_revert if reverting else TURNING.settled)(flight.turn, flight.before, now)
        if settled is Settled.DONE:
            kind = K.STEP_REVERTED if reverting else K.STEP_SUCCEEDED
            self._append(state, self._event(kind, **flight.detail, by="observation", looks=looks))
        elif state.phase is Phase.REVERTING and ref.role not in TAKING_BACK:
            if settled is Settled.NOT_DONE:
                self._append(state, self._failure(flight, for_now=False))
            else:
                self._unknown(flight, looks=1)
        elif self._again(flight, settled, step.tries):
            self._intend_again(replace(flight, doubtful=settled is Settled.UNCLEAR))
        elif settled is Settled.NOT_DONE:
            self._append(state, self._failure(flight, for_now=False))
        else:
            self._unknown(flight, looks=looks, unclear=True)

    @staticmethod
    def _again(flight: Acting, settled: Settled, tries: int) -> bool:
        if settled is Settled.NOT_DONE:
            return tries < TRIES
        return flight.turn.safe and tries < TRIES - 1

    def _intend_again(self, flight: Acting) -> None:
        state = flight.state
        request = Request(state.id, flight.rule.id, state.target, person=state.cause is Cause.PERSON)
        intent = self._event(K.STEP_STARTED, **flight.detail, key=flight.key)
        if self._append(state, intent, request=request):
            self._world.flights[state.id] = flight

    def _unknown(self, flight: Acting, **more: Any) -> None:
        self._append(flight.state, self._event(K.STEP_UNKNOWN, **flight.detail, **more))

    # --- probes ---

    def _verdict(self, spec: Any, state: Incident) -> Verdict:
        return self._world.outside.verdict(question_of(spec), state.target)

    def asked(self, flight: Asking) -> None:
        """Take the answers: a new one is a line, one that says what the last one said is noted only."""
        state, news = flight.state, []
        for key in flight.keys:
            role, _, number = key.partition("/")
            rung = flight.rule.ladder[state.rung] if role != "recovered" else None
            specs = causes(state, flight.rule) if rung is None else rung.verify
            verdict = self._verdict(specs[int(number)], state)
            self._world.answered(state.id, key, verdict)
            event = self._event(K(f"probe_{verdict}"), probe=key, role=role)
            known = state.probes.get(key)
            if known is not None and known.verdict == verdict:
                self._world.note(state, event)
            else:
                news.append(event)
        if news:
            self._append(state, *news)
