"""Incident: one Rule on one Target. Its state is the fold of its append-only timeline (`transitions.apply`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, NamedTuple

from stopgap.value import cheaply_made


class Phase(StrEnum):
    """Where an incident stands (DESIGN 5.1)."""

    OPEN = "open"
    WAITING = "waiting"
    MITIGATING = "mitigating"
    VERIFYING = "verifying"
    MITIGATED = "mitigated"
    RECOVERING = "recovering"
    REVERTING = "reverting"
    CLOSED = "closed"


class Outcome(StrEnum):
    """How a closed incident ended."""

    RECOVERED = "recovered"
    SELF_RESOLVED = "self_resolved"
    REVERTED = "reverted"
    KEPT = "kept"
    HANDED_OVER = "handed_over"
    SHADOW = "shadow"


class Cause(StrEnum):
    """Why a mitigation is being taken back."""

    RUNG_FAILED = "rung_failed"
    RECOVERED = "recovered"
    PERSON = "person"


class EventKind(StrEnum):
    """Past-tense words of the timeline; closed per release. Those of later releases are added with their behaviour."""

    OPENED = "opened"
    ALERT_JOINED = "alert_joined"
    ALERT_RESOLVED = "alert_resolved"
    PERMITTED = "permitted"
    REFUSED = "refused"
    OBSERVED = "observed"
    APPROVAL_REQUESTED = "approval_requested"
    APPROVED = "approved"
    APPROVAL_DENIED = "approval_denied"
    APPROVAL_EXPIRED = "approval_expired"
    RUNG_STARTED = "rung_started"
    RUNG_SKIPPED = "rung_skipped"
    STEP_STARTED = "step_started"
    STEP_SUCCEEDED = "step_succeeded"
    STEP_FAILED = "step_failed"
    STEP_SKIPPED = "step_skipped"
    STEP_UNKNOWN = "step_unknown"
    RUNG_HELD = "rung_held"
    RUNG_FAILED = "rung_failed"
    PROBE_HEALTHY = "probe_healthy"
    PROBE_UNHEALTHY = "probe_unhealthy"
    PROBE_UNKNOWN = "probe_unknown"
    MITIGATED = "mitigated"
    MITIGATION_LOST = "mitigation_lost"
    LEASE_ENDING = "lease_ending"
    LEASE_EXTENDED = "lease_extended"
    LEASE_EXPIRED = "lease_expired"
    RESOLVED = "resolved"
    REFIRED = "refired"
    REVERT_STARTED = "revert_started"
    STEP_REVERTED = "step_reverted"
    REVERT_FAILED = "revert_failed"
    DRIFTED = "drifted"
    REVERTED = "reverted"
    NOTIFIED = "notified"
    NOTIFY_FAILED = "notify_failed"
    ACKNOWLEDGED = "acknowledged"
    NOTE_ADDED = "note_added"
    MANUAL_DONE = "manual_done"
    RETRIED = "retried"
    ADOPTED = "adopted"
    BRAKED = "braked"
    BRAKE_RELEASED = "brake_released"
    HANDED_OVER = "handed_over"
    SHADOW_PLANNED = "shadow_planned"
    KEPT = "kept"
    CLOSED = "closed"
    RELOADED = "reloaded"
    RELOAD_FAILED = "reload_failed"
    LOGIN_REFUSED = "login_refused"
    STORM_BEGAN = "storm_began"
    STORM_ENDED = "storm_ended"
    DRILL_OVERTAKEN = "drill_overtaken"
    CLOCK_JUMPED = "clock_jumped"
    CLOCK_FOLLOWED = "clock_followed"


PROBED = {verdict: EventKind(f"probe_{verdict}") for verdict in ("healthy", "unhealthy", "unknown")}
"""The event that says what a probe answered."""


@cheaply_made
@dataclass(frozen=True, slots=True)
class Event:
    """One line of a timeline. `seq` counts from 1 within the incident; 0 is an observation that was not worth a line."""

    kind: EventKind
    at: datetime
    detail: Mapping[str, Any] = field(default_factory=dict)
    seq: int = 0


class Role(StrEnum):
    """What a step is run for; part of its idempotency key."""

    DO = "do"
    ACTIVATE = "activate"
    REVERT = "revert"
    REACTIVATE = "reactivate"


class Ref(NamedTuple):
    """Which step of which rung, and what for."""

    rung: int
    role: Role
    step: int

    def __str__(self) -> str:
        return f"{self.rung}/{self.step}/{self.role}"


_BY_HAND = {Phase.MITIGATING: (Role.DO, Role.ACTIVATE), Phase.REVERTING: (Role.REACTIVATE,)}
"""In which phase which steps wait for a person who does them."""


class StepStatus(StrEnum):
    """What is known of one act."""

    STARTED = "started"  # the intent is on disk; without a task in flight the outcome is unknown
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    UNCLEAR = "unclear"  # unknown, and observation could not tell: a person must look
    PENDING = "pending"  # a person asked for another try


@cheaply_made
@dataclass(frozen=True, slots=True)
class StepState:
    """One act: attempt `n` (grows only after a known failure), `tries` with this key, `looks` at its unknown outcome."""

    status: StepStatus
    at: datetime
    n: int = 1
    tries: int = 1  # 0: its intent never was on disk, so there is no undo and nothing to take back
    looks: int = 0
    retry_at: datetime | None = None  # None after a failure: permanent
    changed: bool = False  # a revert that must be made effective
    by_hand: bool = False  # a person does it
    drifted: bool = False  # a revert that found a value which was not ours


@dataclass(frozen=True, slots=True)
class RungState:
    """What `rung_started` planned: how many steps, which of them can be taken back, with which labels it was rendered."""

    do: int
    activate: int
    reverts: tuple[bool, ...]
    resources: tuple[str, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    failed: bool = False
    kept: bool = False  # stays after recovery too, or was kept by a person
    reverted: bool = False
    name: str = ""
    words: tuple[str, ...] = ()  # what each step does, those of `do` first


class Answer(StrEnum):
    """What a person said to a request for approval."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Approval:
    """The last request for approval: its seq, for which rung, and what was said.

    `until` is when no answer means no; of an approved one, when the rung must have begun.
    """

    request: int
    rung: int
    until: datetime
    answer: Answer = Answer.PENDING
    by: str = ""
    why: str = ""


