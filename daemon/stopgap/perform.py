"""Perform: does one Move for one incident, and journals what came of it.

The order never changes: observe, commit the intent with its undo, act, commit the result. A result that cannot be
committed is an unknown outcome, as after a crash: the next decision finds a started act and asks what became of it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, assert_never

from stopgap.catalog import Catalog
from stopgap.clock import Clock
from stopgap.closing import closing_of
from stopgap.guard import Reason, Refusal, Request, check
from stopgap.incident import TARGET_LOCK, Event, EventKind as K, Incident, Phase, holdings
from stopgap.journal import Append, Conflict, Journal
from stopgap.moves import Act, Ask, Deed, Record, Settle, Start, TakeBack, record
from stopgap.plan import Plan, PlannedProbe, plan, plan_probes
from stopgap.probe import Finding, Verdict
from stopgap.rule import Mode, Rule
from stopgap.rulebook import Rulebook
from stopgap.steps import Steps, words
from stopgap.template import Scope
from stopgap.transitions import apply

PROBES_AT_ONCE = 64
PROBE_SLACK = timedelta(seconds=4)  # beyond the probe's own timeout: then it counts as unknown
BUSY_AGAIN = timedelta(
    seconds=30
)  # a refusal without an end is asked again after this, or when something is released

Asked = Callable[[str, Verdict, Incident, Event | None], None]


class Performer:
    """Performs moves; keeps only what a restart may forget: when a refused request may be asked again."""

    def __init__(
        self, journal: Journal, catalog: Catalog, clock: Clock, rulebook: Callable[[], Rulebook], asked: Asked
    ) -> None:
        self._journal = journal
        self._catalog = catalog
        self._clock = clock
        self._rulebook = rulebook
        self._asked = asked
        self._refused: dict[str, Refusal] = {}
        self._hurries: dict[str, asyncio.Event] = {}
        self._probing = asyncio.Semaphore(PROBES_AT_ONCE)
        self._steps = Steps(journal, catalog, clock, self.append)

    async def perform(self, state: Incident, rule: Rule, move: Deed) -> None:
        """Do one move. Raises StoreError."""
        hurry = self.hurry(state)
        match move:
            case Record():
                await self._record(state, rule, move)
            case Start():
                await self._start(state, rule, move, hurry)
            case Act():
                await self._act(state, rule, move, hurry)
            case Settle():
                await self._settle(state, rule, move, hurry)
            case TakeBack():
                await self._take_back(state, rule, move)
            case Ask():
                await self._ask(state, rule, move)
            case _:
                assert_never(move)

    # --- what a restart may forget ---

    def hurry(self, state: Incident) -> asyncio.Event:
        """Cut a waiting step short while no alert fires, or when a person has it all taken back; returns what tells it."""
        hurry = self._hurries.setdefault(state.id, asyncio.Event())
        (hurry.clear if state.firing and state.phase is not Phase.REVERTING else hurry.set)()
        return hurry

    def forget(self, identifier: str) -> None:
        """Drop what is kept for a closed incident."""
        self._refused.pop(identifier, None)
        self._hurries.pop(identifier, None)

    def retry_at(self, identifier: str) -> datetime | None:
        """Return when a refused request may be asked again."""
        refusal = self._refused.get(identifier)
        return refusal.until if refusal else None

    def release(self, *reasons: Reason) -> tuple[str, ...]:
        """Let requests that were refused for these reasons be asked again now; returns whose."""
        freed = tuple(name for name, refusal in self._refused.items() if refusal.reason in reasons)
        for name in freed:
            del self._refused[name]
        return freed

    # --- journaling ---

    def event(self, kind: K, /, **detail: Any) -> Event:
        """Return an event of this instant."""
        return Event(kind, self._clock.now(), {k: v for k, v in detail.items() if v not in (None, "")})

    async def append(
        self, state: Incident, *events: Event, request: Request | None = None, **more: Any
    ) -> bool:
        """Append decisions made at `state`; False when it moved on meanwhile or a guard refused (which is journaled)."""
        after = reduce(apply, events, state)
        operation = Append(
            state.id,
            events,
            expect=state.seq,
            request=request,
            release=tuple(sorted(holdings(state) - holdings(after))),
            **more,
        )
        answer = await self._journal.append(operation)
        if isinstance(answer, Refusal):
            await self._refuse(state, answer)
            return False
        return not isinstance(answer, Conflict)

    async def _refuse(self, state: Incident, refusal: Refusal) -> None:
        again_at = refusal.until or self._clock.now() + BUSY_AGAIN
        self._refused[state.id] = replace(refusal, until=again_at)
        if state.reason != refusal.reason:
            until = refusal.until.isoformat() if refusal.until else None
            await self.append(
                state, self.event(K.REFUSED, reason=refusal.reason, text=refusal.text, until=until)
            )

    async def _record(self, state: Incident, rule: Rule, move: Record) -> None:
        events = [await self._written(state, rule, kind, detail) for kind, detail in move.events]
        closing = None
        if events[-1].kind is K.CLOSED:  # what opens next, opens under the rule in force
            closing = closing_of(state, self._rulebook().rules.get(rule.id, rule), events[-1])
        await self.append(state, *events, closing=closing)

    async def _written(self, state: Incident, rule: Rule, kind: K, detail: Mapping[str, Any]) -> Event:
        """Return the event of a decision; who takes over is told how to undo what is in place."""
        if kind is not K.HANDED_OVER:
            return self.event(kind, **detail)
        undo = await self._steps.by_hand(state, lambda rung: self._plan(state, rule, rung))
        return self.event(kind, **detail, undo=undo or None)

    # --- beginning a rung ---

    def _scope(self, state: Incident, rule: Rule, rung: int | None = None) -> Scope:
        """Gather the values of templates: those of the planning time where the rung has begun."""
        planned = state.rungs.get(rung) if rung is not None else None
        return Scope(
            labels=planned.labels if planned else state.labels,
            annotations=planned.annotations if planned else state.annotations,
            vars=rule.vars,
            secrets=self._rulebook().secrets.get(rule.pack, {}),
            target=state.target,
            incident_id=state.id,
        )

    def _plan(self, state: Incident, rule: Rule, rung: int) -> Plan | Refusal:
        return plan(rule, rung, self._catalog, self._scope(state, rule, rung))

    async def _start(self, state: Incident, rule: Rule, move: Start, hurry: asyncio.Event) -> None:
        planned = self._plan(state, rule, move.rung)
        if isinstance(planned, Refusal):
            await self._record(state, rule, record(K.HANDED_OVER, reason=planned.reason, text=planned.text))
            return
        request = Request(
            incident=state.id,
            rule=rule.id,
            target=state.target,
            take=(TARGET_LOCK + state.target, *planned.resources),
            first=not state.rungs,
            follows=state.follows,
            cooldown=rule.limits.cooldown,
        )
        refusal = check(request, await self._journal.ledger(request), self._clock.now())
        if move.mode is Mode.SHADOW:
            await self._shadow(state, rule, move.rung, planned, refusal)
        elif refusal is not None:
            await self._refuse(state, refusal)
        else:
            self._refused.pop(state.id, None)
            await self._steps.begin(state, rule, move.rung, planned, request, hurry)

    async def _shadow(
        self, state: Incident, rule: Rule, rung: int, planned: Plan, refusal: Refusal | None
    ) -> None:
        probes = {f"verify/{i}": probe for i, probe in enumerate(planned.verify)}
        findings = await asyncio.gather(*(self._finding(probe) for probe in probes.values()))
        await self.append(
            state,
            self.event(
                K.SHADOW_PLANNED,
                rung=rung,
                name=rule.ladder[rung].name,
                steps=[words(step) for step in (*planned.do, *planned.activate)],
                refusal=f"{refusal.reason}: {refusal.text}" if refusal else None,
                probes={key: f"{f.verdict}: {f.why}" for key, f in zip(probes, findings, strict=True)},
            ),
        )

    # --- single acts ---

    async def _act(self, state: Incident, rule: Rule, move: Act, hurry: asyncio.Event) -> None:
        planned = self._plan(state, rule, move.ref.rung)
        if isinstance(planned, Refusal):
            await self._cannot_plan(state, rule, planned)
            return
        await self._steps.act(state, rule, planned, move.ref, move.n, hurry)

    async def _settle(self, state: Incident, rule: Rule, move: Settle, hurry: asyncio.Event) -> None:
        planned = self._plan(state, rule, move.ref.rung)
        if isinstance(planned, Refusal):
            await self._cannot_plan(state, rule, planned)
            return
        await self._steps.settle(state, rule, planned, move.ref, hurry)

    async def _cannot_plan(self, state: Incident, rule: Rule, refusal: Refusal) -> None:
        """Hand over a rung that began and cannot be rendered any more (a secret is gone)."""
        text = f"what runs cannot be rendered again: {refusal.text}"
        await self._record(state, rule, record(K.HANDED_OVER, reason=refusal.reason, text=text, stuck=True))

    async def _take_back(self, state: Incident, rule: Rule, move: TakeBack) -> None:
        lock = (TARGET_LOCK + state.target,)
        request = Request(state.id, rule.id, state.target, take=lock)
        event = self.event(K.REVERT_STARTED, cause=move.cause, rungs=list(move.rungs))
        await self.append(state, event, request=request)

    # --- probes ---

    async def _ask(self, state: Incident, rule: Rule, move: Ask) -> None:
        probes = self._probes(state, rule, move.keys)
        if isinstance(probes, Refusal):
            await self._cannot_plan(state, rule, probes)
            return
        findings = await asyncio.gather(*(self._finding(probe) for probe in probes))
        news: list[Event] = []
        for key, probe, finding in zip(move.keys, probes, findings, strict=True):
            event = self._answer(key, probe, finding)
            known = state.probes.get(key)
            if known is not None and known.verdict == finding.verdict:
                self._asked(probe.spec.probe, finding.verdict, state, event)
            else:
                self._asked(probe.spec.probe, finding.verdict, state, None)
                news.append(event)
        if news:
            await self.append(state, *news)

    def _answer(self, key: str, probe: PlannedProbe, finding: Finding) -> Event:
        return self.event(
            K(f"probe_{finding.verdict}"),
            probe=key,
            role=key.partition("/")[0],
            kind=probe.spec.probe,
            why=finding.why,
        )

    def _probes(self, state: Incident, rule: Rule, keys: tuple[str, ...]) -> list[PlannedProbe] | Refusal:
        planned: tuple[PlannedProbe, ...] | Refusal
        if keys[0].startswith("recovered/"):
            planned = plan_probes(rule.recovered, self._catalog, self._scope(state, rule))
        else:
            whole = self._plan(state, rule, state.rung)
            planned = whole if isinstance(whole, Refusal) else whole.verify
        if isinstance(planned, Refusal):
            return planned
        return [planned[int(key.partition("/")[2])] for key in keys]

    async def _finding(self, probe: PlannedProbe) -> Finding:
        limit = probe.spec.timeout
        try:
            async with self._probing, asyncio.timeout((limit + PROBE_SLACK).total_seconds()):
                return await probe.probe.ask(probe.params, limit)
        except Exception as error:  # noqa: BLE001 - border: probe. Not looked means unknown
            return Finding(Verdict.UNKNOWN, f"{type(error).__name__}: {error}"[:300])
