"""Decide: what an incident does next. Pure: state, rule and the instant go in, one Move comes out, and nothing is awaited.

The engine performs the Move, journals what came of it, applies that, and asks again. It asks only while nothing is in flight for
the incident, so an act that is `started` here is one whose outcome a crash or a timeout has hidden.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from stopgap.guard import Reason
from stopgap.incident import (
    Cause,
    EventKind as K,
    Incident,
    Outcome,
    Phase,
    ProbeState,
    Ref,
    Role,
    StepState,
    StepStatus,
    lease_end,
)
from stopgap.ledger import Brake
from stopgap.probe import Verdict, worst
from stopgap.rule import Mode, OnFailure, ProbeSpec, Rule, RungSpec, StepSpec, bounded
from stopgap.transitions import forward

MINUTE = timedelta(minutes=1)
VERIFY_EVERY = timedelta(seconds=5)
LOST_AFTER = 3  # unhealthy rechecks in a row
FLAPS_HELD = 3  # the third flap holds until a person reverts
TRIES = 3  # with one idempotency key
LOOKS = 3  # at an unknown outcome that cannot be observed just now


@dataclass(frozen=True, slots=True)
class Record:
    """Journal these decisions; `closes` also opens the follower of a flap in the same commit."""

    events: tuple[tuple[K, Mapping[str, Any]], ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Ask the guards, plan and observe, and begin the rung with its first step (or plan it only, in shadow)."""

    rung: int
    mode: Mode


@dataclass(frozen=True, slots=True)
class Act:
    """Observe, journal the intent with the undo, and run one step (attempt `n`)."""

    ref: Ref
    n: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Find out by observation what became of an act."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Begin to revert these rungs: takes the target lock."""

    cause: Cause
    rungs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask these probes, by key (`verify/0`)."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (None: before something happens)."""

    until: datetime | None = None


Move = Record | Start | Act | Settle | TakeBack | Ask | Wait


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decide needs to know beside the incident's own timeline.

    `brake` is the brake that covers this incident. `retry_at` is when a refused request may be asked again (None: now).
    `rule_removed` tells that the rule stands in no loaded pack any more. `bound` is the daemon's `--mode`.
    """

    now: datetime
    brake: Brake | None = None
    retry_at: datetime | None = None
    rule_removed: bool = False
    bound: Mode = Mode.AUTO


@dataclass(frozen=True, slots=True)
class _Case:
    """One call's arguments."""

    state: Incident
    rule: Rule
    at: Circumstances
    now: datetime = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "now", self.at.now)

    @property
    def rung(self) -> RungSpec:
        return self.rule.ladder[self.state.rung]

    @property
    def hold(self) -> timedelta:
        return self.rule.limits.hold * 2**self.state.flaps


def decide(state: Incident, rule: Rule, at: Circumstances) -> Move:
    """Return what the incident does next."""
    case = _Case(state, rule, at)
    if state.stuck:
        return Wait()
    return _BY_PHASE[state.phase](case)


def record(kind: K, **detail: Any) -> Record:
    """Return the journaling of one decision."""
    return Record(((kind, detail),))


def _soonest(*instants: datetime | None) -> Wait:
    return Wait(min((i for i in instants if i is not None), default=None))


# --- open, waiting: may the next rung start? ---


def _open(case: _Case) -> Move:
    state = case.state
    if not state.firing:
        return record(K.RESOLVED) if state.held else _close(case)
    if not state.applying:
        return _lease(case) if state.held else Wait()
    flaw = _flaw(case)
    if flaw is not None:
        return flaw
    if state.rung >= len(case.rule.ladder):
        return record(K.HANDED_OVER, reason="ladder_exhausted", text=_exhausted(case))
    if case.at.brake is not None:
        return _braked(case)
    mode = bounded(bounded(Mode(state.mode), case.rule.mode), case.at.bound)
    if mode is Mode.APPROVE:
        text = "the mode asks for an approval, which this version cannot take"
        return Wait() if state.reason == Reason.MODE_APPROVE else _refuse(Reason.MODE_APPROVE, text)
    if case.at.retry_at is not None and case.now < case.at.retry_at:
        return _soonest(case.at.retry_at)
    return Start(state.rung, mode)


def _exhausted(case: _Case) -> str:
    if not case.rule.ladder:
        return "the rule tells people only"
    return "no rung of the ladder helped" if case.state.rungs else "the ladder has no further rung"


