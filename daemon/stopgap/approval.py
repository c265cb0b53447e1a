"""Approval: a request for a person's yes, as its timeline tells it, and what became of it. Pure.

A request is one line of the timeline, known by its seq, and is answered once. Whoever answers one that no longer waits is told why,
in words that a person can act upon.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stopgap.incident import Answer, Approval, Event, EventKind as K, Incident, Phase
from stopgap.transitions import fold


class Fate(StrEnum):
    """What became of a request."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    REPLACED = "replaced"  # asked anew
    LAPSED = "lapsed"  # the incident went on, or ended, without an answer


@dataclass(frozen=True, slots=True)
class Requested:
    """One request: what would be done (`steps`, `verify`, and how that is undone, in words), until when, and what became of it."""

    number: int
    rung: int
    name: str
    text: str
    steps: tuple[str, ...]
    verify: tuple[str, ...]
    undo: tuple[str, ...]
    until: datetime
    fate: Fate
    by: str = ""
    why: str = ""

    @property
    def verdict(self) -> str:
        """Say what became of it."""
        said = f": {self.why}" if self.why else ""
        return {
            Fate.PENDING: "it waits for an answer",
            Fate.APPROVED: f"it was answered already: {self.by} said yes{said}",
            Fate.DENIED: f"it was answered already: {self.by} said no{said}",
            Fate.EXPIRED: "nobody answered in time; that counts as no",
            Fate.REPLACED: (
                "it was asked anew since, because what it found has changed or the yes grew too old: look at it again"
            ),
            Fate.LAPSED: "nothing waits for an approval any more: its alerts are over, or somebody ended it",
        }[self.fate]


_ENDS = {
    K.APPROVED: Fate.APPROVED,
    K.APPROVAL_DENIED: Fate.DENIED,
    K.APPROVAL_EXPIRED: Fate.EXPIRED,
    K.APPROVAL_REQUESTED: Fate.REPLACED,
    K.RUNG_STARTED: Fate.LAPSED,
    K.RUNG_SKIPPED: Fate.LAPSED,
    K.REVERT_STARTED: Fate.LAPSED,
    K.HANDED_OVER: Fate.LAPSED,
    K.RESOLVED: Fate.LAPSED,
    K.CLOSED: Fate.LAPSED,
}
"""The first of these after a request says what became of it."""


def pending(state: Incident) -> Approval | None:
    """Return the request that a person's answer would still decide, whatever the clock says."""
    asked = state.approval
    if asked is None or asked.answer is not Answer.PENDING or not state.applying or not state.firing:
        return None
    return asked if state.phase in (Phase.OPEN, Phase.WAITING) else None


def requested(timeline: Sequence[Event], number: int, now: datetime) -> Requested | None:
    """Read one request out of a timeline; None when that line is no request."""
    asked = next((e for e in timeline if e.seq == number and e.kind is K.APPROVAL_REQUESTED), None)
    if asked is None:
        return None
    d = asked.detail
    until = datetime.fromisoformat(d["until"]) if d.get("until") else asked.at
    fate, end = _fate(timeline, number)
    if fate is Fate.PENDING:
        waits = pending(fold("", timeline)) is not None
        fate = Fate.EXPIRED if now >= until else Fate.PENDING if waits else Fate.LAPSED
    said = end.detail if end is not None and fate in (Fate.APPROVED, Fate.DENIED) else {}
    return Requested(
        number=number,
        rung=int(d.get("rung", 0)),
        name=str(d.get("name", "")),
        text=str(d.get("text", "")),
        steps=tuple(map(str, d.get("steps", ()))),
        verify=tuple(map(str, d.get("verify", ()))),
        undo=tuple(map(str, d.get("undo", ()))),
        until=until,
        fate=fate,
        by=str(said.get("by", "")),
        why=str(said.get("why", "")),
    )


def _fate(timeline: Sequence[Event], number: int) -> tuple[Fate, Event | None]:
    """Return what ended a request, and the line that did. A yes after which it is asked again before it acts was in vain."""
    ends = [e for e in timeline if e.seq > number and e.kind in _ENDS]
    if not ends:
        return Fate.PENDING, None
    if ends[0].kind is K.APPROVED and len(ends) > 1 and ends[1].kind is K.APPROVAL_REQUESTED:
        return Fate.REPLACED, ends[1]
    return _ENDS[ends[0].kind], ends[0]


def unanswerable(timeline: Sequence[Event], number: int | None, now: datetime) -> str:
    """Say why a request (None: the last one) takes no answer."""
    made = [e.seq for e in timeline if e.kind is K.APPROVAL_REQUESTED]
    if not made:
        return "nothing waits for an approval"
    told = requested(timeline, number if number is not None else made[-1], now)
    if told is None:
        return f"no request has the number {number}: look at it again"
    return told.verdict
