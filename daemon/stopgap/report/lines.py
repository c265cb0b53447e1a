"""Lines: the whole timeline as a table, one line per event, bounded in the middle.

A detail that has no words of its own is shown as it is, so that nothing of a line is lost.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stopgap.facts import ref_of, rung_of
from stopgap.incident import AlertState, Event, EventKind as K
from stopgap.report.applied import PURPOSE
from stopgap.report.markdown import code, listed, table, words
from stopgap.report.story import Story, alert_name, exact, labels, moment, read_instant, took

FIRST, LAST = 150, 100  # lines that are shown of a longer timeline
MOST_ITEMS = 20  # of one list

OURS = ("outcome", "cause", "reason", "verdict")
TEXTS = ("text", "why", "detail", "because")
INSTANTS = {"until": "until", "end": "ends", "retry_at": "again at"}
ABOUT = frozenset({"rung", "role", "step", "action", "name", "probe", "contact", "when", "fingerprint", "by"})
ELSEWHERE = frozenset(
    {"labels", "annotations", "alerts", "starts_at", "steps", "verify", "ladder", "resources", "undo"}
    | {"key", "n", "version", "used", "do", "activate", "reverts", "rungs", "on_resolve", "once", "flaps"}
    | {"go_on", "kind", "seconds", "verified", "changed", "looks", "request", "served", "of", "clock"}
)
"""Details that are said in other words, or in another part."""

STEPS = frozenset(
    {K.OBSERVED, K.STEP_STARTED, K.STEP_SUCCEEDED, K.STEP_FAILED, K.STEP_SKIPPED, K.STEP_UNKNOWN}
    | {K.STEP_REVERTED, K.REVERT_FAILED, K.DRIFTED}
)
WOULD = frozenset({K.APPROVAL_REQUESTED, K.SHADOW_PLANNED})

GLOSSES = {
    K.PERMITTED: "the guards allow it",
    K.RESOLVED: "all its alerts are over",
    K.BRAKE_RELEASED: "no brake stops it any more",
    K.DRILL_OVERTAKEN: "a real alert fires: it is a drill no more",
}


def lines(story: Story) -> str:
    """Write the timeline."""
    events = story.timeline
    left = len(events) - FIRST - LAST
    rows: list[Sequence[str]] = [_row(story, event) for event in (events if left <= 0 else events[:FIRST])]
    if left > 0:
        where = f"{code(f'stopgap incidents {story.short}')} shows them all"
        rows.append(("…", "…", f"{left} lines left out", where))
        rows += [_row(story, event) for event in events[-LAST:]]
    return table(("Time", "After", "Event", "Detail"), rows, len(rows))


def _row(story: Story, event: Event) -> tuple[str, str, str, str]:
    said = "; ".join((*_about(story, event), *_said(story, event), *_more(event)))
    return exact(event.at), story.since_opening(event.at), words(event.kind), said


# --- what a line is about ---


def _about(story: Story, event: Event) -> Iterator[str]:
    """Name its alerts, its step or its rung, its probe, its contact."""
    detail = event.detail
    if event.kind is K.OPENED:
        yield from _alerts(detail.get("alerts"))
    elif event.kind is K.ALERT_JOINED:
        yield _alert(detail)
    elif detail.get("fingerprint"):
        known = story.state.alerts.get(str(detail["fingerprint"]))
        yield _known(known) if known is not None else code(detail["fingerprint"])
    if event.kind in STEPS:
        yield _step(story, event)
    elif event.kind is not K.OPENED:
        yield from _rung(story, event)
    yield from (code(detail[key]) for key in ("probe", "contact") if detail.get(key))
    if detail.get("when"):
        yield f"about {words(detail['when'])}"


def _step(story: Story, event: Event) -> str:
    ref = ref_of(event)
    return f"{PURPOSE[ref.role]}: {code(story.step_text(ref) or event.detail.get('action') or ref)}"


def _rung(story: Story, event: Event) -> Iterator[str]:
    if event.detail.get("name"):
        yield code(event.detail["name"])
    elif "rung" in event.detail:
        yield story.rung_name(rung_of(event))


def _alerts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (_alert(one) for one in list(value.values())[:MOST_ITEMS])
        if len(value) > MOST_ITEMS:
            yield f"{len(value) - MOST_ITEMS} more alerts"


def _alert(detail: Any) -> str:
    found = detail.get("labels") if isinstance(detail, Mapping) else None
    if not isinstance(found, Mapping):
        return "an alert without labels"
    since = read_instant(detail.get("starts_at"))
    return _known(AlertState(found, {}, "")) + (f" since {exact(since)}" if since is not None else "")


def _known(alert: AlertState) -> str:
    more = labels(alert.labels)
    return f"{code(alert_name(alert))} {code('{' + more + '}')}" if more else code(alert_name(alert))


# --- what it says ---


def _said(story: Story, event: Event) -> Iterator[str]:
    detail = event.detail
    yield from (words(detail[key]) for key in OURS if detail.get(key))
    yield from (
        code(detail[key]) for key in TEXTS if detail.get(key) and not _says_the_step(story, event, key)
    )
    yield from (f"{said} {moment(detail[key])}" for key, said in INSTANTS.items() if detail.get(key))
    if event.kind in GLOSSES:
        yield GLOSSES[event.kind]
    if detail.get("verified") is False:
        yield "not verified"
    if took(event):
        yield took(event)
    if detail.get("by"):
        yield f"by {words(detail['by']) if event.kind in STEPS else code(detail['by'])}"


def _says_the_step(story: Story, event: Event, key: str) -> bool:
    """Tell whether a text only repeats what its step does."""
    said = story.step_text(ref_of(event)) if key == "text" and event.kind in STEPS else ""
    return bool(said) and said in str(event.detail["text"])


def _more(event: Event) -> Iterator[str]:
    """Say what else the line holds: its lists, and whatever has no words of its own."""
    detail = event.detail
    if detail.get("undo"):
        yield f"by hand: {_listed(detail['undo'])}"
    if event.kind in WOULD and detail.get("steps"):
        yield f"would do {_listed(detail['steps'])}"
    known = ABOUT.union(ELSEWHERE, OURS, TEXTS, INSTANTS)
    for key, value in detail.items():
        if key not in known and value not in (None, "", [], {}, 0):
            yield words(key) if value is True else f"{words(key)} {_listed(value)}"


def _listed(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{key}: {inner}" for key, inner in value.items()]
    return (
        listed([code(one) for one in value], MOST_ITEMS) if isinstance(value, list | tuple) else code(value)
    )
