"""Asking: when each probe is asked again, and when a lease speaks up."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from stopgap.incident import EventKind as K, ProbeState, lease_end
from stopgap.moves import Case, Record, Wait, record
from stopgap.probe import Verdict
from stopgap.rule import ProbeSpec

MINUTE = timedelta(minutes=1)
VERIFY_EVERY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Asked:
    """One probe in one role: its specification, when its role began, its last answer, and when to ask next."""

    key: str
    spec: ProbeSpec
    began_at: datetime
    last: ProbeState | None
    every: timedelta

    @property
    def due_at(self) -> datetime:
        """Return when it is asked next in the ordinary course."""
        return self.began_at + self.spec.after if self.last is None else self.last.asked_at + self.every

    def healthy_for(self, now: datetime) -> timedelta | None:
        """Return how long it has been healthy, None when it is not."""
        if self.last is None or self.last.verdict != Verdict.HEALTHY:
            return None
        return min(self.last.asked_at, now) - self.last.since

    def proven(self, now: datetime) -> bool:
        """Tell whether it was healthy for its whole `for`."""
        lasted = self.healthy_for(now)
        return lasted is not None and lasted >= self.spec.for_


def probes_of(case: Case, role: str, specs: tuple[ProbeSpec, ...]) -> list[Asked]:
    """Return the probes of one role (`verify`, `recheck`, `recovered`) as they stand."""
    began_at = case.state.phase_at or case.now
    asked = []
    for i, spec in enumerate(specs):
        key = f"{role}/{i}"
        last = case.state.probes.get(key)
        slow = role != "verify" or case.state.undecided or case.state.handed_over
        every = MINUTE if role == "recheck" else spec.every or (MINUTE if slow else VERIFY_EVERY)
        asked.append(Asked(key, spec, began_at, last, every))
    return asked


def recovery_due(probe: Asked, hold: timedelta) -> datetime:
    """Return when to ask: regularly, and once more exactly when the stability period ends."""
    if probe.last is None or probe.last.verdict != Verdict.HEALTHY:
        return probe.due_at
    proof_at = probe.last.since + hold
    return probe.due_at if probe.last.asked_at >= proof_at else min(probe.due_at, proof_at)


def lease_move(case: Case) -> Record | Wait:
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
