"""Metrics: what `/metrics` says (DESIGN 8), counted from the one timeline and computed from the live states when scraped.

The registry is private: nothing that a library registers leaks into it. Label sets are closed, and stand at 0 from the start as far
as they are known.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from prometheus_client import ProcessCollector, disable_created_metrics, generate_latest

from stopgap.abacus import Abacus, Family
from stopgap.alert import BadAlert
from stopgap.guard import Reason
from stopgap.incident import Event, EventKind as K, Incident, Outcome, Role
from stopgap.journal import Line
from stopgap.machinery import BEATS, Machinery
from stopgap.present import Present, PresentCollector, Sources, StandbyCollector
from stopgap.probe import Verdict
from stopgap.release import release
from stopgap.rule import Mode, Rule

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FEW_RULES = 200  # from here on, label sets per rule appear only when something happened
CODES = (200, 400, 401, 408, 413, 415, 503)

_FAST = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30)
_SLOW = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_ACTION = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 600, 1800)

_RESULTS = {
    K.STEP_SUCCEEDED: "succeeded",
    K.STEP_FAILED: "failed",
    K.STEP_UNKNOWN: "unknown",
    K.STEP_SKIPPED: "skipped",
}
_REVERTS = {K.STEP_REVERTED: "reverted", K.DRIFTED: "drifted", K.REVERT_FAILED: "failed"}
_REASONS = frozenset(Reason)
_OVERTAKEN = "overtaken"
DRILLED = (*(outcome.value for outcome in Outcome), _OVERTAKEN)
"""What may come of a drill's incident: an outcome, or a real alert that fired meanwhile."""

_OF_REAL_ONES = frozenset(
    {K.OPENED, K.CLOSED, K.REFUSED, K.RUNG_SKIPPED, K.HANDED_OVER, K.SHADOW_PLANNED}
    | {K.STEP_STARTED, K.MITIGATED, K.MITIGATION_LOST}
)
"""Events that count in the statistics of incidents, in which a drill has no place. Its acts, probes and messages are real ones."""


def few(rules: Collection[Rule]) -> Collection[Rule]:
    """Return the rules when a time series each is bearable, else none."""
    return rules if len(rules) < FEW_RULES else ()


class Taken(Protocol):
    """What became of a notification's alerts."""

    @property
    def matched(self) -> Mapping[str, int]:
        """How many alerts each rule took."""
        ...

    @property
    def unmatched(self) -> int:
        """How many no rule took."""
        ...