@cheaply_made
@dataclass(frozen=True, slots=True)
class ProbeState:
    """The last answer of one probe, since when it says so, and how often in a row."""

    verdict: str
    since: datetime
    asked_at: datetime
    streak: int = 1


@cheaply_made
@dataclass(frozen=True, slots=True)
class AlertState:
    """One alert of the incident, as it was when it joined."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: str
    firing: bool = True


@cheaply_made
@dataclass(frozen=True, slots=True)
class Incident:
    """The state of one incident: nothing but what its timeline says."""

    id: str
    rule: str = ""
    version: str = ""
    target: str = ""
    severity: str = "P2"
    mode: str = "auto"
    because: str = ""  # why its mode is more careful than the rule's
    flaw: str = ""  # why the target could not be rendered
    drill: str = ""  # the name of the drill that it is, until a real alert overtakes it
    follows: str = ""
    flaps: int = 0
    seq: int = 0
    phase: Phase = Phase.OPEN
    phase_at: datetime | None = None
    outcome: Outcome | None = None
    reason: str = ""
    opened_at: datetime | None = None
    mitigated_at: datetime | None = None
    acted_at: datetime | None = None
    closed_at: datetime | None = None
    alerts: Mapping[str, AlertState] = field(default_factory=dict)
    rung: int = 0
    used: frozenset[str] = frozenset()  # rungs that run once, by name, that have run in this chain of flaps
    approval: Approval | None = None
    rungs: Mapping[int, RungState] = field(default_factory=dict)
    steps: Mapping[Ref, StepState] = field(default_factory=dict)
    probes: Mapping[str, ProbeState] = field(default_factory=dict)
    came_from: Phase = Phase.MITIGATED
    cause: Cause | None = None
    reverting: tuple[int, ...] = ()
    handed_over: bool = False
    stuck: bool = False  # a failed revert or an unresolved unknown outcome: only a person goes on
    applying: bool = True
    acknowledged_by: str = ""
    lease_from: datetime | None = None
    lease_until: datetime | None = None
    lease_told: str = ""  # "", "ending", "expired"
    lease_told_at: datetime | None = None
    unproven: bool = False
    undecided: bool = False  # held with an unknown verdict
    lost: bool = False
    drifted: tuple[str, ...] = ()

    @property
    def firing(self) -> bool:
        """Tell whether any of its alerts still fires."""
        for alert in self.alerts.values():  # noqa: SIM110 - asked very often, and `any` takes three times as long
            if alert.firing:
                return True
        return False

    @property
    def held(self) -> tuple[int, ...]:
        """Return the rungs that have something to take back, lowest first."""
        if not self.rungs:
            return ()
        rungs = self.rungs
        return tuple([n for n in sorted(rungs) if rungs[n].resources and not rungs[n].reverted])

    @property
    def by_hand(self) -> Ref | None:
        """Return the step for which it waits until a person says that it is done."""
        roles = _BY_HAND.get(self.phase, ())
        waits = (
            ref
            for ref, step in self.steps.items()
            if step.by_hand and step.status is StepStatus.STARTED and ref.role in roles
        )
        return next(waits, None)

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels common to all alerts that still fire, or to all when none does."""
        return common(
            [a.labels for a in self.alerts.values() if a.firing] or [a.labels for a in self.alerts.values()]
        )

    @property
    def annotations(self) -> dict[str, str]:
        """Return the annotations common to the same alerts."""
        firing = [a.annotations for a in self.alerts.values() if a.firing]
        return common(firing or [a.annotations for a in self.alerts.values()])


