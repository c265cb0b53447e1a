"""Transitions: which event moves an incident from which phase to which, as data, and `apply`, the fold of the timeline.

`apply` is total: any event in any phase gives a state, so that any prefix of a journal can be read. What an event *means* for
the facts stands in the reducers; where it *leads* stands in ARCS, from which the diagram of the docs is generated.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from types import MappingProxyType

from stopgap.facts import REDUCERS, climbs
from stopgap.guard import WAITS, Reason
from stopgap.incident import (
    Answer,
    Cause,
    Event,
    EventKind as K,
    Incident,
    Phase,
    Ref,
    Role,
    RungState,
    StepStatus,
    changed,
)


def _waits(_: Incident, event: Event) -> bool:
    return event.detail.get("reason") in WAITS


def forward(rung: int, planned: RungState) -> list[Ref]:
    """Return the acts that apply a rung, in order."""
    return [Ref(rung, Role.DO, i) for i in range(planned.do)] + [
        Ref(rung, Role.ACTIVATE, i) for i in range(planned.activate)
    ]


def _rung_complete(state: Incident, _: Event) -> bool:
    rung = state.rungs.get(state.rung)
    return rung is not None and all(
        step in state.steps and state.steps[step].status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED)
        for step in forward(state.rung, rung)
    )


def _from(phase: Phase) -> Callable[[Incident, Event], bool]:
    def came_from(state: Incident, _: Event) -> bool:
        return state.came_from is phase

    return came_from


def _recovered(state: Incident, _: Event) -> bool:
    return state.cause is Cause.RECOVERED


def _otherwise(_: Incident, __: Event) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Arc:
    """One row of the transition table; the first row whose event and condition hold is taken."""

    source: Phase
    event: K
    to: Phase
    when: Callable[[Incident, Event], bool] = _otherwise
    words: str = ""


ARCS: tuple[Arc, ...] = (
    Arc(Phase.OPEN, K.REFUSED, Phase.WAITING, _waits, "something may lift it"),
    Arc(Phase.OPEN, K.APPROVAL_REQUESTED, Phase.WAITING),
    Arc(Phase.WAITING, K.RUNG_SKIPPED, Phase.OPEN),
    *(Arc(source, K.RUNG_STARTED, Phase.MITIGATING) for source in (Phase.OPEN, Phase.WAITING)),
    *(
        Arc(Phase.MITIGATING, event, Phase.VERIFYING, _rung_complete, "rung complete")
        for event in (K.STEP_SUCCEEDED, K.STEP_SKIPPED, K.MANUAL_DONE)
    ),
    *(
        Arc(source, K.RUNG_HELD, Phase.OPEN, climbs, "kept, and on to the next")
        for source in (Phase.MITIGATING, Phase.VERIFYING)
    ),
    Arc(Phase.VERIFYING, K.MITIGATED, Phase.MITIGATED),
    *(
        Arc(source, K.RESOLVED, Phase.RECOVERING)
        for source in (Phase.OPEN, Phase.WAITING, Phase.VERIFYING, Phase.MITIGATED)
    ),
    *(
        Arc(Phase.RECOVERING, event, phase, _from(phase), "where it came from")
        for event in (K.REFIRED, K.ALERT_JOINED)
        for phase in (Phase.OPEN, Phase.WAITING, Phase.VERIFYING, Phase.MITIGATED)
    ),
    *(
        Arc(source, K.REVERT_STARTED, Phase.REVERTING)
        for source in Phase
        if source not in (Phase.REVERTING, Phase.CLOSED)
    ),
    Arc(Phase.REVERTING, K.REVERTED, Phase.REVERTING, _recovered, "after recovery, closes next"),
    Arc(Phase.REVERTING, K.REVERTED, Phase.OPEN),
    *(Arc(source, K.CLOSED, Phase.CLOSED) for source in Phase if source is not Phase.CLOSED),
)

_BY_EVENT: Mapping[tuple[Phase, K], tuple[Arc, ...]] = MappingProxyType(
    {
        (arc.source, arc.event): tuple(a for a in ARCS if (a.source, a.event) == (arc.source, arc.event))
        for arc in ARCS
    }
)


def apply(state: Incident, event: Event) -> Incident:
    """Return the state after one event: first the facts, then the phase."""
    reducer, before = REDUCERS.get(event.kind), state
    if reducer is not None:
        state = reducer(state, event)
    for arc in _BY_EVENT.get((state.phase, event.kind), ()):
        if arc.when(state, event):
            return _enter(state, arc.to, event)
    if state is before or not event.seq:
        return changed(state, seq=event.seq) if event.seq else state
    object.__setattr__(state, "seq", event.seq)  # the reducer has just made it: nobody else knows it yet
    return state


def fold(identifier: str, events: Iterable[Event]) -> Incident:
    """Return the state that a timeline says."""
    return reduce(apply, events, Incident(identifier))


def resume(state: Incident, at: datetime) -> Incident:
    """Return the state with which a restarted process goes on: what was healthy before must prove itself anew."""
    probes = {key: replace(p, since=at, streak=1) for key, p in state.probes.items()}
    return changed(state, probes=probes)


_FRESH: Mapping[Phase, str] = {
    Phase.VERIFYING: "verify/",
    Phase.MITIGATED: "recheck/",
    Phase.RECOVERING: "recovered/",
}
"""Which probes start from nothing when a phase is entered."""


def _enter(state: Incident, phase: Phase, event: Event) -> Incident:
    seq = event.seq or state.seq
    if phase is state.phase:
        return changed(state, seq=seq)
    came_from = state.phase if phase is Phase.RECOVERING else state.came_from
    probes = state.probes
    if phase in _FRESH:
        probes = {key: p for key, p in probes.items() if not key.startswith(_FRESH[phase])}
    unproven = state.unproven and phase is not Phase.RECOVERING
    reason = "" if state.reason in WAITS and phase is not Phase.WAITING else state.reason
    if phase is Phase.WAITING and state.approval is not None and state.approval.answer is Answer.PENDING:
        reason = reason or Reason.APPROVAL_PENDING
    moved = {"phase": phase, "phase_at": event.at, "came_from": came_from, "reason": reason}
    return changed(state, seq=seq, probes=probes, unproven=unproven, **moved)


def mermaid() -> str:
    """Draw the table as a Mermaid state diagram: one arrow from phase to phase, with all that leads along it."""
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for arc in ARCS:
        label = f"{arc.event} ({arc.words})" if arc.words else str(arc.event)
        arrows.setdefault((arc.source, arc.to), []).append(label)
    drawn = [f"    {source} --> {to}: {', '.join(labels)}" for (source, to), labels in arrows.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> open: opened", *drawn, "    closed --> [*]"])
