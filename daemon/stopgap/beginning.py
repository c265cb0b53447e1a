"""Beginning: may the next rung start, as far as the incident and its circumstances say? The guards are asked after this. Pure."""

from datetime import datetime

from stopgap.guard import WAITS, Reason, Refusal, storm_text
from stopgap.incident import Answer, EventKind as K, Incident
from stopgap.moves import Case, Move, Record, Start, Wait, braked, record, refuse, soon
from stopgap.rule import RungSpec

JUDGED_HERE = frozenset({Reason.STORM, Reason.SILENCED, Reason.RECONCILING})  # refused without the guards


def approval(case: Case) -> Move | None:
    """Return what a request for approval asks for; None when there is none, or a person said yes in time."""
    asked = case.state.approval
    if asked is None or asked.rung != case.state.rung or asked.answer is Answer.APPROVED:
        return None
    if asked.answer is Answer.DENIED:
        text = f"{asked.by} said no: {asked.why}"
        return record(K.HANDED_OVER, reason=Reason.APPROVAL_DENIED, text=text)
    if case.now < asked.until:
        return Wait(asked.until)
    handed_over = {"reason": Reason.APPROVAL_EXPIRED, "text": "nobody answered, and silence means no"}
    return Record(((K.APPROVAL_EXPIRED, {"request": asked.request}), (K.HANDED_OVER, handed_over)))


def begin(case: Case) -> Move:
    """Return the start of the rung, or what keeps it from being asked for."""
    state, storm = case.state, case.at.storm
    if case.at.brake is not None:
        return braked(case)
    if storm is not None:
        text = storm_text(case.rule.limits, storm, case.now)
        return Wait(storm.until) if state.reason == Reason.STORM else refuse(Reason.STORM, text)
    unsure = _unsure(case)
    if unsure is not None:
        return unsure
    used = once_used(state, case.rung)
    if used is not None:
        return record(K.RUNG_SKIPPED, rung=state.rung, reason=used.reason, text=used.text)
    return soon(case, again_at(case), Start(state.rung, case.mode))


def _unsure(case: Case) -> Move | None:
    """Return the wait for a claim to be confirmed, or for a person's silence to end."""
    if case.at.doubt:
        reason, text = Reason.RECONCILING, case.at.doubt
    elif case.at.silenced:
        reason, text = Reason.SILENCED, "a person silenced its alerts: nothing is begun while they are silent"
    else:
        return None
    return Wait() if case.state.reason == reason else refuse(reason, text)


def again_at(case: Case) -> datetime | None:
    """Return when to ask the guards again: at once where what they said last is not what is on record any more.

    Meanwhile a brake or a storm had the word, or the incident went on; the instant belongs to a question of before.
    """
    reason = case.state.reason
    return case.at.retry_at if reason in WAITS - JUDGED_HERE else None


def once_used(state: Incident, spec: RungSpec) -> Refusal | None:
    """Refuse a rung that runs once, and has."""
    if not spec.once or spec.name not in state.used:
        return None
    return Refusal(Reason.ONCE_USED, f"{spec.name} has run already in this chain of flaps, and runs once")