_ALL = tuple(f.name for f in fields(Incident))
_values_of = attrgetter(*_ALL)


def changed(state: Incident, **changes: Any) -> Incident:
    """Return a state with some fields changed, as `dataclasses.replace` does, in a sixth of its time: each event does it."""
    after = Incident(*_values_of(state))
    for name, value in changes.items():
        setattr(after, name, value)
    return after


def common(sets: list[Mapping[str, str]]) -> dict[str, str]:
    """Return the pairs that stand in every one of the sets."""
    if not sets:
        return {}
    first, *rest = sets
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in rest)}


TARGET_LOCK = "target:"
LOCKING = frozenset({Phase.MITIGATING, Phase.VERIFYING, Phase.REVERTING})


def holdings(incident: Incident) -> frozenset[str]:
    """Return what the incident holds against all others: its target while it acts, its resources until they are back."""
    if incident.phase is Phase.CLOSED:
        return frozenset()
    held = {resource for rung in incident.held for resource in incident.rungs[rung].resources}
    verifies = incident.phase is Phase.RECOVERING and incident.came_from is Phase.VERIFYING
    if incident.phase in LOCKING or verifies:  # it verifies again if its alert comes back
        held.add(TARGET_LOCK + incident.target)
    return frozenset(held)


def lets_go(before: Incident, after: Incident) -> bool:
    """Tell whether it holds less than before. What it holds follows from its rungs and its phase."""
    if before.rungs is after.rungs and before.phase is after.phase:
        return False
    return bool(holdings(before) - holdings(after))


def lease_end(incident: Incident, max_hold: timedelta) -> datetime | None:
    """Return when the lease ends, or None while nothing is held."""
    if incident.lease_from is None or not incident.held or incident.phase is Phase.CLOSED:
        return None
    return incident.lease_until or incident.lease_from + max_hold


def same_stage(asked: Incident, now: Incident) -> bool:
    """Tell whether an incident still asks what it asked, since the same instant."""
    return (asked.phase, asked.phase_at, asked.rung) == (now.phase, now.phase_at, now.rung)