def _flaw(case: _Case) -> Move | None:
    if case.state.flaw:
        return record(
            K.HANDED_OVER, reason=case.state.flaw, text="the target cannot be rendered from the alert"
        )
    if case.at.rule_removed:
        return record(K.HANDED_OVER, reason=Reason.RULE_REMOVED, text="the rule is no longer loaded")
    return None


def _refuse(reason: Reason, text: str) -> Record:
    return record(K.REFUSED, reason=reason, text=text)


def _braked(case: _Case) -> Move:
    brake = case.at.brake
    if brake is None or case.state.reason == Reason.BRAKE:
        return _soonest(brake.until if brake else None)
    return _refuse(Reason.BRAKE, f"{brake.scope} brake by {brake.by}: {brake.why}")


def _close(case: _Case) -> Record:
    state = case.state
    if state.cause is Cause.PERSON:
        outcome = Outcome.REVERTED
    elif any(rung.kept and not rung.reverted for rung in state.rungs.values()) and state.held:
        outcome = Outcome.KEPT
    elif state.mitigated_at is not None:
        outcome = Outcome.RECOVERED
    elif state.reason == Reason.SHADOW:
        outcome = Outcome.SHADOW
    elif state.handed_over:
        outcome = Outcome.HANDED_OVER
    else:
        outcome = Outcome.RECOVERED if state.rungs else Outcome.SELF_RESOLVED
    return record(K.CLOSED, outcome=outcome)


# --- mitigating: one step after the other ---


def _mitigating(case: _Case) -> Move:
    state, rung = case.state, case.state.rungs[case.state.rung]
    if rung.failed:
        return _after_failure(case)
    for ref in forward(state.rung, rung):
        move = _advance(case, ref, spec_of(case.rule, ref))
        if move is not None:
            return move
    return Wait()


def spec_of(rule: Rule, ref: Ref) -> StepSpec:
    """Return the step that an act runs."""
    rung = rule.ladder[ref.rung]
    return (rung.do if ref.role in (Role.DO, Role.REVERT) else rung.activate)[ref.step]


def _advance(case: _Case, ref: Ref, spec: StepSpec) -> Move | None:
    """Return what one act needs, or None when it is over and well."""
    step = case.state.steps.get(ref)
    if step is not None and step.status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED):
        return None
    if step is not None and step.status is StepStatus.UNCLEAR:
        return record(
            K.HANDED_OVER,
            reason="unknown_outcome",
            stuck=True,
            text=f"nobody can tell whether {ref} took effect",
        )
    if case.at.brake is not None and case.state.cause is not Cause.PERSON:
        return _braked(case)
    if step is None:
        return Act(ref, 1)
    if step.status in (StepStatus.STARTED, StepStatus.UNKNOWN):
        return Settle(ref) if step.looks == 0 else _soon(case, step.at + VERIFY_EVERY, Settle(ref))
    if step.status is StepStatus.PENDING:
        return Act(ref, step.n + 1)
    return _failed(case, ref, spec, step)


def _soon(case: _Case, at: datetime, move: Move) -> Move:
    return move if at <= case.now else Wait(at)


def _failed(case: _Case, ref: Ref, spec: StepSpec, step: StepState) -> Move:
    if step.retry_at is not None and step.n <= spec.retries:
        return _soon(case, step.retry_at, Act(ref, step.n + 1))
    if ref.role in (Role.REVERT, Role.REACTIVATE):
        return record(K.HANDED_OVER, reason="revert_failed", stuck=True, text=f"{ref} failed: undo by hand")
    if spec.optional:
        return record(K.STEP_SKIPPED, rung=ref.rung, role=ref.role, step=ref.step, why="optional")
    return record(K.RUNG_FAILED, rung=ref.rung, why=f"step {ref} failed")


def _after_failure(case: _Case) -> Move:
    number = case.state.rung
    if case.rung.on_failure is OnFailure.KEEP:
        return record(K.RUNG_HELD, rung=number, why="kept after failure")
    if case.at.brake is not None:
        return _braked(case)
    return TakeBack(Cause.RUNG_FAILED, (number,))


# --- verifying: did it help? ---


