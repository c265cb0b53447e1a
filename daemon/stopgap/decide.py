"""Decide: what an incident does next. Pure: state, rule and the instant go in, one Move comes out, and nothing is awaited.

The engine performs the Move, journals what came of it, applies that, and asks again. It asks only while nothing is in flight for
the incident, so an act that is `started` here is one whose outcome a crash or a timeout has hidden.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from stopgap.asking import VERIFY_EVERY, Asked, lease_move, probes_of, recovery_due
from stopgap.guard import Reason
from stopgap.incident import Cause, EventKind as K, Incident, Outcome, Phase, Ref, Role, StepState, StepStatus
from stopgap.moves import (
    Act,
    Ask,
    Case,
    Circumstances,
    Move,
    Record,
    Settle,
    Start,
    TakeBack,
    Wait,
    braked,
    record,
    refuse,
    soon,
    soonest,
)
from stopgap.probe import Verdict, worst
from stopgap.rule import Mode, OnFailure, Rule, StepSpec, bounded
from stopgap.transitions import forward

LOST_AFTER = 3  # unhealthy rechecks in a row
FLAPS_HELD = 3  # the third flap holds until a person reverts
TRIES = 3  # with one idempotency key
LOOKS = 3  # at an unknown outcome that cannot be observed just now


def decide(state: Incident, rule: Rule, at: Circumstances) -> Move:
    """Return what the incident does next."""
    case = Case(state, rule, at)
    if state.stuck:  # only a person goes on; an expired lease is told all the same
        return lease_move(case)
    return _BY_PHASE[state.phase](case)


# --- open, waiting: may the next rung start? ---


def _open(case: Case) -> Move:  # noqa: PLR0911 - one return per row of its table
    state = case.state
    if not state.firing:
        return record(K.RESOLVED) if state.held else _close(case)
    if not state.applying:
        return lease_move(case)
    flaw = _flaw(case)
    if flaw is not None:
        return flaw
    if state.rung >= len(case.rule.ladder):
        return record(K.HANDED_OVER, reason="ladder_exhausted", text=_exhausted(case))
    if case.at.brake is not None:
        return braked(case)
    mode = bounded(bounded(Mode(state.mode), case.rule.mode), case.at.bound)
    if mode is Mode.APPROVE:
        text = "the mode asks for an approval, which this version cannot take"
        return Wait() if state.reason == Reason.MODE_APPROVE else refuse(Reason.MODE_APPROVE, text)
    if case.at.retry_at is not None and case.now < case.at.retry_at:
        return soonest(case.at.retry_at)
    return Start(state.rung, mode)


def _exhausted(case: Case) -> str:
    if not case.rule.ladder:
        return "the rule tells people only"
    return "no rung of the ladder helped" if case.state.rungs else "the ladder has no further rung"


def _flaw(case: Case) -> Move | None:
    if case.state.flaw:
        return record(
            K.HANDED_OVER, reason=case.state.flaw, text="the target cannot be rendered from the alert"
        )
    if case.at.rule_removed:
        return record(K.HANDED_OVER, reason=Reason.RULE_REMOVED, text="the rule is no longer loaded")
    return None


def _close(case: Case) -> Record:
    return record(K.CLOSED, outcome=outcome_of(case.state))


def outcome_of(state: Incident) -> Outcome:
    """Return how an incident ends that ends now."""
    if state.cause is Cause.PERSON:
        return Outcome.REVERTED
    if any(rung.kept and not rung.reverted for rung in state.rungs.values()) and state.held:
        return Outcome.KEPT
    if state.mitigated_at is not None:
        return Outcome.RECOVERED
    if state.reason == Reason.SHADOW:
        return Outcome.SHADOW
    if state.handed_over:
        return Outcome.HANDED_OVER
    return Outcome.RECOVERED if state.rungs else Outcome.SELF_RESOLVED


# --- mitigating: one step after the other ---


def _mitigating(case: Case) -> Move:
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


def _advance(case: Case, ref: Ref, spec: StepSpec) -> Move | None:  # noqa: PLR0911 - one return per status
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
        return braked(case)
    if step is None:
        return Act(ref, 1)
    if step.status in (StepStatus.STARTED, StepStatus.UNKNOWN):
        return Settle(ref) if step.looks == 0 else soon(case, step.at + VERIFY_EVERY, Settle(ref))
    if step.status is StepStatus.PENDING:
        return Act(ref, step.n + 1)
    return _failed(case, ref, spec, step)


def _failed(case: Case, ref: Ref, spec: StepSpec, step: StepState) -> Move:
    if step.retry_at is not None and step.n <= spec.retries:
        return soon(case, step.retry_at, Act(ref, step.n + 1))
    if ref.role in (Role.REVERT, Role.REACTIVATE):
        return record(K.HANDED_OVER, reason="revert_failed", stuck=True, text=f"{ref} failed: undo by hand")
    if spec.optional:
        return record(K.STEP_SKIPPED, rung=ref.rung, role=ref.role, step=ref.step, why="optional")
    return record(K.RUNG_FAILED, rung=ref.rung, why=f"step {ref} failed")


def _after_failure(case: Case) -> Move:
    number = case.state.rung
    if case.rung.on_failure is OnFailure.KEEP:
        return record(K.RUNG_HELD, rung=number, why="kept after failure")
    if case.at.brake is not None:
        return braked(case)
    return TakeBack(Cause.RUNG_FAILED, (number,))


# --- verifying: did it help? ---


def _verifying(case: Case) -> Move:  # noqa: PLR0911 - one return per row of its table
    state = case.state
    if state.rungs[state.rung].failed:
        return _after_failure(case)
    if not state.firing:
        return record(K.RESOLVED)
    probes = probes_of(case, "verify", case.rung.verify)
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


def _mitigated(case: Case, *, verified: bool) -> Record:
    rung = case.state.rung
    held: tuple[tuple[K, Mapping[str, Any]], ...] = ()
    if case.state.rungs[rung].resources:
        held = ((K.RUNG_HELD, {"rung": rung, "verdict": Verdict.HEALTHY if verified else Verdict.UNKNOWN}),)
    return Record((*held, (K.MITIGATED, {"rung": rung, "verified": verified})))


def _verdict(case: Case, probes: "list[Asked]", over_at: datetime, next_at: datetime) -> Move:
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
    lease = lease_move(case)
    return (
        lease
        if isinstance(lease, Record)
        else soonest(next_at, None if state.handed_over else give_up_at, lease.until)
    )


# --- mitigated: held, and looked after ---


def _held(case: Case) -> Move:
    state = case.state
    if not state.firing:
        return record(K.RESOLVED)
    lease = lease_move(case)
    if isinstance(lease, Record):
        return lease
    probes = probes_of(case, "recheck", case.rung.verify)
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
    return Ask(due) if due else soonest(*due_at.values(), lease.until)


# --- recovering: is the cause gone? ---


def _recovering(case: Case) -> Move:  # noqa: PLR0911 - one return per row of its table
    state = case.state
    if not any(not state.rungs[n].kept for n in state.held):
        return _close(case)
    lease = lease_move(case)
    if isinstance(lease, Record):
        return lease
    if state.flaps >= FLAPS_HELD:
        return _unproven(case, f"flap {state.flaps} within six hours: held until a person reverts", lease)
    if not case.rule.recovered:
        return _unproven(
            case, "the rule has no `recovered` probe: held until a person reverts or closes", lease
        )
    probes = probes_of(case, "recovered", case.rule.recovered)
    due_at = {p.key: recovery_due(p, case.hold) for p in probes}
    due = tuple(key for key, at in due_at.items() if at <= case.now)
    if due:
        return Ask(due)
    if all((p.healthy_for(case.now) or timedelta(-1)) >= case.hold for p in probes):
        return _take_back(case)
    return soonest(*due_at.values(), lease.until)


def _take_back(case: Case) -> Move:
    if case.at.brake is not None:
        return braked(case)
    if case.at.retry_at is not None and case.now < case.at.retry_at:
        return soonest(case.at.retry_at)
    rungs = tuple(n for n in case.state.held if not case.state.rungs[n].kept)
    return TakeBack(Cause.RECOVERED, rungs)


def _unproven(case: Case, why: str, lease: Wait) -> Move:
    return lease if case.state.unproven else record(K.PROBE_UNKNOWN, role="recovered", why=why)


# --- reverting: last in, first out ---


def _reverting(case: Case) -> Move:
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


def _closed(_: Case) -> Move:
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
