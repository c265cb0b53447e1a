"""Accounts: what the auditor reads out of timelines, by its own simple means and without a line of the core."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from stopgap.incident import Event, EventKind as K

ENDS_AN_ACT = {
    K.STEP_SUCCEEDED,
    K.STEP_FAILED,
    K.STEP_UNKNOWN,
    K.STEP_REVERTED,
    K.REVERT_FAILED,
    K.DRIFTED,
}
STOPS_ACTING = {K.MITIGATED, K.REVERTED, K.CLOSED}


def act_of(event: Event) -> str:
    """Return which act and which attempt a line speaks of, as its idempotency key does."""
    d = event.detail
    return f"{d['rung']}/{d['step']}/{d['role']}/{d['n']}"


@dataclass
class Rung:
    """One rung that began."""

    name: str
    resources: tuple[str, ...]
    once: bool = False
    failed: bool = False
    step_failed: bool = False
    climbs: bool = False  # it failed, or goes on whatever its verdict
    back: bool = False


@dataclass
class Lease:
    """What is held since when, until when, and what was said of its end."""

    since: datetime
    until: datetime | None = None
    ending: bool = False
    expired_at: datetime | None = None


@dataclass
class Request:
    """A question to a person, and the answer."""

    rung: int
    until: datetime
    found: tuple[Any, ...]  # the values that the plan is about, when it was asked
    by: str = ""
    denied: bool = False


@dataclass
class Account:
    """One incident, as its lines tell it."""

    id: str
    rule: str = ""
    version: str = ""
    target: str = ""
    mode: str = ""
    follows: str = ""
    flaps: int = 0
    first_rung: int = 0
    opened_at: datetime | None = None
    alerts: dict[str, bool] = field(default_factory=dict)
    served: set[str] = field(default_factory=set)
    rungs: dict[int, Rung] = field(default_factory=dict)
    skipped: set[int] = field(default_factory=set)
    acted_at: datetime | None = None
    mitigated: bool = False
    handed_over: bool = False
    shadow: bool = False
    acknowledged: bool = False
    acting: bool = False
    act: str = ""  # the act whose intent has no result
    cause: str = ""
    reverting: tuple[int, ...] = ()
    back_at: datetime | None = None  # when all was taken back after recovery
    lease: Lease | None = None
    request: Request | None = None
    between: bool = True  # no rung is applied, and none is taken back: the next one is due
    silent: bool = True  # it has not said why it does nothing
    reason: str = ""  # why it said last that it does nothing
    closed_at: datetime | None = None
    outcome: str = ""
    kept: bool = False

    @property
    def live(self) -> bool:
        return self.closed_at is None

    @property
    def firing(self) -> bool:
        return any(self.alerts.values())

    @property
    def last_alert(self) -> str:
        return [*self.alerts][-1]

    @property
    def held(self) -> set[str]:
        """Return the resources that it holds."""
        return (
            {r for rung in self.rungs.values() if not rung.back for r in rung.resources}
            if self.live
            else set()
        )

    @property
    def failed(self) -> bool:
        """Tell whether it acted, ended, and did not hold."""
        acted = self.acted_at is not None and not self.live
        return acted and not self.mitigated and self.outcome != "recovered"

    @property
    def unexplained(self) -> bool:
        """Tell whether it should start a rung, does not, and has not said why."""
        excused = self.handed_over or self.shadow
        return self.between and self.firing and self.silent and not excused

    def lease_end(self, max_hold: timedelta) -> datetime | None:
        return None if self.lease is None else self.lease.until or self.lease.since + max_hold

    # --- reading ---

    def read(self, event: Event) -> None:
        """Take one line."""
        reader = _READERS.get(event.kind)
        if reader is not None:
            reader(self, event)
        if event.kind in ENDS_AN_ACT:
            self.act = ""
        if event.kind in STOPS_ACTING:
            self.acting = False
        if event.kind in SAYS_WHY:
            self.silent, self.reason = False, event.detail.get("reason", "")
        elif event.kind in SAYS_NOTHING_YET:
            self.silent, self.reason = True, ""

    def opened(self, event: Event) -> None:
        d = event.detail
        self.rule, self.version, self.target = d["rule"], d["version"], d["target"]
        self.mode, self.follows, self.flaps = d["mode"], d.get("follows", ""), d["flaps"]
        self.first_rung, self.opened_at = d["rung"], event.at
        self.alerts = dict.fromkeys(d["alerts"], True)

    def fires(self, event: Event) -> None:
        self.alerts[event.detail["fingerprint"]] = True
        self.reason = ""  # what kept it from being taken back

    def is_over(self, event: Event) -> None:
        self.alerts[event.detail["fingerprint"]] = False

    def begins(self, event: Event) -> None:
        d = event.detail
        self.rungs[d["rung"]] = Rung(d["name"], tuple(d["resources"]), once=d.get("once", False))
        self.acting, self.between, self.acted_at, self.request = True, False, event.at, None
        if d["resources"] and self.lease is None:
            self.lease = Lease(event.at)

    def skips(self, event: Event) -> None:
        self.skipped.add(event.detail["rung"])
        self.request = None

    def acts(self, event: Event) -> None:
        self.act, self.reason = act_of(event), ""

    def fails_a_step(self, event: Event) -> None:
        rung = self.rungs.get(event.detail["rung"])
        if rung is not None:
            rung.step_failed = True

    def fails_a_rung(self, event: Event) -> None:
        rung = self.rungs[event.detail["rung"]]
        rung.failed = rung.climbs = True

    def holds(self, event: Event) -> None:
        rung = self.rungs[event.detail["rung"]]
        if event.detail.get("go_on"):
            rung.climbs = True
        if rung.climbs:
            self.acting, self.between, self.silent = False, True, True

    def mitigates(self, _: Event) -> None:
        self.mitigated = True

    def takes_back(self, event: Event) -> None:
        self.cause, self.reverting = event.detail["cause"], tuple(event.detail["rungs"])
        self.acting, self.handed_over = True, self.handed_over or self.cause == "person"

    def is_back(self, event: Event) -> None:
        for number in self.reverting:
            self.rungs[number].back = True
        self.between = self.cause != "recovered"
        if self.cause == "recovered":
            self.back_at = event.at
        if not self.held:
            self.lease = None

    def extends(self, event: Event) -> None:
        if self.lease is not None:
            self.lease = Lease(event.at, datetime.fromisoformat(event.detail["until"]))

    def is_told(self, event: Event) -> None:
        if self.lease is not None and event.kind is K.LEASE_ENDING:
            self.lease.ending = True
        elif self.lease is not None:
            self.lease.expired_at = event.at

    def is_handed_over(self, _: Event) -> None:
        self.handed_over = True

    def plans_only(self, _: Event) -> None:
        self.shadow = True

    def is_acknowledged(self, _: Event) -> None:
        self.acknowledged = True

    def is_approved(self, event: Event) -> None:
        if self.request is not None:
            self.request.by = event.detail.get("by", "")
            self.request.until = datetime.fromisoformat(event.detail["until"])

    def is_denied(self, _: Event) -> None:
        if self.request is not None:
            self.request.denied = True

    def recovers(self, _: Event) -> None:
        if self.request is not None and not (self.request.by or self.request.denied):
            self.request = None  # nobody can answer it any more

    def is_kept(self, _: Event) -> None:
        self.kept = True

    def closes(self, event: Event) -> None:
        self.closed_at, self.outcome = event.at, event.detail["outcome"]
        self.served = set(event.detail.get("served", ()))
        self.kept = self.kept or self.outcome == "kept"


SAYS_WHY = {
    K.REFUSED,
    K.APPROVAL_REQUESTED,
    K.HANDED_OVER,
    K.SHADOW_PLANNED,
    K.CLOSED,
    K.RUNG_STARTED,
    K.REVERT_STARTED,
}
"""After these it is known why no rung starts."""

SAYS_NOTHING_YET = {K.OPENED, K.RUNG_SKIPPED, K.APPROVED, K.BRAKE_RELEASED, K.REVERTED, K.RESOLVED}
"""After these it has to start a rung, or to say why not."""

_READERS: dict[K, Callable[[Account, Event], None]] = {
    K.OPENED: Account.opened,
    K.ALERT_JOINED: Account.fires,
    K.REFIRED: Account.fires,
    K.ALERT_RESOLVED: Account.is_over,
    K.RUNG_STARTED: Account.begins,
    K.RUNG_SKIPPED: Account.skips,
    K.STEP_FAILED: Account.fails_a_step,
    K.RUNG_FAILED: Account.fails_a_rung,
    K.RUNG_HELD: Account.holds,
    K.MITIGATED: Account.mitigates,
    K.REVERT_STARTED: Account.takes_back,
    K.REVERTED: Account.is_back,
    K.LEASE_EXTENDED: Account.extends,
    K.LEASE_ENDING: Account.is_told,
    K.LEASE_EXPIRED: Account.is_told,
    K.HANDED_OVER: Account.is_handed_over,
    K.SHADOW_PLANNED: Account.plans_only,
    K.ACKNOWLEDGED: Account.is_acknowledged,
    K.APPROVED: Account.is_approved,
    K.APPROVAL_DENIED: Account.is_denied,
    K.STEP_STARTED: Account.acts,
    K.RESOLVED: Account.recovers,
    K.KEPT: Account.is_kept,
    K.CLOSED: Account.closes,
}
