"""Prospect: what a Move means for whoever asks what comes next, in words. Pure."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, assert_never

from stopgap.approval import pending
from stopgap.decide import spec_of
from stopgap.duration import span
from stopgap.explanation import Doing, Next
from stopgap.guard import Reason, Refusal
from stopgap.incident import EventKind as K, Phase, Ref, Role
from stopgap.moves import Act, Ask, Case, Move, Record, Settle, Start, TakeBack, Wait
from stopgap.rule import Mode, bounded


def prospect(case: Case, move: Move, why: str = "") -> Next:  # noqa: PLR0911 - one table
    """Say what comes next; `why` are the words of the last refusal."""
    match move:
        case Wait(until=until):
            return _waits(case, until, why)
        case Record(events=events):
            return _decides(case, *events[-1])
        case Start(rung=rung):
            return Next(Doing.START, f"start rung '{case.rule.ladder[rung].name}' now")
        case Act(ref=ref):
            doing = Doing.TAKE_BACK if ref.role in (Role.REVERT, Role.REACTIVATE) else Doing.ACT
            return Next(doing, f"run {_act(case, ref)} now")
        case Settle(ref=ref):
            return Next(Doing.ACT, f"find out what became of {_act(case, ref)}")
        case TakeBack(rungs=rungs):
            names = ", ".join(f"'{case.rule.ladder[n].name}'" for n in rungs)
            return Next(Doing.TAKE_BACK, f"take back {names} now")
        case Ask(keys=keys):
            return Next(Doing.HOLD, f"ask {', '.join(keys)} now")
        case _:
            assert_never(move)


def refused(refusal: Refusal, until: datetime | None, now: datetime) -> Next:
    """Say that it waits, or that a person gets it, because a guard refuses."""
    if refusal.reason is Reason.PROTECTED_TARGET:
        return handed_over(refusal.reason, refusal.text)
    return Next(
        Doing.WAIT, f"wait: {refusal.reason}{_again(until, now)}", refusal.reason, refusal.text, until
    )


def handed_over(reason: str, text: str) -> Next:
    """Say that a person gets it."""
    return Next(Doing.HAND_OVER, f"hand it over to a person: {reason}", reason, text)


def clock(at: datetime, now: datetime) -> str:
    """Write an instant as people read it, in UTC, with the day where it is another one."""
    return f"{at:%H:%M:%S}Z" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M:%S}Z"


def _again(until: datetime | None, now: datetime) -> str:
    return f", asked again {clock(until, now)} (in {span(until - now)})" if until is not None else ""


def _act(case: Case, ref: Ref) -> str:
    """Name an act."""
    spec = spec_of(case.rule, ref)
    back = "the way back of " if ref.role in (Role.REVERT, Role.REACTIVATE) else ""
    return f"{back}step `{spec.title or spec.action}` of rung '{case.rule.ladder[ref.rung].name}'"


# --- nothing to do just now ---


def _waits(case: Case, until: datetime | None, why: str) -> Next:
    state = case.state
    if state.phase is Phase.CLOSED:
        return Next(Doing.NOTHING, "do nothing more: it is over")
    if state.stuck:
        return Next(
            Doing.WAIT, f"wait for a person: it cannot go on by itself ({state.reason})", state.reason, why
        )
    if state.reason == Reason.BRAKE:
        return Next(Doing.WAIT, f"wait: brake{_again(until, case.now)}", state.reason, why, until)
    return _WAITING[state.phase](case, until, why)


def _way_back(case: Case) -> str:
    """Say by which order a person lets it act after all."""
    state = case.state
    if state.handed_over and not state.flaw:
        return ": a person has it, who can give it back with `stopgap retry`"
    may_act = bounded(case.rule.mode, case.at.bound) is not Mode.SHADOW
    if state.mode == Mode.SHADOW and may_act and not state.drill:
        return ": it opened in shadow, and acts once somebody says `stopgap adopt`"
    return ""


def _begins(case: Case, until: datetime | None, why: str) -> Next:
    state = case.state
    if not state.applying:
        left = f" ({state.reason})" if state.reason else ""
        text = f"do nothing more until its alerts are over{left}{_way_back(case)}"
        return Next(Doing.NOTHING, text, state.reason, why)
    asked = pending(state)
    if asked is not None:
        text = f"wait for a person's yes until {clock(asked.until, case.now)}: no answer means no"
        return Next(Doing.WAIT, text, state.reason, why, asked.until)
    return Next(
        Doing.WAIT,
        f"wait: {state.reason}{_again(until, case.now)}",
        state.reason,
        why,
        until,
    )


def _acts(case: Case, until: datetime | None, why: str) -> Next:
    if case.state.by_hand is not None:
        text = f"wait for a person to do {_act(case, case.state.by_hand)} and to say `stopgap done`"
        return Next(Doing.WAIT, f"{text}; it fails{_at(until, case.now)}", case.state.reason, why, until)
    return Next(Doing.WAIT, f"try again{_at(until, case.now)}", case.state.reason, why, until)


def _verifies(case: Case, until: datetime | None, _: str) -> Next:
    return Next(Doing.HOLD, f"ask whether it helped{_at(until, case.now)}", until=until)


def _holds(case: Case, until: datetime | None, _: str) -> Next:
    return Next(
        Doing.HOLD, f"hold it while the alerts fire, and look again{_at(until, case.now)}", until=until
    )


def _recovers(case: Case, until: datetime | None, why: str) -> Next:
    if case.state.unproven:
        return Next(
            Doing.HOLD,
            "hold it until a person takes it back: nothing can prove that the cause is gone",
            why=why,
        )
    text = f"hold it until the cause is gone for {span(case.hold)}, and look again{_at(until, case.now)}"
    return Next(Doing.HOLD, text, until=until)


def _at(until: datetime | None, now: datetime) -> str:
    return f" at {clock(until, now)}" if until is not None else ""


_WAITING: Mapping[Phase, Callable[[Case, datetime | None, str], Next]] = {
    Phase.OPEN: _begins,
    Phase.WAITING: _begins,
    Phase.MITIGATING: _acts,
    Phase.VERIFYING: _verifies,
    Phase.MITIGATED: _holds,
    Phase.RECOVERING: _recovers,
    Phase.REVERTING: _acts,
}


# --- a decision ---


def _decides(case: Case, kind: K, detail: Mapping[str, Any]) -> Next:
    reason, text = str(detail.get("reason", "")), str(detail.get("text") or detail.get("why") or "")
    if kind is K.HANDED_OVER:
        return handed_over(reason, text)
    if kind is K.REFUSED:
        brake, storm = case.at.brake, case.at.storm
        until = brake.until if brake is not None else storm.until if storm is not None else None
        return Next(Doing.WAIT, f"wait: {reason}{_again(until, case.now)}", reason, text, until)
    if kind is K.CLOSED:
        return Next(Doing.CLOSE, f"close it: {detail['outcome']}")
    doing, words = _DECISIONS.get(kind, (Doing.ACT, f"note: {kind.replace('_', ' ')}"))
    return Next(doing, words, reason, text)


_DECISIONS: Mapping[K, tuple[Doing, str]] = {
    K.RESOLVED: (Doing.HOLD, "hold it, and ask whether the cause is gone: its alerts are over"),
    K.MITIGATED: (Doing.HOLD, "hold it: it helped"),
    K.MITIGATION_LOST: (Doing.HOLD, "hold it, and tell a person that it helps no more"),
    K.RUNG_HELD: (Doing.HOLD, "leave the rung in place"),
    K.RUNG_FAILED: (Doing.TAKE_BACK, "give the rung up"),
    K.STEP_SKIPPED: (Doing.ACT, "go on without a step that failed and is optional"),
    K.REVERTED: (Doing.TAKE_BACK, "end the taking back"),
    K.PROBE_UNKNOWN: (Doing.HOLD, "hold it until a person takes it back"),
}
