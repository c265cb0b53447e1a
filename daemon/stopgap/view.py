"""View: an incident as JSON, as the API, the command line and the live page show it (DESIGN 8). Never an undo, never a secret."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from stopgap.approval import pending
from stopgap.explanation import Explanation
from stopgap.incident import Answer, Event, Incident, Phase, lease_end
from stopgap.journal import Stored
from stopgap.ledger import Brake
from stopgap.rehearsal import Rehearsal
from stopgap.rule import Rule
from stopgap.trials import Note, Obstacle

MOST = 1000  # obstacles, and notes, of a rehearsal in one answer
MOST_IN_BRIEF = 50


def instant(at: datetime | None) -> str | None:
    """Write an instant as RFC 3339 in UTC with `Z`, to the millisecond."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def brief(state: Incident, rule: Rule | None = None) -> dict[str, Any]:
    """Show where an incident stands, without its alerts and its timeline. `rule` tells when the lease ends."""
    end = lease_end(state, rule.limits.max_hold) if rule is not None else None
    return {
        "id": state.id,
        "rule": state.rule,
        "target": state.target,
        "phase": state.phase.value,
        "outcome": state.outcome.value if state.outcome else None,
        "reason": state.reason or None,
        "severity": state.severity,
        "mode": state.mode,
        "drill": state.drill or None,
        "opened_at": instant(state.opened_at),
        "mitigated_at": instant(state.mitigated_at),
        "closed_at": instant(state.closed_at),
        "follows": state.follows or None,
        "handed_over": state.handed_over,
        "acknowledged_by": state.acknowledged_by or None,
        "lease_until": instant(end),
        "approval": _approval(state),
        "by_hand": None if state.by_hand is None else str(state.by_hand),
        "held": [] if state.phase is Phase.CLOSED and state.outcome != "kept" else _held(state),
    }


def _approval(state: Incident) -> dict[str, Any] | None:
    """Show the request that waits for an answer, or the answer while the rung has not begun."""
    asked = state.approval
    if asked is None or (asked.answer is Answer.PENDING and pending(state) is None):
        return None
    return {
        "request": asked.request,
        "rung": asked.rung,
        "until": instant(asked.until),
        "answer": asked.answer.value,
        "by": asked.by or None,
        "why": asked.why or None,
    }


def _held(state: Incident) -> list[dict[str, Any]]:
    return [{"rung": rung, "resources": list(state.rungs[rung].resources)} for rung in state.held]


def full(state: Incident, timeline: tuple[Event, ...], rule: Rule | None = None) -> dict[str, Any]:
    """Show everything that people may know of an incident."""
    return {
        **brief(state, rule),
        "alerts": [
            {
                "fingerprint": fingerprint,
                "labels": dict(alert.labels),
                "annotations": dict(alert.annotations),
                "starts_at": alert.starts_at,
                "firing": alert.firing,
            }
            for fingerprint, alert in state.alerts.items()
        ],
        "timeline": [line(event) for event in timeline],
    }


def line(event: Event) -> dict[str, Any]:
    """Show one line of a timeline."""
    return {**event.detail, "seq": event.seq, "at": instant(event.at), "event": event.kind.value}


def stored(row: Stored) -> dict[str, Any]:
    """Show the row of a closed incident in the form of `brief`; what only its timeline knows is null."""
    return {
        "id": row.id,
        "rule": row.rule,
        "target": row.target,
        "phase": Phase.CLOSED.value,
        "outcome": row.outcome or None,
        "reason": None,
        "severity": row.severity,
        "mode": row.mode,
        "drill": row.drill or None,
        "opened_at": instant(row.opened_at),
        "mitigated_at": instant(row.mitigated_at),
        "closed_at": instant(row.closed_at),
        "follows": row.follows or None,
        "handed_over": None,
        "acknowledged_by": None,
        "lease_until": None,
        "approval": None,
        "by_hand": None,
        "held": [],
    }


def brake(on: Brake) -> dict[str, Any]:
    """Show one brake."""
    return {
        "scope": on.scope.value,
        "name": on.name,
        "by": on.by,
        "why": on.why,
        "since": instant(on.since),
        "until": instant(on.until),
    }


def rule(of: Rule) -> dict[str, Any]:
    """Show one rule; its templates, not what is put into them."""
    return {
        "id": of.id,
        "version": of.version,
        "mode": of.mode.value,
        "summary": of.summary,
        "runbook_url": of.runbook_url,
        "match": [str(matcher) for matcher in of.matchers],
        "ladder": [
            {"name": rung.name, "actions": [step.action for step in (*rung.do, *rung.activate)]}
            for rung in of.ladder
        ],
        "recovered": [probe.probe for probe in of.recovered],
        "hold_seconds": of.limits.hold.total_seconds(),
        "max_hold_seconds": of.limits.max_hold.total_seconds(),
    }


def rehearsal(of: Rehearsal, user: str) -> dict[str, Any]:
    """Show all that came of a rehearsal, and as whom it was tried; the counts tell of what is left out."""
    return {
        "at": instant(of.at),
        "user": user,
        "rules": of.rules,
        "tried": of.tried,
        "obstacle_count": len(of.obstacles),
        "note_count": len(of.notes),
        "obstacles": [_place(one) | {"text": one.text} for one in of.obstacles[:MOST]],
        "notes": [_place(one) | {"text": one.text} for one in of.notes[:MOST]],
    }


def rehearsed(of: Rehearsal, *, whole: bool) -> dict[str, Any]:
    """Show in brief what is in the way; the words hold addresses and paths, and are there only if `whole`."""
    return {
        "at": instant(of.at),
        "tried": of.tried,
        "obstacle_count": len(of.obstacles),
        "obstacles": [
            _place(one) | ({"text": one.text} if whole else {}) for one in of.obstacles[:MOST_IN_BRIEF]
        ],
    }


def explanation(of: Explanation) -> dict[str, Any]:
    """Show why it would act or not; the keys are the fields (`explanation.py`)."""
    told: dict[str, Any] = _plain(of)
    return told


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, StrEnum):
        return value.value
    if is_dataclass(value):
        return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple) else value


def _place(of: Obstacle | Note) -> dict[str, str]:
    return {"rule": of.rule, "where": of.where}
