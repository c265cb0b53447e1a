"""Steps: runs one act after its intent is on disk, and finds out what became of one whose result is hidden."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from stopgap.action import Danger, Json, Moment, Restored, Reverted, Settled
from stopgap.clock import Clock
from stopgap.decide import LOOKS, TRIES
from stopgap.errors import ActionError, TemporaryError
from stopgap.guard import Refusal, Request
from stopgap.incident import Cause, Event, EventKind as K, Incident, Phase, Ref, Role, StepState, StepStatus
from stopgap.journal import Journal, Undo
from stopgap.plan import Plan, PlannedStep, words
from stopgap.recorder import Recorder
from stopgap.rule import Rule
from stopgap.turns import Turns

HARMLESS_AT_ONCE = 64  # of those without danger
LONGEST_BACKOFF = timedelta(minutes=1)
LONGEST_WHY = 500  # characters


def step_of(planned: Plan, ref: Ref) -> PlannedStep:
    """Return the planned step that an act runs or takes back."""
    return (planned.do if ref.role in (Role.DO, Role.REVERT) else planned.activate)[ref.step]


class Act:
    """One act of one incident: which step, which attempt, and everything that its events repeat."""

    def __init__(
        self, state: Incident, rule: Rule, planned: Plan, ref: Ref, n: int, hurry: asyncio.Event
    ) -> None:
        self.state = state
        self.rule = rule
        self.ref = ref
        self.n = n
        self.step = step_of(planned, ref)
        key = f"{state.id}/{ref}/{n}"
        self.moment = Moment(
            key=key,
            timeout=self.step.spec.timeout,
            rule=rule.id,
            target=state.target,
            incident=state.id,
            labels=state.labels,
            hurry=hurry if ref.role in (Role.DO, Role.ACTIVATE) else None,
        )
        self.detail: dict[str, Any] = {
            "rung": ref.rung,
            "role": ref.role,
            "step": ref.step,
            "n": n,
            "action": self.step.spec.action,
        }

    @property
    def by_hand(self) -> bool:
        """Tell whether a person runs it."""
        return getattr(self.step.action, "by_hand", False)

    @property
    def looks(self) -> bool:
        """Tell whether anybody is asked what it is going to change."""
        asked = getattr(self.step.action, "observes", None)
        return True if asked is None else bool(asked(self.step.params))

    @property
    def seconds(self) -> float:
        """Return the time limit of the act."""
        return self.moment.timeout.total_seconds()


@dataclass(frozen=True, slots=True)
class Begun:
    """An act whose intent is on disk, with what was observed before it: it runs next.

    `doubtful` tells that a try before it, with the same key, may have taken effect.
    """

    act: Act
    undo: Undo
    doubtful: bool = False


class Steps:
    """Runs acts, so many at once; those that change nothing, such as waits, take no place from the others.

    Whoever waits is served in order, one step at a time, so that no target's long ladder keeps the others waiting. One turn holds
    the observation, the intent and the act: nothing waits in between. `running` are the incidents whose act is under way, from when
    its intent is being written: a stop waits for it, and nobody closes the incident over it.
    """

    def __init__(self, journal: Journal, recorder: Recorder, clock: Clock, at_once: int) -> None:
        self._journal = journal
        self._recorder = recorder
        self._clock = clock
        self._turns = Turns(at_once)
        self._harmless = Turns(HARMLESS_AT_ONCE)
        self.running: set[str] = set()

    def bound(self, at_once: int) -> None:
        """Run so many at once from now on."""
        self._turns.bound(at_once)

    def turns(self, act: Act) -> Turns:
        """Return the turns of which an act needs one."""
        return self._harmless if act.step.action.danger is Danger.NONE else self._turns

    def _turn(self, act: Act) -> AbstractAsyncContextManager[None]:
        return self.turns(act).take(back=act.ref.role in (Role.REVERT, Role.REACTIVATE))

    # --- intents ---

    async def values(self, state: Incident, rule: Rule, planned: Plan, rung: int) -> list[Json]:
        """Observe what the steps of a rung that can be taken back are going to change. Raises whatever keeps from it."""
        idle = asyncio.Event()
        acts = [
            Act(state, rule, planned, Ref(rung, Role.DO, i), 1, idle)
            for i, back in enumerate(planned.reverts)
            if back
        ]
        return [await self._observe(act) for act in acts]

    async def act(
        self, state: Incident, rule: Rule, planned: Plan, ref: Ref, n: int, hurry: asyncio.Event
    ) -> None:
        """Run the next act of a rung that has begun."""
        act = Act(state, rule, planned, ref, n, hurry)
        async with self._turn(act):
            begun = await self._intend(act)
            if begun is not None:
                await self.run(begun)

    @staticmethod
    def _request(state: Incident, rule: Rule) -> Request:
        return Request(state.id, rule.id, state.target, person=state.cause is Cause.PERSON)

    async def _intend(self, act: Act) -> Begun | None:
        """Observe, and commit intent and undo; None when there is nothing to run."""
        request = self._request(act.state, act.rule)
        opening: tuple[Event, ...] = ()
        before: dict[str, Json] = {}
        doubtful = _in_doubt(act)
        undo = await self._undo_of(act) if doubtful or act.ref.role is Role.REVERT else None
        if undo is None and act.ref.role is Role.REVERT:
            why = "its undo is not in the store"
            await self._append(act.state, self._event(K.REVERT_FAILED, **act.detail, why=why))
            return None
        if undo is None:
            seen = await self.look(act)
            if isinstance(seen, Event):
                await self._append(act.state, seen, request=request)
                return None
            undo, opening, before = seen, (self.observed(act),), {str(act.ref): seen.before}
        self.running.add(act.state.id)
        intended = await self._append(act.state, *opening, self.intent(act), request=request, undo=before)
        return Begun(act, undo, doubtful) if intended else None

    async def look(self, act: Act) -> Undo | Event:
        """Observe what an act is going to change; returns its failure when that cannot be seen: not observed, not acted."""
        try:
            return Undo(await self._observe(act))
        except Exception as error:  # noqa: BLE001 - border: step. Whatever keeps from looking is the step's failure
            return self._failure(act, error)

    def observed(self, act: Act) -> Event:
        """Return the event of an observation."""
        return self._event(K.OBSERVED, **act.detail)

    async def _undo_of(self, act: Act) -> Undo | None:
        role = Role.DO if act.ref.role is Role.REVERT else act.ref.role
        return await self._journal.undo(act.state.id, str(Ref(act.ref.rung, role, act.ref.step)))

    async def _observe(self, act: Act) -> Json:
        async with asyncio.timeout(act.seconds):
            return await act.step.action.observe(act.step.params, act.moment)

    def intent(self, act: Act, **more: str) -> Event:
        """Return the event of an intent."""
        text = f"take back {words(act.step)}" if act.ref.role is Role.REVERT else words(act.step)
        detail = {**act.detail, "by_hand": act.by_hand or None}
        return self._event(K.STEP_STARTED, **detail, key=act.moment.key, text=text, **more)

    # --- the act ---

    async def run(self, begun: Begun) -> None:
        """Run an act and journal what came of it; of what a person does, the person says so (`orders.done`). Raises StoreError."""
        if begun.act.by_hand:
            return
        with self._journal.acting():
            result, receipt = await self._done(begun)
        await self._recorder.fact(begun.act.state, result, receipt)

    async def _done(self, begun: Begun) -> tuple[Event, dict[str, Json]]:
        """Run or take back; returns what came of it, and the receipt."""
        act, undo = begun.act, begun.undo
        began = asyncio.get_running_loop().time()
        action, params = act.step.action, act.step.params
        receipt: dict[str, Json] = {}
        try:
            async with asyncio.timeout(act.seconds):
                if act.ref.role is Role.REVERT:
                    answer = await action.revert(params, undo.before, undo.receipt, act.moment)
                else:
                    receipt = {str(act.ref): await action.run(params, undo.before, act.moment)}
        except ActionError as error:
            result = self._doubt(act, error) if begun.doubtful else self._failure(act, error)
        except Exception as error:  # noqa: BLE001 - border: step. Anything but an ActionError leaves the outcome unknown
            result = self._event(K.STEP_UNKNOWN, **act.detail, why=_why(error))
        else:
            seconds = round(asyncio.get_running_loop().time() - began, 4)
            result = (
                self._taken_back(act, answer, seconds)
                if act.ref.role is Role.REVERT
                else self._event(K.STEP_SUCCEEDED, **act.detail, seconds=seconds)
            )
        return result, receipt

    def _taken_back(self, act: Act, answer: Reverted, seconds: float) -> Event:
        kind = K.DRIFTED if answer.result is Restored.DRIFTED else K.STEP_REVERTED
        return self._event(kind, **act.detail, detail=answer.detail, changed=answer.changed, seconds=seconds)

    def _failure(self, act: Act, error: Exception) -> Event:
        kind = K.REVERT_FAILED if act.ref.role in (Role.REVERT, Role.REACTIVATE) else K.STEP_FAILED
        retry_at = None
        if isinstance(error, TemporaryError):
            backoff = min(timedelta(seconds=2 ** (act.n - 1)), LONGEST_BACKOFF)
            retry_at = (self._clock.now() + (error.retry_after or backoff)).isoformat()
        return self._event(kind, **act.detail, why=_why(error), retry_at=retry_at)

    def _doubt(self, act: Act, error: Exception) -> Event:
        """Return that the outcome stays unknown: this try did nothing, but the one before may have; its undo must stay."""
        return self._event(K.STEP_UNKNOWN, **act.detail, why=f"not done again: {_why(error)}")

    # --- unknown outcomes (DESIGN 5.4) ---

    async def settle(
        self, state: Incident, rule: Rule, planned: Plan, ref: Ref, hurry: asyncio.Event
    ) -> None:
        """Ask what became of an act; run it again with the same key where that is safe, else leave it to a person."""
        act = Act(state, rule, planned, ref, state.steps[ref].n, hurry)
        async with self._turn(act):
            await self._settle(act, state.steps[ref])

    async def _settle(self, act: Act, step: StepState) -> None:
        state, ref = act.state, act.ref
        undo = await self._undo_of(act)
        looks = step.looks + 1
        if undo is None:
            await self._unclear(act, looks, "its undo is not in the store")
            return
        try:
            now = await self._observe(act)
        except Exception as error:  # noqa: BLE001 - border: step. Not observed: asked again, a bounded number of times
            why = f"cannot be observed: {_why(error)}"
            event = self._event(
                K.STEP_UNKNOWN, **act.detail, why=why, looks=looks, unclear=looks >= LOOKS or None
            )
            await self._append(state, event)
            return
        action, params = act.step.action, act.step.params
        reverting = ref.role is Role.REVERT
        settled = (action.settled_revert if reverting else action.settled)(params, undo.before, now)
        if settled is Settled.DONE:
            kind = K.STEP_REVERTED if reverting else K.STEP_SUCCEEDED
            await self._append(state, self._event(kind, **act.detail, by="observation", looks=looks))
        elif state.phase is Phase.REVERTING and ref.role in (Role.DO, Role.ACTIVATE):
            await self._forgo(act, settled)
        elif self._again(act, settled, step.tries):
            await self._intend_again(act, undo, doubtful=settled is Settled.UNCLEAR)
        elif settled is Settled.NOT_DONE:
            await self._append(
                state, self._failure(act, ActionError("did not take effect, tried three times"))
            )
        else:
            await self._unclear(act, looks, "observation cannot tell")

    def _again(self, act: Act, settled: Settled, tries: int) -> bool:
        if settled is Settled.NOT_DONE:
            return tries < TRIES
        return act.step.action.idempotent(act.step.params) and tries < TRIES - 1

    async def _forgo(self, act: Act, settled: Settled) -> None:
        """Leave an act that is being taken back anyway: it is not run again."""
        if settled is Settled.NOT_DONE:
            await self._append(act.state, self._failure(act, ActionError("did not take effect")))
        else:
            await self._append(
                act.state, self._event(K.STEP_UNKNOWN, **act.detail, why="being taken back", looks=1)
            )

    async def _intend_again(self, act: Act, undo: Undo, *, doubtful: bool) -> None:
        why = "the outcome is unknown and a repetition is safe"
        intent = self.intent(act, why=why)
        self.running.add(act.state.id)
        if await self._append(act.state, intent, request=self._request(act.state, act.rule)):
            await self.run(Begun(act, undo, doubtful))

    async def _unclear(self, act: Act, looks: int, why: str) -> None:
        await self._append(
            act.state, self._event(K.STEP_UNKNOWN, **act.detail, why=why, looks=looks, unclear=True)
        )

    # --- what a person would do ---

    async def by_hand(self, state: Incident, planned: Callable[[int], Plan | Refusal]) -> list[str]:
        """Say how a person takes back all that is still in place, last in first out."""
        lines = []
        for number in sorted(state.held, reverse=True):
            plan = planned(number)
            if isinstance(plan, Refusal):
                lines.append(f"put back {', '.join(state.rungs[number].resources)}: {plan.text}")
                continue
            for i in reversed(range(len(plan.do))):
                undo = await self._journal.undo(state.id, str(Ref(number, Role.DO, i)))
                back = state.steps.get(Ref(number, Role.REVERT, i))
                if undo is None or not plan.reverts[i] or (back and back.status is StepStatus.SUCCEEDED):
                    continue  # never begun, nothing to take back, or back already
                lines.append(undone_by_hand(plan.do[i], undo.before))
            lines += [f"then {words(step)}" for step in plan.activate]
        return lines

    # --- journaling ---

    def _event(self, kind: K, /, **detail: Any) -> Event:
        return self._recorder.event(kind, **detail)

    async def _append(self, state: Incident, *events: Event, **more: Any) -> bool:
        return await self._recorder.append(state, *events, **more)


def _in_doubt(act: Act) -> bool:
    """Tell whether an act that a person wants tried again may have taken effect: what it left is not what was before it."""
    step = act.state.steps.get(act.ref)
    return step is not None and step.status is StepStatus.PENDING and bool(step.tries)


def undone_by_hand(step: PlannedStep, before: Json) -> str:
    """Say how a person takes a step back, with the old value unless it is a secret."""
    try:
        return step.action.undo_by_hand(step.params, before)
    except Exception:  # noqa: BLE001 - border: step. Whatever is wrong with the words, the hand-over is told
        return f"put back {', '.join(step.action.resource(step.params))}"


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer within its timeout"
    return (str(error) or type(error).__name__)[:LONGEST_WHY]
