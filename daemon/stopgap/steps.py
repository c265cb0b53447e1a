"""Steps: runs one act after its intent is on disk, and finds out what became of one whose result is hidden."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Protocol

from stopgap.action import Danger, Json, Moment, Restored, Reverted, Settled
from stopgap.catalog import Catalog
from stopgap.clock import Clock
from stopgap.decide import LOOKS, TRIES
from stopgap.errors import ActionError, TemporaryError
from stopgap.guard import Refusal, Request
from stopgap.incident import Cause, Event, EventKind as K, Incident, Phase, Ref, Role, StepStatus
from stopgap.journal import Append, Journal, Undo
from stopgap.plan import Plan, PlannedStep
from stopgap.rule import Rule

ACTIONS_AT_ONCE = 8
HARMLESS_AT_ONCE = 64  # of those without danger
LONGEST_BACKOFF = timedelta(minutes=1)
LONGEST_WHY = 500  # characters


class AppendDecision(Protocol):
    """Appends events decided at a state; False when it moved on or a guard refused."""

    def __call__(
        self, state: Incident, *events: Event, request: Request | None = None, **more: Any
    ) -> Awaitable[bool]:
        """Append."""
        ...


def step_of(planned: Plan, ref: Ref) -> PlannedStep:
    """Return the planned step that an act runs or takes back."""
    return (planned.do if ref.role in (Role.DO, Role.REVERT) else planned.activate)[ref.step]


def words(step: PlannedStep) -> str:
    """Say in a line what a step does."""
    return step.spec.title or f"{step.spec.action}: {step.action.describe(step.params)}"


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
    def seconds(self) -> float:
        """Return the time limit of the act."""
        return self.moment.timeout.total_seconds()


class Steps:
    """Runs acts, at most eight at once; those that change nothing, such as waits, take no place from the others."""

    def __init__(self, journal: Journal, catalog: Catalog, clock: Clock, append: AppendDecision) -> None:
        self._journal = journal
        self._catalog = catalog
        self._clock = clock
        self._append = append
        self._running = asyncio.Semaphore(ACTIONS_AT_ONCE)
        self._harmless = asyncio.Semaphore(HARMLESS_AT_ONCE)

    # --- intents ---

    async def begin(
        self, state: Incident, rule: Rule, rung: int, planned: Plan, request: Request, hurry: asyncio.Event
    ) -> None:
        """Start a rung: one commit holds the permit, what the rung is, and the intent and undo of its first step."""
        act = Act(state, rule, planned, Ref(rung, Role.DO, 0), 1, hurry)
        opening = (
            self._event(K.PERMITTED, rung=rung),
            self._event(
                K.RUNG_STARTED,
                rung=rung,
                name=rule.ladder[rung].name,
                do=len(planned.do),
                activate=len(planned.activate),
                reverts=list(planned.reverts),
                resources=list(planned.resources),
                labels=state.labels,
                annotations=state.annotations,
                on_resolve=rule.ladder[rung].on_resolve,
                steps=[words(step) for step in (*planned.do, *planned.activate)],
            ),
        )
        await self._intend(act, opening, request, permit=True)

    async def act(
        self, state: Incident, rule: Rule, planned: Plan, ref: Ref, n: int, hurry: asyncio.Event
    ) -> None:
        """Run the next act of a rung that has begun."""
        await self._intend(Act(state, rule, planned, ref, n, hurry), (), self._request(state, rule))

    @staticmethod
    def _request(state: Incident, rule: Rule) -> Request:
        return Request(state.id, rule.id, state.target, person=state.cause is Cause.PERSON)

    async def _intend(
        self, act: Act, opening: tuple[Event, ...], request: Request, *, permit: bool = False
    ) -> None:
        """Observe, commit intent and undo, and go on to the act itself."""
        if act.ref.role is Role.REVERT:
            undo = await self._undo_of(act)
            if undo is None:
                why = "its undo is not in the store"
                await self._append(act.state, self._event(K.REVERT_FAILED, **act.detail, why=why))
                return
        else:
            try:
                undo = Undo(await self._observe(act))
            except Exception as error:  # noqa: BLE001 - border: step. Not observed, not acted
                await self._append(
                    act.state, *opening, self._failure(act, error), request=request, permit=permit
                )
                return
            opening = (*opening, self._event(K.OBSERVED, **act.detail))
        intent = self._intent(act)
        before = {} if act.ref.role is Role.REVERT else {str(act.ref): undo.before}
        if await self._append(act.state, *opening, intent, request=request, permit=permit, undo=before):
            await self._run(act, undo)

    async def _undo_of(self, act: Act) -> Undo | None:
        role = Role.DO if act.ref.role is Role.REVERT else act.ref.role
        return await self._journal.undo(act.state.id, str(Ref(act.ref.rung, role, act.ref.step)))

    def _turn(self, act: Act) -> asyncio.Semaphore:
        return self._harmless if act.step.action.danger is Danger.NONE else self._running

    async def _observe(self, act: Act) -> Json:
        async with self._turn(act), asyncio.timeout(act.seconds):
            return await act.step.action.observe(act.step.params, act.moment)

    def _intent(self, act: Act, **more: str) -> Event:
        text = f"take back {words(act.step)}" if act.ref.role is Role.REVERT else words(act.step)
        return self._event(K.STEP_STARTED, **act.detail, key=act.moment.key, text=text, **more)

    # --- the act ---

    async def _run(self, act: Act, undo: Undo) -> None:
        began = asyncio.get_running_loop().time()
        action, params = act.step.action, act.step.params
        receipt: dict[str, Json] = {}
        try:
            async with self._turn(act), asyncio.timeout(act.seconds):
                if act.ref.role is Role.REVERT:
                    answer = await action.revert(params, undo.before, undo.receipt, act.moment)
                else:
                    receipt = {str(act.ref): await action.run(params, undo.before, act.moment)}
        except ActionError as error:
            result = self._failure(act, error)
        except Exception as error:  # noqa: BLE001 - border: step. Anything but an ActionError leaves the outcome unknown
            result = self._event(K.STEP_UNKNOWN, **act.detail, why=_why(error))
        else:
            seconds = round(asyncio.get_running_loop().time() - began, 4)
            result = (
                self._taken_back(act, answer, seconds)
                if act.ref.role is Role.REVERT
                else self._event(K.STEP_SUCCEEDED, **act.detail, seconds=seconds)
            )
        await self._fact(act.state, result, receipt)

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

    # --- unknown outcomes (DESIGN 5.4) ---

    async def settle(
        self, state: Incident, rule: Rule, planned: Plan, ref: Ref, hurry: asyncio.Event
    ) -> None:
        """Ask what became of an act; run it again with the same key where that is safe, else leave it to a person."""
        step = state.steps[ref]
        act = Act(state, rule, planned, ref, step.n, hurry)
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
            await self._intend_again(act, undo)
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

    async def _intend_again(self, act: Act, undo: Undo) -> None:
        why = "the outcome is unknown and a repetition is safe"
        intent = self._intent(act, why=why)
        if await self._append(act.state, intent, request=self._request(act.state, act.rule)):
            await self._run(act, undo)

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
                lines.append(_by_hand(plan.do[i], undo))
            lines += [f"then {words(step)}" for step in plan.activate]
        return lines

    # --- journaling ---

    def _event(self, kind: K, /, **detail: Any) -> Event:
        return Event(kind, self._clock.now(), {k: v for k, v in detail.items() if v not in (None, "")})

    async def _fact(self, state: Incident, event: Event, receipt: dict[str, Json]) -> None:
        await self._journal.append(Append(state.id, (event,), receipt=receipt))


def _by_hand(step: PlannedStep, undo: Undo) -> str:
    try:
        return step.action.undo_by_hand(step.params, undo.before)
    except Exception:  # noqa: BLE001 - border: step. Whatever is wrong with the words, the hand-over is told
        return f"put back {', '.join(step.action.resource(step.params))}"


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer within its timeout"
    return (str(error) or type(error).__name__)[:LONGEST_WHY]
