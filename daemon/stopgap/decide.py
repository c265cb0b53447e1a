"""Decide: what an incident does next. Pure: state, rule and the instant go in, one Move comes out, and nothing is awaited.

The engine performs the Move, journals what came of it, applies that, and asks again. It asks only while nothing is in flight for
the incident, so an act that is `started` here is one whose outcome a crash or a timeout has hidden.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never

from stopgap.asking import VERIFY_EVERY, Asked, causes, lease_move, probes_of, proof_at, recovery_due
from stopgap.beginning import again_at, approval, begin
from stopgap.duration import print_duration
from stopgap.guard import Reason
from stopgap.incident import (
    Cause,
    EventKind as K,
    Incident,
    Outcome,
    Phase,
    Ref,
    Role,
    StepState,
    StepStatus,
)
from stopgap.moves import (
    Act,
    Ask,
    Case,
    Circumstances,
    Move,
    Record,
    Settle,
    TakeBack,
    Wait,
    braked,
    record,
    soon,
    soonest,
)
from stopgap.probe import Verdict
from stopgap.rule import OnFailure, Rule, StepSpec
from stopgap.transitions import forward

LOST_AFTER = 3  # unhealthy rechecks in a row
FLAPS_HELD = 3  # the third flap holds until a person reverts
TRIES = 3  # with one idempotency key
LOOKS = 6  # at an unknown outcome that cannot be observed just now: over some two and a half minutes


def decide(state: Incident, rule: Rule, at: Circumstances) -> Move:
    """Return what the incident does next. Whatever its phase, and braked or stuck: a lease that ends is told in time."""
    if state.phase is Phase.CLOSED:
        return Wait()
    case = Case(state, rule, at)
    if state.reason == Reason.BRAKE and at.brake is None:
        return record(K.BRAKE_RELEASED)
    lease = lease_move(case)
    if isinstance(lease, Record):
        return lease
    move = _stuck(case) if state.stuck else _BY_PHASE[state.phase](case)
    if not isinstance(move, Wait):
        return move
    released_at = at.brake.until if at.brake is not None and state.reason == Reason.BRAKE else None
    return soonest(move.until, lease.until, released_at)


def _stuck(case: Case) -> Move:
    """Leave it to a person, unless there is nothing any more that a person could do."""
    return Wait() if case.state.firing or case.state.held else _close(case)


# --- open, waiting: may the next rung start? ---


def _open(case: Case) -> Move:
    state = case.state
    if not state.firing:
        return record(K.RESOLVED) if state.held else _close(case)
    if not state.applying:
        return Wait()
    flaw = _flaw(case)
    if flaw is not None:
        return flaw
    if state.rung >= len(case.rule.ladder):
        return record(K.HANDED_OVER, reason="ladder_exhausted", text=_exhausted(case))
    return approval(case) or begin(case)


def _exhausted(case: Case) -> str:
    if not case.rule.ladder:
        return "the rule tells people only"
    return "no rung of the ladder helped" if case.state.rungs else "the ladder has no further rung"


def _flaw(case: Case) -> Move | None:
    if case.state.flaw:
        text = "the target cannot be rendered from the alert"
        return record(K.HANDED_OVER, reason=case.state.flaw, text=text)
    if case.at.rule_removed:
        return record(K.HANDED_OVER, reason=Reason.RULE_REMOVED, text="the rule is no longer loaded")
    return None


def _close(case: Case) -> Record:
    outcome = outcome_of(case.state)
    closed: tuple[K, Mapping[str, Any]] = (K.CLOSED, {"outcome": outcome})
    if outcome is Outcome.KEPT:
        return Record(((K.KEPT, {"rungs": list(case.state.held)}), closed))
    return Record((closed,))


def outcome_of(state: Incident) -> Outcome:
    """Return how an incident ends that ends now."""
    if state.cause is Cause.PERSON:
        return Outcome.REVERTED
    if state.held:
        return Outcome.KEPT
    if state.mitigated_at is not None:
        return Outcome.RECOVERED
    if state.reason == Reason.SHADOW:
        return Outcome.SHADOW
    if state.handed_over:
        return Outcome.HANDED_OVER
    helped = state.cause is Cause.RECOVERED or not all(rung.failed for rung in state.rungs.values())
    return Outcome.RECOVERED if helped else Outcome.SELF_RESOLVED


# --- mitigating: one step after the other ---


def _mitigating(case: Case) -> Move:
    state, rung = case.state, case.state.rungs[case.state.rung]
    if rung.failed:
        return _after_failure(case)
    moves = (_advance(case, ref) for ref in forward(state.rung, rung))
    return next((move for move in moves if move is not None), Wait())


def spec_of(rule: Rule, ref: Ref) -> StepSpec:
    """Return the step that an act runs."""
    rung = rule.ladder[ref.rung]
    return (rung.do if ref.role in (Role.DO, Role.REVERT) else rung.activate)[ref.step]


def _advance(case: Case, ref: Ref) -> Move | None:
    """Return what one act needs, or None when it is over and well. A brake stops what may change anything."""
    move = _wanted(case, ref)
    stopped = case.at.brake is not None and case.state.cause is not Cause.PERSON
    return braked(case) if stopped and isinstance(move, Act | Settle) else move


def _wanted(case: Case, ref: Ref) -> Move | None:
    step = case.state.steps.get(ref)
    if step is None:
        return Act(ref, 1)
    if step.by_hand and step.status is StepStatus.STARTED:
        return _by_hand(case, ref, step)
    return _wanted_of(case, ref, step)


def _wanted_of(case: Case, ref: Ref, step: StepState) -> Move | None:
    match step.status:
        case StepStatus.SUCCEEDED | StepStatus.SKIPPED:
            return None
        case StepStatus.UNCLEAR:
            if _may_stay_unclear(case, ref):
                return record(K.STEP_SKIPPED, rung=ref.rung, role=ref.role, step=ref.step, why="optional")
            text = f"nobody can tell whether {ref} took effect"
            return record(K.HANDED_OVER, reason="unknown_outcome", stuck=True, text=text)
        case StepStatus.STARTED | StepStatus.UNKNOWN:
            pause = VERIFY_EVERY * 2 ** (step.looks - 1)
            return soon(case, step.at + pause if step.looks else None, Settle(ref))
        case StepStatus.PENDING:
            return Act(ref, step.n)
        case StepStatus.FAILED:
            return _failed(case, ref, step)
        case _:
            assert_never(step.status)


def _may_stay_unclear(case: Case, ref: Ref) -> bool:
    """Tell whether nobody needs to know what became of an act: it is optional, and there is nothing of it to take back."""
    if ref.role is Role.DO and case.state.rungs[ref.rung].reverts[ref.step]:
        return False
    return ref.role in (Role.DO, Role.ACTIVATE) and spec_of(case.rule, ref).optional


def _by_hand(case: Case, ref: Ref, step: StepState) -> Move:
    """Wait for a person to say that it is done, for as long as the step may take.

    Nobody needs to once its alerts are over, unless it makes effective what was put back.
    """
    spec, back = spec_of(case.rule, ref), ref.role is Role.REACTIVATE
    said = {"rung": ref.rung, "role": ref.role, "step": ref.step, "action": spec.action}
    if not case.state.firing and not back:
        return record(K.STEP_SKIPPED, **said, why="its alerts are over: nobody needs to do it any more")
    failed = K.REVERT_FAILED if back else K.STEP_FAILED
    why = f"nobody said within {print_duration(spec.timeout)} that it was done"
    return soon(case, step.at + spec.timeout, record(failed, **said, n=step.n, why=why))


def _failed(case: Case, ref: Ref, step: StepState) -> Move:
    spec = spec_of(case.rule, ref)
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
    return _take_back(case, TakeBack(Cause.RUNG_FAILED, (number,)))


def _take_back(case: Case, move: TakeBack) -> Move:
    return braked(case) if case.at.brake is not None else soon(case, again_at(case), move)


# --- verifying: did it help? ---


def _verifying(case: Case) -> Move:
    state = case.state
    if state.rungs[state.rung].failed:
        return _after_failure(case)
    if not state.firing:
        return record(K.RESOLVED)
    probes = probes_of(case, "verify", case.rung.verify)
    if not probes or all(p.proven for p in probes):
        return _applied(case, Verdict.HEALTHY if probes else Verdict.UNKNOWN)
    due = [p for p in probes if p.due_at <= case.now]
    if due:
        return Ask(tuple(p.key for p in due))
    over_at = max(p.began_at + p.spec.within for p in probes)
    wait = soonest(*(p.due_at for p in probes))
    return soonest(wait.until, over_at) if case.now < over_at else _verdict(case, probes, over_at, wait)


def _applied(case: Case, verdict: Verdict) -> Record:
    """Hold a rung that helped, as far as anybody asked; one that goes on whatever its verdict is no end of the ladder."""
    rung = case.state.rung
    if case.rung.go_on:
        return record(K.RUNG_HELD, rung=rung, verdict=verdict, go_on=True)
    held: tuple[tuple[K, Mapping[str, Any]], ...] = ()
    if case.state.rungs[rung].resources:
        held = ((K.RUNG_HELD, {"rung": rung, "verdict": verdict}),)
    return Record((*held, (K.MITIGATED, {"rung": rung, "verified": verdict is Verdict.HEALTHY})))


def _verdict(case: Case, probes: list[Asked], over_at: datetime, wait: Wait) -> Move:  # noqa: PLR0911 - one return per row
    """Judge a rung whose time is over and that is not proven healthy. Healthy for less than its `for` is given that time."""
    state = case.state
    if state.handed_over:
        return wait
    unhealthy = [p.key for p in probes if p.verdict is Verdict.UNHEALTHY]
    if case.rung.go_on:
        return _applied(case, Verdict.UNHEALTHY if unhealthy else Verdict.UNKNOWN)
    if unhealthy:
        return record(K.RUNG_FAILED, rung=state.rung, why=f"unhealthy: {', '.join(unhealthy)}")
    give_up_at = over_at + case.rule.limits.unknown_for
    if all(p.verdict is Verdict.HEALTHY for p in probes):
        return wait
    if not state.undecided:
        return record(K.RUNG_HELD, rung=state.rung, verdict=Verdict.UNKNOWN)
    if case.now >= give_up_at:
        return record(K.HANDED_OVER, reason="verdict_unknown", text="the probes cannot say whether it helped")
    return soonest(wait.until, give_up_at)


# --- mitigated: held, and looked after ---


def _held(case: Case) -> Move:
    state = case.state
    if not state.firing:
        return record(K.RESOLVED)
    probes = probes_of(case, "recheck", case.rung.verify)
    unhealthy = [
        p.key for p in probes if p.verdict is Verdict.UNHEALTHY and p.last and p.last.streak >= LOST_AFTER
    ]
    if unhealthy and not state.lost:
        why = f"unhealthy {LOST_AFTER} times in a row: {', '.join(unhealthy)}"
        return record(K.MITIGATION_LOST, rung=state.rung, why=why)
    return _ask(case, {p.key: p.due_at if p.last else p.began_at + p.every for p in probes})


def _ask(case: Case, due_at: Mapping[str, datetime]) -> Ask | Wait:
    """Ask what is due, or wait for the first to be."""
    due = tuple(key for key, at in due_at.items() if at <= case.now)
    return Ask(due) if due else soonest(*due_at.values())


# --- recovering: is the cause gone? ---


def _recovering(case: Case) -> Move:  # noqa: PLR0911 - one return per row
    state = case.state
    rungs = tuple(n for n in state.held if not state.rungs[n].kept)
    if not rungs:
        return _close(case)
    if state.flaps >= FLAPS_HELD:
        return _unproven(case, f"flap {state.flaps} within six hours: held until a person reverts")
    specs = causes(state, case.rule)
    if not specs:
        return _unproven(case, "an alert without a name cannot be asked about: held until a person reverts")
    probes = probes_of(case, "recovered", specs)
    proof = proof_at(probes, case.hold)
    dark_at = _dark_at(case, probes)
    if dark_at is not None and case.now >= dark_at:
        why = "nobody can say whether the cause is gone: held, and asked on"
        return record(K.PROBE_UNKNOWN, role="recovered", why=why)
    asking = _ask(case, {p.key: recovery_due(p, proof) for p in probes})
    if isinstance(asking, Ask):
        return asking
    if proof is None or case.now < proof:
        return soonest(asking.until, dark_at)
    move = _take_back(case, TakeBack(Cause.RECOVERED, rungs))
    if isinstance(move, Wait):  # held back: asked on meanwhile
        return soonest(move.until, asking.until)
    return move


def _dark_at(case: Case, probes: list[Asked]) -> datetime | None:
    """Return when a probe of the cause will have known nothing for so long that a person must hear of it, and has not."""
    if case.state.unproven:
        return None
    since = [p.last.since for p in probes if p.last is not None and p.verdict is Verdict.UNKNOWN]
    return min(since) + case.rule.limits.unknown_for if since else None


def _unproven(case: Case, why: str) -> Move:
    return Wait() if case.state.unproven else record(K.PROBE_UNKNOWN, role="recovered", why=why)


# --- reverting: last in, first out ---


def _reverting(case: Case) -> Move:
    state = case.state
    if not state.reverting and state.cause is Cause.RECOVERED:
        return _close(case)
    hidden = _hidden(case)
    if hidden is not None:
        return hidden
    refs = (ref for number in sorted(state.reverting, reverse=True) for ref in backward(state, number))
    move = next((move for move in (_advance(case, ref) for ref in refs) if move is not None), None)
    return move or record(
        K.REVERTED, cause=state.cause, rungs=list(state.reverting), drifted=list(state.drifted)
    )


def _hidden(case: Case) -> Move | None:
    """Find out first what became of an act that was under way when a person ordered all of it back."""
    for ref, step in case.state.steps.items():
        if step.by_hand:
            continue
        if ref.role in (Role.REVERT, Role.REACTIVATE):
            if step.status in (StepStatus.STARTED, StepStatus.UNKNOWN, StepStatus.UNCLEAR):
                return _advance(case, ref)
        elif step.status is StepStatus.STARTED:  # a crash hid it
            return Settle(ref)
    return None


def backward(state: Incident, number: int) -> list[Ref]:
    """Return the acts that take a rung back: steps last in first out, then what makes that effective, if anything changed."""
    rung = state.rungs[number]
    undone = [
        Ref(number, Role.REVERT, i)
        for i in reversed(range(rung.do))
        if rung.reverts[i] and (done := state.steps.get(Ref(number, Role.DO, i))) is not None and done.tries
    ]
    over = all(ref in state.steps and state.steps[ref].status is StepStatus.SUCCEEDED for ref in undone)
    if not over or not any(state.steps[ref].changed for ref in undone):
        return undone
    return undone + [Ref(number, Role.REACTIVATE, i) for i in range(rung.activate)]


_BY_PHASE = {
    Phase.OPEN: _open,
    Phase.WAITING: _open,
    Phase.MITIGATING: _mitigating,
    Phase.VERIFYING: _verifying,
    Phase.MITIGATED: _held,
    Phase.RECOVERING: _recovering,
    Phase.REVERTING: _reverting,
}