class Metrics(Machinery):
    """All metrics of one process."""

    def __init__(
        self, actions: Iterable[str] = (), probes: Iterable[str] = (), contacts: Iterable[str] = ()
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's switch is global; nobody asks when a counter was made
        super().__init__()
        self._abacus = Abacus(self.registry)
        ProcessCollector(registry=self.registry)
        self._intake()
        self._timeline()
        self._rules()
        for families in (self._outside(), self._kinds(actions, probes, contacts)):
            for family, *labels in families:
                family.labels(*labels)
        self._known_rules: set[str] = set()
        self._standby: StandbyCollector | None = None
        self._counted: Mapping[K, Callable[[Event, Incident], None]] = {
            K.OPENED: self._on_opened,
            K.CLOSED: self._on_closed,
            **dict.fromkeys((K.REFUSED, K.RUNG_SKIPPED, K.HANDED_OVER, K.SHADOW_PLANNED), self._on_refused),
            K.STEP_STARTED: self._on_started,
            **dict.fromkeys((*_RESULTS, *_REVERTS), self._on_step),
            K.MITIGATED: self._on_mitigated,
            K.MITIGATION_LOST: self._on_lost,
            **dict.fromkeys((K.NOTIFIED, K.NOTIFY_FAILED), self._on_told),
            K.DRILL_OVERTAKEN: self._on_overtaken,
        }

    def _outside(self) -> Iterator[tuple[Any, ...]]:
        """Name the label sets that never change."""
        yield from ((self._rejected, bad.value) for bad in BadAlert)
        yield from ((self._beats, result) for result in BEATS)
        yield from ((self._drills, result) for result in DRILLED)

    def _kinds(
        self, actions: Iterable[str], probes: Iterable[str], contacts: Iterable[str]
    ) -> Iterator[tuple[Any, ...]]:
        """Name the label sets of what is installed and configured."""
        for action in actions:
            yield self._duration, action
            yield from ((self._actions, action, result) for result in _RESULTS.values())
        yield from ((self._probes, kind, verdict.value) for kind in probes for verdict in Verdict)
        yield from ((self._messages, to, result) for to in contacts for result in ("succeeded", "failed"))

    def _intake(self) -> None:
        self._notifications = self._counter(
            "notifications_total", "Webhook posts, by status answered.", "code"
        )
        self._received = self._counter("alerts_received_total", "Alerts taken, by status.", "status")
        self._rejected = self._counter(
            "alerts_rejected_total", "Malformed alerts of good notifications.", "reason"
        )
        self._matched = self._counter("alerts_matched_total", "Alerts that matched a rule.", "rule")
        self._matched_by = Family(self._matched)
        self._by_code = {code: self._notifications.labels(str(code)) for code in CODES}
        self._firing, self._resolved = (self._received.labels(status) for status in ("firing", "resolved"))
        self._unmatched = self._counter("alerts_unmatched_total", "Alerts that matched no rule.")
        self._truncated = self._counter(
            "alerts_truncated_total", "Alerts that Alertmanager left out (max_alerts)."
        )
        self._mismatched = self._counter(
            "fingerprint_mismatches_total", "Alerts whose fingerprint is not ours."
        )
        self._logins = self._counter("logins_refused_total", "Control requests with a wrong or no token.")

    def _timeline(self) -> None:
        self._opened = self._counter("incidents_opened_total", "Incidents opened.", "rule")
        self._opened_by = Family(self._opened)
        self._flaps = self._counter(
            "flaps_total", "Incidents that opened because what was taken back was needed again.", "rule"
        )
        self._closed = self._counter("incidents_closed_total", "Incidents closed.", "rule", "outcome")
        self._actions = self._counter(
            "actions_total", "Acts forward, by what came of them.", "action", "result"
        )
        self._duration = self._histogram("action_duration_seconds", "How long acts ran.", _ACTION, "action")
        self._to_action = self._histogram(
            "alert_to_action_seconds", "From the opening to the first act.", _FAST
        )
        self._to_mitigate = self._histogram(
            "time_to_mitigate_seconds", "From the opening to mitigated.", _SLOW, "rule"
        )
        self._probes = self._counter("probes_total", "Probes asked, by answer.", "kind", "verdict")
        self._refusals = self._counter("refusals_total", "Refusals to act, by reason.", "rule", "reason")
        self._effective = self._counter(
            "mitigation_effective_total", "Mitigations that held, or were lost.", "rule", "result"
        )
        self._reverts = self._counter(
            "reverts_total", "Steps taken back, by what came of it.", "rule", "result"
        )
        self._escalations = self._counter(
            "escalations_total", "Events that somebody was told of.", "rule", "when"
        )
        self._messages = self._counter(
            "messages_sent_total", "Messages, by what came of them.", "contact", "result"
        )
        self._drills = self._counter("drills_total", "Incidents of drills, by what came of them.", "result")

    def _rules(self) -> None:
        self._reload_ok = self._gauge(
            "config_last_reload_successful", "Whether the last load of the rules worked."
        )
        self._reload_at = self._gauge(
            "config_last_reload_success_timestamp_seconds", "When rules were last loaded."
        )
        self._hash = self._gauge("config_hash", "A number that differs when the rules differ.")
        self._gauge("build_info", "The release that runs.", "version").labels(release()).set(1)
        self._mode = self._gauge("mode", "The upper bound of what rules may do (1: this one).", "mode")

    # --- told by others ---

    def bound(self, mode: Mode) -> None:
        """Show how far rules may go at most."""
        for each in Mode:
            self._mode.labels(each.value).set(each is mode)

    def answered(self, code: int) -> None:
        """Count one notification by the status of its answer."""
        self._abacus.count(self._by_code[code])

    def took(self, firing: int, resolved: int, taken: Taken) -> None:
        """Count alerts that are on disk, or changed nothing."""
        for status, count in (
            (self._firing, firing),
            (self._resolved, resolved),
            (self._unmatched, taken.unmatched),
        ):
            if count:
                self._abacus.count(status, count)
        for rule, count in taken.matched.items():
            self._abacus.count(self._matched_by.of(rule), count)

    def rejected(self, reason: str, count: int) -> None:
        """Count alerts of a good notification that were not taken."""
        self._rejected.labels(reason).inc(count)

    def noticed(self, *, truncated: int, mismatched: int) -> None:
        """Count alerts that Alertmanager left out, and fingerprints that are not the ones we compute."""
        self._truncated.inc(truncated)
        self._mismatched.inc(mismatched)

    def login_refused(self) -> None:
        """Count one control request with a wrong or no token."""
        self._logins.inc()

    def asked(self, kind: str, verdict: Verdict) -> None:
        """Count one answer of a probe; the asker's `on_asked`."""
        self._probes.labels(kind, verdict.value).inc()

    def loaded(self, rules: Mapping[str, Rule], at: datetime) -> None:
        """Note that these rules are in force now."""
        text = "\n".join(f"{name} {rule.version}" for name, rule in sorted(rules.items()))
        self._hash.set(int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]))
        self._reload_ok.set(1)
        self._reload_at.set(at.timestamp())
        self._known_rules = set(rules)
        if len(rules) < FEW_RULES:
            for rule in rules:
                self._start_at_zero(rule)

    def load_failed(self) -> None:
        """Note that the last load of the rules failed and that the ones before stay in force."""
        self._reload_ok.set(0)

    def _start_at_zero(self, rule: str) -> None:
        for family in (self._matched, self._opened, self._flaps, self._to_mitigate):
            family.labels(rule)
        for family, values in (
            (self._closed, [o.value for o in Outcome]),
            (self._refusals, [r.value for r in Reason]),
            (self._effective, ["held", "lost"]),
            (self._reverts, list(_REVERTS.values())),
        ):
            for value in values:
                family.labels(rule, value)

    def stand_by(self, dependencies: Callable[[], Mapping[str, str]]) -> None:
        """Compute at each scrape why each dependency is away, until there is more to `watch`."""
        self._standby = StandbyCollector(dependencies)
        self.registry.register(self._standby)

    def watch(
        self,
        present: Present,
        queue_length: Callable[[], int],
        headroom: Callable[[], Mapping[str, int]],
        dependencies: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """Compute gauges at each scrape: from the present, the journal's queue, budgets, and why each dependency is away."""
        self._queue.set_function(queue_length)
        if self._standby is not None:
            self.registry.unregister(self._standby)
            self._standby = None
        sources = Sources(present, self._few, headroom, dependencies, lambda: self._ahead)
        self.registry.register(PresentCollector(sources))

    def _few(self) -> Collection[str]:
        return self._known_rules if len(self._known_rules) < FEW_RULES else ()

    def render(self) -> bytes:
        """Write Prometheus' text format."""
        return generate_latest(self.registry)

    # --- the timeline ---

    def observe(self, line: Line, state: Incident) -> None:
        """Count one committed event; an observer of the engine. `state` is the one after it."""
        event = line.event
        if state.drill and event.kind in _OF_REAL_ONES:
            if event.kind is K.CLOSED:
                overtaken = event.detail.get("overtaken")
                self._drills.labels(_OVERTAKEN if overtaken else str(event.detail.get("outcome", ""))).inc()
            return
        count = self._counted.get(event.kind)
        if count is not None:
            count(event, state)

    def _on_opened(self, _: Event, state: Incident) -> None:
        self._abacus.count(self._opened_by.of(state.rule))
        if state.flaps:
            self._flaps.labels(state.rule).inc()

    def _on_overtaken(self, _: Event, state: Incident) -> None:
        """Count what was a drill as an incident: from here on it is one."""
        self._drills.labels(_OVERTAKEN).inc()
        self._opened.labels(state.rule).inc()

    def _on_closed(self, event: Event, state: Incident) -> None:
        self._closed.labels(state.rule, str(event.detail.get("outcome", ""))).inc()

    def _on_refused(self, event: Event, state: Incident) -> None:
        if event.kind is K.SHADOW_PLANNED:
            self._refusals.labels(state.rule, Reason.SHADOW.value).inc()
        reason = event.detail.get("reason") or str(event.detail.get("refusal", "")).partition(":")[0]
        if reason in _REASONS:  # a handing over has other causes too
            self._refusals.labels(state.rule, str(reason)).inc()

    def _on_started(self, event: Event, state: Incident) -> None:
        first = len(state.steps) == 1 and event.detail.get("role") == Role.DO and event.detail.get("n") == 1
        if first and next(iter(state.steps.values())).tries == 1 and state.opened_at is not None:
            self._to_action.observe(max(0.0, (event.at - state.opened_at).total_seconds()))

    def _on_step(self, event: Event, state: Incident) -> None:
        action = str(event.detail.get("action", ""))
        if event.kind in _REVERTS:
            self._reverts.labels(state.rule, _REVERTS[event.kind]).inc()
        elif action:
            self._actions.labels(action, _RESULTS[event.kind]).inc()
        if action and "seconds" in event.detail:
            self._duration.labels(action).observe(float(event.detail["seconds"]))

    def _on_mitigated(self, event: Event, state: Incident) -> None:
        self._effective.labels(state.rule, "held").inc()
        if state.opened_at is not None and state.mitigated_at == event.at:
            self._to_mitigate.labels(state.rule).observe((event.at - state.opened_at).total_seconds())

    def _on_lost(self, _: Event, state: Incident) -> None:
        self._effective.labels(state.rule, "lost").inc()

    def _on_told(self, event: Event, state: Incident) -> None:
        sent = event.kind is K.NOTIFIED
        self._messages.labels(str(event.detail.get("contact", "")), "succeeded" if sent else "failed").inc()
        if sent and state.rule and not state.drill:
            self._escalations.labels(state.rule, str(event.detail.get("when", ""))).inc()