def _verifying(case: _Case) -> Move:
    state = case.state
    if state.rungs[state.rung].failed:
        return _after_failure(case)
    if not state.firing:
        return record(K.RESOLVED)
    probes = _probes(case, "verify", case.rung.verify)
    if not probes:
        return _mitigated(case, verified=False)
    if all(p.proven(case.now) for p in probes):
        return _mitigated(case, verified=True)
    due = [p for p in probes if p.due_at <= case.now]
    if due:
        return Ask(tuple(p.key for p in due))
    over_at = max(p.began_at + p.spec.within for p in probes)
    next_at = min(p.due_at for p in probes)
    if case.now < over_at:
        return Wait(min(next_at, over_at))
    return _verdict(case, probes, over_at, next_at)


def _mitigated(case: _Case, *, verified: bool) -> Record:
    rung = case.state.rung
    held: tuple[tuple[K, Mapping[str, Any]], ...] = ()
    if case.state.rungs[rung].resources:
        held = ((K.RUNG_HELD, {"rung": rung, "verdict": Verdict.HEALTHY if verified else Verdict.UNKNOWN}),)
    return Record((*held, (K.MITIGATED, {"rung": rung, "verified": verified})))


def _verdict(case: _Case, probes: "list[_Asked]", over_at: datetime, next_at: datetime) -> Move:
    """Judge a rung whose time is over and that was not proven healthy."""
    state = case.state
    verdicts = [Verdict(p.last.verdict) if p.last else Verdict.UNKNOWN for p in probes]
    if worst(verdicts) is Verdict.UNHEALTHY and not state.handed_over:
        why = ", ".join(
            p.key for p, verdict in zip(probes, verdicts, strict=True) if verdict is Verdict.UNHEALTHY
        )
        return record(K.RUNG_FAILED, rung=state.rung, why=f"unhealthy: {why}")
    give_up_at = over_at + case.rule.limits.unknown_for
    if not state.undecided and not state.handed_over:
        return record(K.RUNG_HELD, rung=state.rung, verdict=Verdict.UNKNOWN)
    if case.now >= give_up_at and not state.handed_over:
        return record(K.HANDED_OVER, reason="verdict_unknown", text="the probes cannot say whether it helped")
    lease = _lease(case)
    return (
        lease
        if isinstance(lease, Record)
        else _soonest(next_at, None if state.handed_over else give_up_at, lease.until)
    )


# --- probes ---


@dataclass(frozen=True, slots=True)
class _Asked:
    """One probe in one role: its specification, when its role began, its last answer, and when to ask next."""

    key: str
    spec: ProbeSpec
    began_at: datetime
    last: ProbeState | None
    every: timedelta

    @property
    def due_at(self) -> datetime:
        return self.began_at + self.spec.after if self.last is None else self.last.asked_at + self.every

    def healthy_for(self, now: datetime) -> timedelta | None:
        """Return how long it has been healthy, None when it is not."""
        if self.last is None or self.last.verdict != Verdict.HEALTHY:
            return None
        return min(self.last.asked_at, now) - self.last.since

    def proven(self, now: datetime) -> bool:
        lasted = self.healthy_for(now)
        return lasted is not None and lasted >= self.spec.for_


def _probes(case: _Case, role: str, specs: tuple[ProbeSpec, ...]) -> list[_Asked]:
    began_at = case.state.phase_at or case.now
    asked = []
    for i, spec in enumerate(specs):
        key = f"{role}/{i}"
        last = case.state.probes.get(key)
        slow = role != "verify" or case.state.undecided or case.state.handed_over
        every = MINUTE if role == "recheck" else spec.every or (MINUTE if slow else VERIFY_EVERY)
        asked.append(_Asked(key, spec, began_at, last, every))
    return asked


# --- mitigated: held, and looked after ---


def _held(case: _Case) -> Move:
    state = case.state
    if not state.firing:
        return record(K.RESOLVED)
    lease = _lease(case)
    if isinstance(lease, Record):
        return lease
    probes = _probes(case, "recheck", case.rung.verify)
    unhealthy = [
        p.key
        for p in probes
        if p.last and p.last.verdict == Verdict.UNHEALTHY and p.last.streak >= LOST_AFTER
    ]
    if unhealthy and not state.lost:
        return record(
            K.MITIGATION_LOST,
            rung=state.rung,
            why=f"unhealthy {LOST_AFTER} times in a row: {', '.join(unhealthy)}",
        )
    due_at = {p.key: p.due_at if p.last else p.began_at + p.every for p in probes}
    due = tuple(key for key, at in due_at.items() if at <= case.now)
    return Ask(due) if due else _soonest(*due_at.values(), lease.until)


