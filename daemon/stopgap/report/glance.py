"""Glance: what an incident is about: its rule, its target, its place in a chain of flaps, and its alerts."""

from stopgap.incident import AlertState, Event, EventKind as K
from stopgap.report.markdown import brief, code, table, words
from stopgap.report.story import Story, alert_name, instant, labels, moment, read_instant

MOST = 20  # alerts
TELLING = ("summary", "description")  # annotations that say what is wrong


def glance(story: Story) -> str:
    """Say in a table what the incident is about."""
    state, rule = story.state, story.rule
    facts = [
        ("Severity", code(state.severity)),
        ("Target", code(state.target) if state.target else f"none: {code(state.flaw or 'unknown')}"),
        ("Rule", _rule(story)),
        ("Mode", code(state.mode) + (f": {code(state.because)}" if state.because else "")),
        ("Drill", f"{brief(state.drill)}: its alert is made up" if state.drill else ""),
        ("Standing", _standing(story)),
        ("Runbook", code(rule.runbook_url) if rule and rule.runbook_url else ""),
        *(
            (name.capitalize(), code(state.annotations[name]))
            for name in TELLING
            if name in state.annotations
        ),
        ("Follows", _follows(story)),
        ("Followed by", f"{code(story.followed_by)}: it fired again" if story.followed_by else ""),
    ]
    return table(("Incident", code(state.id)), [fact for fact in facts if fact[1]])


def _rule(story: Story) -> str:
    said = f"{code(story.state.rule or 'unknown')}, version {code(story.state.version or 'unknown')}"
    if story.rule is None:
        return f"{said} (no longer known; what follows is from the timeline alone)"
    return f"{said}: {code(story.rule.summary)}" if story.rule.summary else said


def _standing(story: Story) -> str:
    state = story.state
    said = f"live: {words(state.phase)}" if state.outcome is None else f"closed: {words(state.outcome)}"
    handed = f"{said}, handed over to a person" if state.handed_over else said
    return f"{handed}, acknowledged by {code(state.acknowledged_by)}" if state.acknowledged_by else handed


def _follows(story: Story) -> str:
    state = story.state
    if not state.follows:
        return ""
    return f"{code(state.follows)}: flap {state.flaps}, it fired again soon after that one was taken back"


def alerts(story: Story) -> str:
    """Say which alerts there were, each with its labels."""
    over = {str(e.detail.get("fingerprint")): e for e in story.of(K.ALERT_RESOLVED)}
    rows = [_alert(story, alert, over.get(print_)) for print_, alert in story.state.alerts.items()]
    return table(("Alert", "Since", "Until", "Labels"), rows, MOST) if rows else ""


def _alert(story: Story, alert: AlertState, over: Event | None) -> tuple[str, str, str, str]:
    since = moment(alert.starts_at) if read_instant(alert.starts_at) else "unknown"
    if alert.firing:
        until = "still firing" if story.live else "firing when it closed"
    else:
        until = instant(over.at) if over is not None else "unknown"
    return code(alert_name(alert)), since, until, code(labels(alert.labels)) if len(alert.labels) > 1 else ""
