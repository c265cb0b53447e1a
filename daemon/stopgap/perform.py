"""Perform: does one Move for one incident, and journals what came of it.

The order never changes: observe, commit the intent with its undo, act, commit the result (and with it what is decided right
after it, where that is only written down). A result that cannot be committed is an unknown outcome, as after a crash: the next
decision finds a started act and asks what became of it.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Set as AbstractSet
from datetime import datetime
from typing import Any, assert_never

from stopgap.asker import Asker
from stopgap.catalog import Catalog
from stopgap.clock import Clock
from stopgap.closing import closing_of
from stopgap.decide import decide
from stopgap.guard import Reason, Refusal, Request
from stopgap.incident import PROBED, TARGET_LOCK, Event, EventKind as K, Incident, Phase, same_stage
from stopgap.journal import Journal
from stopgap.moves import Act, Ask, Circumstances, Deed, Record, Settle, Start, TakeBack, record
from stopgap.plan import PlannedProbe
from stopgap.planner import Planner
from stopgap.probe import Finding, Verdict
from stopgap.recorder import Recorder
from stopgap.rule import AtOnce, Mode, Rule
from stopgap.rulebook import Rulebook
from stopgap.shadow import Shadow
from stopgap.starting import Starter
from stopgap.steps import Steps
from stopgap.transitions import apply

MORE_THAN_A_LINE = frozenset({K.HANDED_OVER, K.CLOSED})
"""Decisions with which more is read or written than their line."""

Noted = Callable[[Incident, Event], None]
"""Who is told of an answer that says what the one before said: it is noted without a line."""


class Performer:
    """Performs moves; keeps only what a restart may forget."""

    def __init__(
        self, journal: Journal, catalog: Catalog, clock: Clock, rulebook: Callable[[], Rulebook], noted: Noted
    ) -> None:
        bounds = rulebook().at_once
        self._journal = journal
        self._noted = noted
        self._hurries: dict[str, asyncio.Event] = {}
        self.planner = Planner(catalog, rulebook)
        self.recorder = Recorder(journal, clock)
        self.asker = Asker(catalog.measure, bounds.probes, prompt=catalog.prompt)
        self._steps = Steps(journal, self.recorder, clock, bounds.actions)
        self.starter = Starter(journal, clock, self.planner, self.recorder, self.asker, self._steps)
        self.recorder.sequel = self._sequel
        self._shadow = Shadow(clock, self.planner, self.recorder, self.asker, self.starter)

    @property
    def running(self) -> AbstractSet[str]:
        """Return the incidents whose act is under way."""
        return self._steps.running

    def bound(self, at_once: AtOnce) -> None:
        """Do so much at the same time from now on."""
        self._steps.bound(at_once.actions)
        self.asker.bound(at_once.probes)

    async def perform(self, state: Incident, rule: Rule, move: Deed, at: Circumstances) -> None:
        """Do one move. Raises StoreError."""
        releases = self.recorder.releases
        try:
            await self._do(state, rule, move, at)
        finally:
            self._steps.running.discard(state.id)
        self.recorder.overtake(state.id, releases)

    async def _do(self, state: Incident, rule: Rule, move: Deed, at: Circumstances) -> None:
        hurry = self.hurry(state)
        match move:
            case Record():
                await self._record(state, rule, move)
            case Start(mode=Mode.SHADOW):
                await self._shadow.plan(state, rule, move, at)
            case Start():
                said = await self.starter.start(state, rule, move, at, hurry)
                if said is not None:
                    now = self.starter.unmoved(state, rule, move)
                    await self._record(now[0] if now is not None else state, rule, said)
            case Act() | Settle():
                await self._act(state, rule, move, hurry)
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
        self.recorder.forget(identifier)
        self.planner.forget(identifier)
        self._hurries.pop(identifier, None)

    def retry_at(self, identifier: str) -> datetime | None:
        """Return when a refused request may be asked again."""
        return self.recorder.retry_at(identifier)

    def release(self, reasons: Collection[Reason]) -> tuple[str, ...]:
        """Let requests that were refused for these reasons be asked again now; returns whose."""
        return self.recorder.release(reasons)

    # --- decisions ---

    async def _record(self, state: Incident, rule: Rule, move: Record) -> None:
        events = [await self._written(state, rule, kind, detail) for kind, detail in move.events]
        closing = None
        if events[-1].kind is K.CLOSED:  # what opens next, opens under the rule in force
            closing = closing_of(state, self.planner.rulebook.rules.get(rule.id, rule), events[-1])
        await self.recorder.append(state, *events, closing=closing)

    def _sequel(self, identifier: str, event: Event) -> tuple[Incident, tuple[Event, ...]] | None:
        """Return what is decided right after an event, if that is nothing but to write it down."""
        present = self.starter.present(identifier)
        if present is None:
            return None
        state, rule, at = present
        try:
            move = decide(apply(state, event), rule, at)
        except Exception:  # noqa: BLE001 - border: decision. What happened is kept all the same; the engine decides anew, and tells
            return None
        if not isinstance(move, Record) or any(kind in MORE_THAN_A_LINE for kind, _ in move.events):
            return None
        return state, tuple(self.recorder.event(kind, **detail) for kind, detail in move.events)

    async def _written(self, state: Incident, rule: Rule, kind: K, detail: Mapping[str, Any]) -> Event:
        """Return the event of a decision; who takes over is told how to undo what is in place."""
        if kind is not K.HANDED_OVER:
            return self.recorder.event(kind, **detail)
        undo = await self._steps.by_hand(state, lambda rung: self.planner.plan(state, rule, rung))
        return self.recorder.event(kind, **detail, undo=undo or None)

    # --- single acts ---

    async def _act(self, state: Incident, rule: Rule, move: Act | Settle, hurry: asyncio.Event) -> None:
        planned = self.planner.plan(state, rule, move.ref.rung)
        if isinstance(planned, Refusal):
            await self._cannot_plan(state, rule, planned)
        elif isinstance(move, Act):
            await self._steps.act(state, rule, planned, move.ref, move.n, hurry)
        else:
            await self._steps.settle(state, rule, planned, move.ref, hurry)

    async def _cannot_plan(self, state: Incident, rule: Rule, refusal: Refusal) -> None:
        """Hand over a rung that began and cannot be rendered any more (a secret is gone)."""
        text = f"what runs cannot be rendered again: {refusal.text}"
        await self._record(state, rule, record(K.HANDED_OVER, reason=refusal.reason, text=text, stuck=True))

    async def _take_back(self, state: Incident, rule: Rule, move: TakeBack) -> None:
        lock = (TARGET_LOCK + state.target,)
        request = Request(state.id, rule.id, state.target, take=lock)
        event = self.recorder.event(K.REVERT_STARTED, cause=move.cause, rungs=list(move.rungs))
        await self.recorder.append(state, event, request=request)

    # --- probes ---

    async def over(self, state: Incident) -> Verdict:
        """Ask Prometheus whether an incident's alerts are over: unhealthy while one fires, unknown where nobody can say."""
        probes = self.planner.over(state)
        if isinstance(probes, Refusal) or not probes:
            return Verdict.UNKNOWN
        verdicts = {finding.verdict for finding in await self.asker.ask(probes)}
        if Verdict.UNHEALTHY in verdicts:
            return Verdict.UNHEALTHY
        return Verdict.UNKNOWN if Verdict.UNKNOWN in verdicts else Verdict.HEALTHY

    async def _ask(self, state: Incident, rule: Rule, move: Ask) -> None:
        probes = self.planner.probes(state, rule, move.keys)
        if isinstance(probes, Refusal):
            await self._cannot_plan(state, rule, probes)
            return
        findings = await self.asker.ask(probes)
        news: list[Event] = []
        for key, probe, finding in zip(move.keys, probes, findings, strict=True):
            event = self._answer(key, probe, finding)
            known = state.probes.get(key)
            if known is not None and known.verdict == finding.verdict:
                self._noted(state, event)
            else:
                news.append(event)
        if news:
            await self.recorder.append(self._by_now(state), *news)

    def _by_now(self, asked: Incident) -> Incident:
        """Return how an incident stands when its probes have answered: an alert that joined meanwhile hides no answer."""
        present = self.starter.present(asked.id)
        return present[0] if present is not None and same_stage(asked, present[0]) else asked

    def _answer(self, key: str, probe: PlannedProbe, finding: Finding) -> Event:
        return self.recorder.event(
            PROBED[finding.verdict],
            probe=key,
            role=key.partition("/")[0],
            kind=probe.spec.probe,
            why=finding.why,
        )
