"""Closing: what the row of an incident says once its timeline has ended."""

from stopgap.incident import Cause, Event, Incident, Outcome
from stopgap.journal import Closing, Sighting
from stopgap.rule import Rule


def closing_of(state: Incident, rule: Rule | None, event: Event, *, serve: bool = False) -> Closing:
    """Return the closing of an incident. Alerts that fire again while it is taken back open the next one, if `rule` takes them.

    What held and is wholly back can flap: the next incident starts at the highest rung that did not fail. A drill that helped
    leaves no cooldown behind: its row says that it is back even where there was nothing to take back.
    """
    helped = [number for number, rung in state.rungs.items() if not rung.failed]
    last = max(helped, default=0)
    held_and_back = bool(helped) and state.cause is Cause.RECOVERED and not state.reverting
    left_nothing = bool(state.drill and helped and state.mitigated_at) and not state.held
    refiring: tuple[Sighting, ...] = ()
    if state.firing and not serve and rule is not None:
        refiring = tuple(
            _again(state, rule, fingerprint, event)
            for fingerprint, alert in state.alerts.items()
            if alert.firing and all(matcher.matches(alert.labels) for matcher in rule.matchers)
        )
    return Closing(
        outcome=Outcome(event.detail["outcome"]),
        severity=state.severity,
        rung=last,
        mitigated_at=state.mitigated_at,
        reverted_at=event.at if held_and_back or left_nothing else None,
        serve=serve,
        refiring=refiring,
        used=tuple(sorted(state.used)),
        helped=state.rungs[last].name if helped else "",
        drill=state.drill,
    )


def _again(state: Incident, rule: Rule, fingerprint: str, event: Event) -> Sighting:
    alert = state.alerts[fingerprint]
    return Sighting(
        rule=state.rule,
        version=rule.version,
        target=state.target,
        severity=state.severity,
        mode=state.mode,
        fingerprint=fingerprint,
        alert={
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "starts_at": alert.starts_at,
        },
        firing=True,
        at=event.at,
        flap_window=rule.limits.flap_window,
        flap_from=rule.flap_from,
    )
