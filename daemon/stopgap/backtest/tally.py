"""Tally: counts what the timelines of a replay say. It is an observer of committed lines, as metrics and log are."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from stopgap.backtest.result import Hold, Overlap, Score, StormSpell
from stopgap.backtest.spending import Spending
from stopgap.backtest.trace import Trace
from stopgap.guard import Reason
from stopgap.incident import Event, EventKind as K, Incident
from stopgap.journal import CONTROL, Line
from stopgap.rule import Rule

MOST_TRACES = 50_000  # closed incidents whose course is kept for the picture
FADING = 1000  # closed incidents of which late messages may still be told
MOST_OVERLAPS = 500  # distinct ones
MOST_STORMS = 500
REFUSING = frozenset({K.REFUSED, K.RUNG_SKIPPED, K.APPROVAL_REQUESTED})


class Tally:
    """What is known so far; `score` holds every rule, whether it was ever needed or not."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.scores = {name: Score() for name in rules}
        self.traces: list[Trace] = []
        self.overlaps: dict[tuple[str, str, str, str], Overlap] = {}
        self.storms: list[StormSpell] = []
        self.left_out: dict[str, int] = {}
        self._live: dict[str, Trace] = {}
        self._over: OrderedDict[str, str] = OrderedDict()  # rules of the last that were closed
        self._by_target: dict[str, dict[str, str]] = {}  # of a target, the live incidents and their rules
        self._budgets = {name: Spending(rule.limits.budget) for name, rule in rules.items()}
        self._global = {
            rule.limits.budget_global: Spending(rule.limits.budget_global) for rule in rules.values()
        }
        self._counters: Mapping[K, Callable[[Score, Event, Incident], None]] = {
            K.OPENED: self._opened,
            K.RUNG_STARTED: self._started,
            K.MITIGATED: self._mitigated,
            K.RUNG_FAILED: _failed,
            K.REVERTED: _reverted,
            K.HANDED_OVER: self._handed_over,
            K.LEASE_EXPIRED: self._expired,
            K.SHADOW_PLANNED: _planned,
            K.NOTIFIED: _told,
            K.CLOSED: self._closed,
        }

    # --- observing ---

    def observe(self, line: Line, state: Incident) -> None:
        """Count one committed line; `state` is the incident after it."""
        event = line.event
        if line.incident == CONTROL:
            self._weather(event)
            return
        rule = state.rule or self._over.get(line.incident, "")  # of one that is closed only its id is told
        score = self.scores.setdefault(rule, Score()) if rule else Score()
        if event.kind is K.OPENED:
            self._live[state.id] = Trace(state.id, state.rule, state.target, event.at)
        counter = self._counters.get(event.kind)
        if counter is not None:
            counter(score, event, state)
        elif event.kind in REFUSING:
            self._refused(score, event, state)
        trace = self._live.get(line.incident)
        if trace is not None:
            self._follow(score, trace, state, event.at)

    def finish(self, at: datetime) -> None:
        """Close what is open: the period is over. What is held counts as held until then."""
        for trace in self._live.values():
            score = self.scores[trace.rule]
            score.unfinished += 1
            trace.end(at)
            if trace.held_from is not None:
                _held(score, trace, at - trace.held_from)
            self._keep(trace)
        self._live.clear()
        for name, budget in self._budgets.items():
            self.scores[name].headroom = budget.least

    def total(self) -> Score:
        """Return what all rules come to, with what was left of the tightest budget over all."""
        total = Score()
        for score in self.scores.values():
            total.add(score)
        budgets = [budget.least for budget in self._global.values()]
        total.headroom = min(budgets, key=lambda least: least.left / max(least.of.count, 1), default=None)
        return total

    # --- one line ---

    def _follow(self, score: Score, trace: Trace, state: Incident, at: datetime) -> None:
        held = trace.reach(state, at)
        if held is not None:
            _held(score, trace, held, since=at - held)
        if state.closed_at is not None:
            del self._live[trace.incident]
            self._keep(trace)
            self._over[trace.incident] = trace.rule
            if len(self._over) > FADING:
                self._over.popitem(last=False)

    def _keep(self, trace: Trace) -> None:
        if len(self.traces) < MOST_TRACES:
            self.traces.append(trace)
        else:
            self._miss("incidents in the picture")

    def _miss(self, what: str) -> None:
        self.left_out[what] = self.left_out.get(what, 0) + 1

    def _opened(self, score: Score, event: Event, state: Incident) -> None:
        score.incidents += 1
        score.flaps += bool(state.follows)
        if not state.target:
            return
        others = self._by_target.setdefault(state.target, {})
        for rule in others.values():
            self._overlap("target", state.target, (rule, state.rule), event.at)
        others[state.id] = state.rule

    def _closed(self, score: Score, _: Event, state: Incident) -> None:
        outcome = str(state.outcome)
        score.outcomes[outcome] = score.outcomes.get(outcome, 0) + 1
        others = self._by_target.get(state.target, {})
        others.pop(state.id, None)
        if not others:
            self._by_target.pop(state.target, None)

    def _started(self, score: Score, event: Event, state: Incident) -> None:
        score.mitigations += 1
        if state.rule in self._budgets:
            self._budgets[state.rule].spend(event.at)
        for budget in self._global.values():
            budget.spend(event.at)

    def _mitigated(self, score: Score, event: Event, state: Incident) -> None:
        score.mitigated += state.mitigated_at == event.at  # once, however often it is found so

    def _expired(self, score: Score, _: Event, state: Incident) -> None:
        trace = self._live.get(state.id)
        if trace is not None and not trace.expired:
            trace.expired = True
            score.past_max_hold += 1

    def _handed_over(self, score: Score, event: Event, state: Incident) -> None:
        score.handed_over += 1
        reason = str(event.detail.get("reason", ""))
        score.hand_overs[reason] = score.hand_overs.get(reason, 0) + 1
        if reason in Reason.__members__.values():
            self._refused(score, event, state)

    def _refused(self, score: Score, event: Event, state: Incident) -> None:
        reason = str(event.detail.get("reason", ""))
        if reason:
            score.refusals[reason] = score.refusals.get(reason, 0) + 1
        if reason == Reason.RESOURCE_HELD:
            holder, _, resource = str(event.detail.get("text", "")).partition(" holds ")
            other = self._live.get(holder)
            if other is not None:
                self._overlap("resource", resource, (other.rule, state.rule), event.at)

    def _overlap(self, kind: str, of: str, rules: tuple[str, str], at: datetime) -> None:
        first, second = sorted(rules)
        key = (kind, of, first, second)
        known = self.overlaps.get(key)
        if known is not None:
            known.times += 1
        elif len(self.overlaps) < MOST_OVERLAPS:
            self.overlaps[key] = Overlap(kind, of, (first, second), 1, at)
        else:
            self._miss("overlaps")

    def _weather(self, event: Event) -> None:
        if event.kind is K.STORM_BEGAN and len(self.storms) < MOST_STORMS:
            self.storms.append(StormSpell(event.at, int(event.detail.get("targets", 0))))
        elif event.kind is K.STORM_BEGAN:
            self._miss("storms")
        elif event.kind is K.STORM_ENDED and self.storms and self.storms[-1].until is None:
            self.storms[-1].until = event.at


def _held(score: Score, trace: Trace, lasted: timedelta, since: datetime | None = None) -> None:
    score.held += lasted
    if score.longest_hold is None or lasted > score.longest_hold.lasted:
        from_ = since or trace.held_from or trace.opened_at
        score.longest_hold = Hold(lasted, trace.incident, trace.target, from_)


def _failed(score: Score, _: Event, __: Incident) -> None:
    score.failed += 1


def _reverted(score: Score, _: Event, __: Incident) -> None:
    score.reverts += 1


def _planned(score: Score, _: Event, __: Incident) -> None:
    score.shadows += 1


def _told(score: Score, event: Event, _: Incident) -> None:
    contact = str(event.detail.get("contact", ""))
    score.messages[contact] = score.messages.get(contact, 0) + 1
