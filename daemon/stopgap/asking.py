"""Asking: when each probe is asked again, and when a lease speaks up."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from stopgap.incident import EventKind as K, Incident, ProbeState, lease_end
from stopgap.moves import Case, Record, Wait, record
from stopgap.probe import Verdict
from stopgap.recovery import default_recovered
from stopgap.rule import ProbeSpec, Rule
from stopgap.value import cheaply_made

MINUTE = timedelta(minutes=1)
VERIFY_EVERY = timedelta(seconds=5)
ENDING = 0.75  # of a lease's time
_VERDICTS = {verdict.value: verdict for verdict in Verdict}
TOLD_AGAIN = timedelta(hours=1)  # about a lease that has expired


@cheaply_made
@dataclass(frozen=True, slots=True)
class Asked:
    """One probe in one role: its specification, when its role began, its last answer, and when to ask next."""

    key: str
    spec: ProbeSpec
    began_at: datetime
    last: ProbeState | None
    every: timedelta

    @property
    def verdict(self) -> Verdict:
        """Return its last answer; never asked is unknown."""
        return Verdict.UNKNOWN if self.last is None else _VERDICTS[self.last.verdict]

    @property
    def due_at(self) -> datetime:
        """Return when it is asked next in the ordinary course."""
        return self.began_at + self.spec.after if self.last is None else self.last.asked_at + self.every

    @property
    def proven(self) -> bool:
        """Tell whether it was healthy for its whole `for`, from one answer to another."""
        last = self.last
        return (
            last is not None
            and self.verdict is Verdict.HEALTHY
            and last.asked_at - last.since >= self.spec.for_
        )


def probes_of(case: Case, role: str, specs: tuple[ProbeSpec, ...]) -> list[Asked]:
    """Return the probes of one role (`verify`, `recheck`, `recovered`) as they stand."""
    began_at = case.state.phase_at or case.now
    asked = []
    for i, spec in enumerate(specs):
        key = f"{role}/{i}"
        last = case.state.probes.get(key)
        slow = role != "verify" or case.state.undecided or case.state.handed_over
        every = spec.recheck if role == "recheck" else spec.every or (MINUTE if slow else VERIFY_EVERY)
        asked.append(Asked(key, spec, began_at, last, every))
    return asked


def causes(state: Incident, rule: Rule) -> tuple[ProbeSpec, ...]:
    """Return the probes of the cause: the rule's own, else whether its alerts are over; empty where nothing can be asked."""
    return rule.recovered or default_recovered(alert.labels for alert in state.alerts.values())


def proof_at(probes: list[Asked], hold: timedelta) -> datetime | None:
    """Return when all will have been healthy for the whole stability period, None while one is not healthy."""
    since = [p.last.since for p in probes if p.last is not None and p.last.verdict == Verdict.HEALTHY]
    return max(since) + hold if probes and len(since) == len(probes) else None


def recovery_due(probe: Asked, proof: datetime | None) -> datetime:
    """Return when to ask: regularly, and once more exactly when the stability period ends."""
    if proof is None or probe.last is None or probe.last.asked_at >= proof:
        return probe.due_at
    return min(probe.due_at, proof)


def lease_move(case: Case) -> Record | Wait:
    """Tell of a lease that ends, hourly once it has ended; wait for the next such moment otherwise."""
    state = case.state
    end = lease_end(state, case.rule.limits.max_hold)
    if end is None or state.lease_from is None:
        return Wait()
    if state.lease_told == "expired" and state.lease_told_at is not None:
        kind, at = K.LEASE_EXPIRED, state.lease_told_at + TOLD_AGAIN
    elif state.lease_told or case.now >= end:
        kind, at = K.LEASE_EXPIRED, end
    else:
        kind, at = K.LEASE_ENDING, state.lease_from + (end - state.lease_from) * ENDING
    return record(kind, end=end.isoformat()) if case.now >= at else Wait(at)
