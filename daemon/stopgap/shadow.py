"""Shadow: writes down what a rule would do, and does nothing. It has a ledger of its own, so its budgets and cooldowns run true."""

from typing import Any

from stopgap.asker import Asker
from stopgap.clock import Clock
from stopgap.errors import StoreError
from stopgap.guard import Reason, Refusal, Request, check
from stopgap.incident import Event, EventKind as K, Incident
from stopgap.moves import Circumstances, Start
from stopgap.outlook import Outlook, because, outlook
from stopgap.petition import asks_for_approval
from stopgap.plan import Plan, question, words
from stopgap.planner import Planner
from stopgap.recorder import Recorder
from stopgap.rule import Mode, Rule
from stopgap.starting import Starter


class Shadow:
    """Plans whole ladders: asks guards and each probe once, and takes a permit that counts among shadows only."""

    def __init__(
        self, clock: Clock, planner: Planner, recorder: Recorder, asker: Asker, starter: Starter
    ) -> None:
        self._clock = clock
        self._planner = planner
        self._recorder = recorder
        self._asker = asker
        self._starter = starter

    async def plan(self, state: Incident, rule: Rule, move: Start, at: Circumstances) -> None:
        """Journal what would be done. Raises StoreError."""
        ladder, chosen = [], None
        why = because(state, rule, at)
        for rung in range(move.rung, len(rule.ladder)):
            seen = await outlook(self._planner, self._asker, state, rule, rung)
            ladder.append(_told(seen, rule))
            if chosen is None and seen.tried is not None:
                chosen = rung, seen.tried
            if chosen is None and seen.last is not None:
                said = f"{seen.last.reason}: {seen.last.text}"
                event = self._event(ladder, rung=rung, because=why, refusal=said)
                await self._recorder.append(state, event)
                return
        if chosen is None:
            await self._recorder.append(state, self._event(ladder, rung=move.rung, because=why))
            return
        rung, planned = chosen
        request = await self._starter.request(state, rule, planned, Mode.SHADOW, at)
        refusal = await self._refusal(request)
        findings = await self._asker.ask(planned.verify)
        more: dict[str, Any] = {
            "rung": rung,
            "name": rule.ladder[rung].name,
            "steps": [words(step) for step in planned.steps],
            "probes": {f"verify/{i}": f"{f.verdict}: {f.why}" for i, f in enumerate(findings)},
            "because": why,
        }
        if refusal is None:
            answer = await self._recorder.put(state, self._event(ladder, **more), request=request)
            refusal = answer if isinstance(answer, Refusal) else None
        if refusal is not None:
            said = f"{refusal.reason}: {refusal.text}"
            await self._recorder.append(state, self._event(ladder, **more, refusal=said))

    async def _refusal(self, request: Request) -> Refusal | None:
        try:
            ledger = await self._starter.ledger(request)
        except StoreError as error:
            return Refusal(Reason.STORE_UNAVAILABLE, str(error))
        return check(request, ledger, self._clock.now())

    def _event(self, ladder: list[dict[str, Any]], **detail: Any) -> Event:
        return self._recorder.event(K.SHADOW_PLANNED, **detail, ladder=ladder)


def _told(seen: Outlook, rule: Rule) -> dict[str, Any]:
    """Say what one rung would do."""
    told: dict[str, Any] = {"rung": seen.rung, "name": seen.spec.name}
    if isinstance(seen.planned, Plan):
        told["steps"] = [words(step) for step in seen.planned.steps]
        told["verify"] = [question(probe) for probe in seen.planned.verify]
    if seen.findings:
        told["only_if"] = [f"{found.verdict}: {found.why}" for found in seen.findings]
    if asks_for_approval(rule, seen.rung, rule.mode):
        told["approval"] = "a person must approve"
    if seen.refusal is not None:
        told["skipped"] = f"{seen.refusal.reason}: {seen.refusal.text}"
    return told
