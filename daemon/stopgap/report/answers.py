"""Answers: what the probes said, and when each changed its mind; an answer that repeats the last one is no line."""

from typing import NamedTuple

from stopgap.incident import Event, EventKind as K
from stopgap.report.markdown import code, items, table
from stopgap.report.story import Seen, Story, instant

PROBES = (K.PROBE_HEALTHY, K.PROBE_UNHEALTHY, K.PROBE_UNKNOWN)
QUESTIONS = {
    "precondition": "May {rung} begin?",
    "verify": "Did {rung} help?",
    "recheck": "Does {rung} still help?",
    "recovered": "Is the cause gone?",
}


class Place(NamedTuple):
    """Which question of which rung an answer belongs to; probes of the cause belong to none."""

    rung: int
    role: str


def answers(story: Story) -> str:
    """Write one table per question: each probe with its verdicts and values, in order."""
    places: dict[Place, list[Event]] = {}
    unproven: list[str] = []
    for seen in story.seen:
        if seen.event.kind not in PROBES:
            continue
        if seen.event.detail.get("probe"):
            places.setdefault(_place(seen), []).append(seen.event)
        else:
            unproven.append(f"Recovery could not be proven: {code(seen.event.detail.get('why', ''))}.")
    parts = [_part(story, place, events) for place, events in places.items()]
    parts += [items(unproven)] if unproven else []
    parts += [_planned(story)] if story.shadow else []
    return "\n\n".join(part for part in parts if part)


def _place(seen: Seen) -> Place:
    role = str(seen.event.detail.get("role") or str(seen.event.detail["probe"]).partition("/")[0])
    return Place(-1 if role == "recovered" else seen.rung, role)


def _part(story: Story, place: Place, events: list[Event]) -> str:
    question = QUESTIONS.get(place.role)
    asked = question.format(rung=story.rung_name(place.rung)) if question else f"{code(place.role)}:"
    rows = [
        (
            instant(event.at),
            code(event.detail["probe"]),
            event.kind.removeprefix("probe_"),
            code(event.detail.get("why") or "no value"),
        )
        for event in events
    ]
    return f"{asked}\n\n{table(('Since', 'Probe', 'Verdict', 'Value'), rows)}"


def _planned(story: Story) -> str:
    """Write what the probes of a shadow's plan answered when it was made."""
    event = story.last(K.SHADOW_PLANNED)
    said = event.detail.get("probes") if event is not None else None
    if not isinstance(said, dict) or not said:
        return ""
    rows = [(code(name), code(answer)) for name, answer in said.items()]
    return table(("Probe", "What it said when the plan was made"), rows)
