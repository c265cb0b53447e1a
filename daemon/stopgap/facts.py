"""Facts: what each event says of an incident, whatever its phase."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from stopgap.episodes import alert_joined, drill_overtaken, opened, set_firing
from stopgap.incident import (
    Answer,
    Approval,
    Cause,
    Event,
    EventKind as K,
    Incident,
    Outcome,
    Phase,
    ProbeState,
    Ref,
    Role,
    RungState,
    StepState,
    StepStatus,
    changed,
)


def _refused(state: Incident, event: Event) -> Incident:
    return changed(state, reason=event.detail.get("reason", ""))


def rung_of(event: Event) -> int:
    """Return which rung an event speaks of."""
    return int(event.detail.get("rung", 0))


def _rung_started(state: Incident, event: Event) -> Incident:
    d = event.detail
    planned = RungState(
        do=d.get("do", 0),
        activate=d.get("activate", 0),
        reverts=tuple(d.get("reverts", ())),
        resources=tuple(d.get("resources", ())),
        labels=d.get("labels", {}),
        annotations=d.get("annotations", {}),
        kept=d.get("on_resolve") == "keep",
        name=d.get("name", ""),
        words=tuple(d.get("steps", ())),
    )
    number = rung_of(event)
    return changed(
        state,
        rung=number,
        rungs={**state.rungs, number: planned},
        used=state.used | {d.get("name", "")} if d.get("once") else state.used,
        approval=None,
        acted_at=event.at,
        reason="",
        undecided=False,
        lease_from=state.lease_from or (event.at if planned.resources else None),
    )


def _rung_skipped(state: Incident, event: Event) -> Incident:
    return changed(state, rung=rung_of(event) + 1, approval=None, reason="")


def _approval_requested(state: Incident, event: Event) -> Incident:
    d = event.detail
    approval = Approval(event.seq, rung_of(event), _instant(d.get("until"), event.at))
    return changed(state, approval=approval, reason=d.get("reason", ""))


def _answered(answer: Answer) -> Callable[[Incident, Event], Incident]:
    def reducer(state: Incident, event: Event) -> Incident:
        d, asked = event.detail, state.approval
        if asked is None:
            return state
        until = _instant(d.get("until"), asked.until)
        said = replace(asked, answer=answer, until=until, by=str(d.get("by", "")), why=str(d.get("why", "")))
        return changed(state, approval=said, reason="")

    return reducer


def _approval_expired(state: Incident, _: Event) -> Incident:
    return changed(state, approval=None)


def _resolved(state: Incident, _: Event) -> Incident:
    """Drop a request that nobody can answer any more: its time must not run while its alerts are over."""
    asked = state.approval
    return changed(state, approval=None if asked is not None and asked.answer is Answer.PENDING else asked)


def _instant(text: str | None, otherwise: datetime) -> datetime:
    return datetime.fromisoformat(text) if text else otherwise


def _brake_released(state: Incident, _: Event) -> Incident:
    return changed(state, reason="" if state.reason == "brake" else state.reason)


def ref_of(event: Event) -> Ref:
    """Return which act an event of a step speaks of."""
    d = event.detail
    return Ref(d.get("rung", 0), Role(d.get("role", "do")), d.get("step", 0))


def _step_started(state: Incident, event: Event) -> Incident:
    ref, n = ref_of(event), event.detail.get("n", 1)
    before = state.steps.get(ref)
    tries = before.tries + 1 if before is not None and before.n == n else 1
    step = StepState(
        StepStatus.STARTED,
        event.at,
        n=n,
        tries=tries,
        changed=before is not None and before.changed,
        by_hand=bool(event.detail.get("by_hand")),
    )
    reason = "" if state.reason == "brake" else state.reason
    return changed(state, steps={**state.steps, ref: step}, reason=reason)


def _step(status: StepStatus, **changes: Any) -> Callable[[Incident, Event], Incident]:
    def reducer(state: Incident, event: Event) -> Incident:
        ref = ref_of(event)
        before = state.steps.get(ref, StepState(status, event.at))
        after = replace(before, status=status, at=event.at, retry_at=None, **changes)
        return changed(state, steps={**state.steps, ref: after})

    return reducer


def _step_failed(state: Incident, event: Event) -> Incident:
    ref = ref_of(event)
    before = state.steps.get(ref, StepState(StepStatus.FAILED, event.at, tries=0))
    retry_at = event.detail.get("retry_at")
    after = replace(
        before,
        status=StepStatus.FAILED,
        at=event.at,
        n=event.detail.get("n", before.n),
        retry_at=datetime.fromisoformat(retry_at) if retry_at else None,
    )
    return changed(state, steps={**state.steps, ref: after})


def _step_unknown(state: Incident, event: Event) -> Incident:
    status = StepStatus.UNCLEAR if event.detail.get("unclear") else StepStatus.UNKNOWN
    state = _step(status)(state, event)
    ref = ref_of(event)
    return changed(
        state, steps={**state.steps, ref: replace(state.steps[ref], looks=event.detail.get("looks", 0))}
    )


def _drifted(state: Incident, event: Event) -> Incident:
    state = _taken_back(state, event, told=bool(event.detail.get("changed")), drifted=True)
    return changed(state, drifted=(*state.drifted, str(event.detail.get("detail", ""))))


def _step_reverted(state: Incident, event: Event) -> Incident:
    rung = rung_of(event)
    activated = any(ref.rung == rung and ref.role is Role.ACTIVATE for ref in state.steps)
    told = bool(event.detail.get("changed", True))
    # what was activated may still be in effect
    return _taken_back(state, event, told=told or activated)


def _taken_back(state: Incident, event: Event, *, told: bool, drifted: bool = False) -> Incident:
    """Let what is back be made effective; a person may have had tried again what had drifted, after all or some of that."""
    rung, before = rung_of(event), state.steps.get(ref_of(event))
    partly = before is not None and before.changed  # by a try before this
    state = _step(StepStatus.SUCCEEDED, changed=told or partly, drifted=drifted)(state, event)
    if not told:
        return state
    again = {
        ref: _anew(step)
        for ref, step in state.steps.items()
        if ref.rung == rung and ref.role is Role.REACTIVATE and step.status is StepStatus.SUCCEEDED
    }
    return changed(state, steps={**state.steps, **again})


def _update_rung(state: Incident, number: int, **changes: Any) -> Incident:
    if number not in state.rungs:
        return state
    return changed(state, rungs={**state.rungs, number: replace(state.rungs[number], **changes)})


def _rung_failed(state: Incident, event: Event) -> Incident:
    return _update_rung(state, rung_of(event), failed=True)


def climbs(state: Incident, event: Event) -> bool:
    """Tell whether the ladder goes on from a rung that is kept in place: it failed, or it is one that always goes on."""
    rung = state.rungs.get(rung_of(event))
    return bool(event.detail.get("go_on")) or (rung is not None and rung.failed)


def _rung_held(state: Incident, event: Event) -> Incident:
    if climbs(state, event):
        return changed(state, rung=rung_of(event) + 1)
    return changed(state, undecided=event.detail.get("verdict") == "unknown")


def _mitigated(state: Incident, event: Event) -> Incident:
    return changed(state, mitigated_at=state.mitigated_at or event.at, reason="", undecided=False, lost=False)


def _probed(state: Incident, event: Event) -> Incident:
    key = event.detail.get("probe", "")
    if not key:  # unproven: there is no probe of the cause
        return changed(state, unproven=True)
    verdict = event.kind.removeprefix("probe_")
    before = state.probes.get(key)
    now = ProbeState(verdict, since=event.at, asked_at=event.at)
    if before is not None and before.verdict == verdict:
        now = ProbeState(verdict, before.since, event.at, before.streak + 1)
    probes = {**state.probes, key: now}
    more: dict[str, bool] = {}
    if state.lost and key.startswith("recheck/"):
        more["lost"] = not all(p.verdict == "healthy" for k, p in probes.items() if k.startswith("recheck/"))
    if state.unproven:
        causes = [p.verdict for k, p in probes.items() if k.startswith("recovered/")]
        more["unproven"] = not causes or "unknown" in causes  # the next darkness is told anew
    return changed(state, probes=probes, **more)


def _lease_told(word: str) -> Callable[[Incident, Event], Incident]:
    def reducer(state: Incident, event: Event) -> Incident:
        return changed(state, lease_told=word, lease_told_at=event.at)

    return reducer


def _lease_extended(state: Incident, event: Event) -> Incident:
    until = datetime.fromisoformat(event.detail["until"]) if event.detail.get("until") else None
    lease_from = event.at if state.lease_from else None  # its 75 % count from here
    return changed(state, lease_from=lease_from, lease_until=until, lease_told="", lease_told_at=None)


def _again(step: StepState) -> StepState:
    n = step.n + 1 if step.status is StepStatus.FAILED or step.drifted else step.n
    return replace(step, status=StepStatus.PENDING, n=n, tries=0, looks=0, retry_at=None, drifted=False)


def _revert_started(state: Incident, event: Event) -> Incident:
    cause = Cause(event.detail.get("cause", Cause.PERSON))
    rungs = tuple(event.detail.get("rungs", ()))
    again = {
        ref: _again(step)
        for ref, step in state.steps.items()
        if ref.role in (Role.REVERT, Role.REACTIVATE)
        and (
            step.status in (StepStatus.FAILED, StepStatus.UNCLEAR)
            # what stood there may have been a kept rung's, which is taken back first this time
            or (step.drifted and ref.rung in rungs)
        )
    }
    return changed(
        state,
        cause=cause,
        reason="",
        reverting=rungs,
        steps={**state.steps, **again},
        stuck=False,
        applying=state.applying and cause is not Cause.PERSON,
    )


def _reverted(state: Incident, _: Event) -> Incident:
    rungs = {n: replace(r, reverted=True) if n in state.reverting else r for n, r in state.rungs.items()}
    climbs = state.cause is Cause.RUNG_FAILED
    state = changed(state, rungs=rungs, reverting=(), rung=state.rung + 1 if climbs else state.rung)
    if state.held:
        return state
    return changed(state, lease_from=None, lease_until=None, lease_told="", lease_told_at=None)


def _handed_over(state: Incident, event: Event) -> Incident:
    stuck = state.stuck or bool(event.detail.get("stuck"))
    reason = event.detail.get("reason", state.reason)
    return changed(state, handed_over=True, applying=False, stuck=stuck, reason=reason)


def _retried(state: Incident, event: Event) -> Incident:
    """Let automation go on at a rung, with keys that no act before had, or at an act that nobody could judge, with its own."""
    number = rung_of(event)
    anew = state.phase in (Phase.OPEN, Phase.WAITING)
    steps = {
        ref: _anew(step)
        if anew and ref.rung == number
        else _once_more(step)
        if step.status is StepStatus.UNCLEAR
        else step
        for ref, step in state.steps.items()
    }
    name = state.rungs[number].name if number in state.rungs else ""
    return changed(
        state,
        rung=number,
        steps=steps,
        used=state.used - {name},
        cause=None,  # what a person had taken back is no order for what begins now
        approval=None,
        handed_over=False,
        applying=True,
        stuck=False,
        reason="",
        undecided=False,
        phase_at=event.at,  # its probes are given their time once more
    )


def _once_more(step: StepState) -> StepState:
    return replace(_again(step), tries=1)  # it may have taken effect: its undo counts


def _anew(step: StepState) -> StepState:
    return replace(_again(step), n=step.n + 1, changed=False)


def _shadow_planned(state: Incident, _: Event) -> Incident:
    return changed(state, applying=False, reason="shadow")


def _adopted(state: Incident, event: Event) -> Incident:
    mode = event.detail.get("mode", state.mode)
    return changed(state, mode=mode, because="", applying=not state.handed_over, reason="")


def _kept(state: Incident, _: Event) -> Incident:
    rungs = {n: replace(r, kept=True) for n, r in state.rungs.items()}
    return changed(state, rungs=rungs, applying=False)


def _closed(state: Incident, event: Event) -> Incident:
    outcome = Outcome(event.detail.get("outcome", Outcome.RECOVERED))
    return changed(state, outcome=outcome, closed_at=event.at)


def _acknowledged(state: Incident, event: Event) -> Incident:
    return changed(state, acknowledged_by=str(event.detail.get("by", "")))


def _lost(state: Incident, _: Event) -> Incident:
    return changed(state, lost=True)


REDUCERS: Mapping[K, Callable[[Incident, Event], Incident]] = {
    K.OPENED: opened,
    K.ALERT_JOINED: alert_joined,
    K.ALERT_RESOLVED: set_firing(firing=False),
    K.REFIRED: set_firing(firing=True),
    K.REFUSED: _refused,
    K.RUNG_STARTED: _rung_started,
    K.RUNG_SKIPPED: _rung_skipped,
    K.APPROVAL_REQUESTED: _approval_requested,
    K.APPROVED: _answered(Answer.APPROVED),
    K.APPROVAL_DENIED: _answered(Answer.DENIED),
    K.APPROVAL_EXPIRED: _approval_expired,
    K.RESOLVED: _resolved,
    K.BRAKE_RELEASED: _brake_released,
    K.STEP_STARTED: _step_started,
    K.STEP_SUCCEEDED: _step(StepStatus.SUCCEEDED),
    K.MANUAL_DONE: _step(StepStatus.SUCCEEDED),
    K.STEP_FAILED: _step_failed,
    K.REVERT_FAILED: _step_failed,
    K.STEP_SKIPPED: _step(StepStatus.SKIPPED),
    K.STEP_UNKNOWN: _step_unknown,
    K.STEP_REVERTED: _step_reverted,
    K.DRIFTED: _drifted,
    K.RUNG_HELD: _rung_held,
    K.RUNG_FAILED: _rung_failed,
    K.PROBE_HEALTHY: _probed,
    K.PROBE_UNHEALTHY: _probed,
    K.PROBE_UNKNOWN: _probed,
    K.MITIGATED: _mitigated,
    K.MITIGATION_LOST: _lost,
    K.LEASE_ENDING: _lease_told("ending"),
    K.LEASE_EXPIRED: _lease_told("expired"),
    K.LEASE_EXTENDED: _lease_extended,
    K.REVERT_STARTED: _revert_started,
    K.REVERTED: _reverted,
    K.HANDED_OVER: _handed_over,
    K.SHADOW_PLANNED: _shadow_planned,
    K.ACKNOWLEDGED: _acknowledged,
    K.RETRIED: _retried,
    K.ADOPTED: _adopted,
    K.KEPT: _kept,
    K.DRILL_OVERTAKEN: drill_overtaken,
    K.CLOSED: _closed,
}
