"""Episodes: what the alerts of an incident say of it, from the first that opened it on."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from stopgap.alert import DRILL
from stopgap.incident import AlertState, Event, Incident, changed

FEW = 256  # annotations that are known at a time


def _alert(detail: Mapping[str, Any]) -> AlertState:
    return AlertState(
        labels=detail.get("labels", {}),
        annotations=_kept_once(detail.get("annotations", {})),
        starts_at=detail.get("starts_at", ""),
    )


_known: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}


def _kept_once(annotations: Mapping[str, str]) -> Mapping[str, str]:
    """Return equal annotations that are kept already: of ten thousand alerts, most say the same."""
    if len(_known) >= FEW:
        _known.clear()
    return _known.setdefault(tuple(annotations.items()), annotations)


def opened(state: Incident, event: Event) -> Incident:
    """Begin with what the first line says; the mark of a drill is that of all its alerts."""
    d = event.detail
    alerts = {fingerprint: _alert(alert) for fingerprint, alert in d.get("alerts", {}).items()}
    return changed(
        state,
        rule=d.get("rule", ""),
        version=d.get("version", ""),
        target=d.get("target", ""),
        severity=d.get("severity", "P2"),
        mode=d.get("mode", "auto"),
        because=d.get("because", ""),
        flaw=d.get("flaw", ""),
        drill=_drill([alert.labels.get(DRILL, "") for alert in alerts.values()]),
        follows=d.get("follows", ""),
        flaps=d.get("flaps", 0),
        rung=d.get("rung", 0),
        used=frozenset(d.get("used", ())),
        opened_at=event.at,
        phase_at=event.at,
        alerts=alerts,
    )


def _drill(names: list[str]) -> str:
    """Return the name of the drill of which all alerts are."""
    return names[0] if names and names.count(names[0]) == len(names) else ""


def alert_joined(state: Incident, event: Event) -> Incident:
    """Add an alert."""
    return changed(state, alerts={**state.alerts, event.detail.get("fingerprint", ""): _alert(event.detail)})


def set_firing(*, firing: bool) -> Callable[[Incident, Event], Incident]:
    """Return the reducer of an alert that is over, or fires again."""

    def reducer(state: Incident, event: Event) -> Incident:
        fingerprint = event.detail.get("fingerprint", "")
        if fingerprint not in state.alerts:
            return state
        return changed(
            state, alerts={**state.alerts, fingerprint: replace(state.alerts[fingerprint], firing=firing)}
        )

    return reducer


def drill_overtaken(state: Incident, _: Event) -> Incident:
    """Let a drill be a real incident."""
    return changed(state, drill="")