def _lease(case: _Case) -> Record | Wait:
    """Tell of a lease that ends; wait for the next such moment otherwise."""
    state = case.state
    end = lease_end(state, case.rule.limits.max_hold)
    if end is None or state.lease_from is None:
        return Wait()
    ending_at = state.lease_from + (end - state.lease_from) * 0.75
    if case.now >= end:
        told_at = state.lease_told_at if state.lease_told == "expired" else None
        again_at = told_at + timedelta(hours=1) if told_at else end
        return record(K.LEASE_EXPIRED, end=end.isoformat()) if case.now >= again_at else Wait(again_at)
    if case.now >= ending_at and not state.lease_told:
        return record(K.LEASE_ENDING, end=end.isoformat())
    return Wait(end if state.lease_told else ending_at)


# --- recovering: is the cause gone? ---


def _recovering(case: _Case) -> Move:
    state = case.state
    if not any(not state.rungs[n].kept for n in state.held):
        return _close(case)
    lease = _lease(case)
    if isinstance(lease, Record):
        return lease
    if state.flaps >= FLAPS_HELD:
        return _unproven(case, f"flap {state.flaps} within six hours: held until a person reverts", lease)
    if not case.rule.recovered:
        return _unproven(
            case, "the rule has no `recovered` probe: held until a person reverts or closes", lease
        )
    probes = _probes(case, "recovered", case.rule.recovered)
    due_at = {p.key: _recovery_due(p, case.hold) for p in probes}
    due = tuple(key for key, at in due_at.items() if at <= case.now)
    if due:
        return Ask(due)
    if all((p.healthy_for(case.now) or timedelta(-1)) >= case.hold for p in probes):
        return _take_back(case)
    return _soonest(*due_at.values(), lease.until)


def _recovery_due(probe: _Asked, hold: timedelta) -> datetime:
    """Return when to ask: regularly, and once more exactly when the stability period ends."""
    if probe.last is None or probe.last.verdict != Verdict.HEALTHY:
        return probe.due_at
    proof_at = probe.last.since + hold
    return probe.due_at if probe.last.asked_at >= proof_at else min(probe.due_at, proof_at)


def _take_back(case: _Case) -> Move:
    if case.at.brake is not None:
        return _braked(case)
    if case.at.retry_at is not None and case.now < case.at.retry_at:
        return _soonest(case.at.retry_at)
    rungs = tuple(n for n in case.state.held if not case.state.rungs[n].kept)
    return TakeBack(Cause.RECOVERED, rungs)


def _unproven(case: _Case, why: str, lease: Wait) -> Move:
    return lease if case.state.unproven else record(K.PROBE_UNKNOWN, role="recovered", why=why)


# --- reverting: last in, first out ---


def _reverting(case: _Case) -> Move:
    state = case.state
    if not state.reverting and state.cause is Cause.RECOVERED:
        return _close(case)
    in_flight = [
        r
        for r, s in state.steps.items()
        if s.status is StepStatus.STARTED and r.role in (Role.DO, Role.ACTIVATE)
    ]
    if in_flight:  # a person ordered the revert while an act was under way, and a crash hid its outcome
        return Settle(in_flight[0])
    for number in sorted(state.reverting, reverse=True):
        for ref in backward(state, number):
            move = _advance(case, ref, spec_of(case.rule, ref))
            if move is not None:
                return move
    return record(K.REVERTED, cause=state.cause, rungs=list(state.reverting), drifted=list(state.drifted))


def backward(state: Incident, number: int) -> list[Ref]:
    """Return the acts that take a rung back: steps last in first out, then what makes that effective, if anything changed."""
    rung = state.rungs[number]
    undone = [
        Ref(number, Role.REVERT, i)
        for i in reversed(range(rung.do))
        if rung.reverts[i] and Ref(number, Role.DO, i) in state.steps
    ]
    over = all(ref in state.steps and state.steps[ref].status is StepStatus.SUCCEEDED for ref in undone)
    if not over or not any(state.steps[ref].changed for ref in undone):
        return undone
    return undone + [Ref(number, Role.REACTIVATE, i) for i in range(rung.activate)]


def _closed(_: _Case) -> Move:
    return Wait()


_BY_PHASE = {
    Phase.OPEN: _open,
    Phase.WAITING: _open,
    Phase.MITIGATING: _mitigating,
    Phase.VERIFYING: _verifying,
    Phase.MITIGATED: _held,
    Phase.RECOVERING: _recovering,
    Phase.REVERTING: _reverting,
    Phase.CLOSED: _closed,
}
