"""Messages: what people read. Pure: an incident, what happened and whom it is for go in; a title and a body come out.

Whoever hears of an incident for the first time gets the wording `declaration`, then `update`, in the end `resolution`; a rule may
name another one, and a pack or a site may put its own in the place of these three. What asks for an approval has no wording:
neither its steps nor its link may be left out. What is no real incident says so in its first word.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from stopgap.audience import clock_words, early_end
from stopgap.duration import span
from stopgap.escalation import ENDS, EVERY, Due, calm, shadowed
from stopgap.incident import Answer, Event, EventKind as K, Incident, Phase, lease_end
from stopgap.inventory import goes_back, in_place, inventory, rung_name
from stopgap.rule import Rule
from stopgap.value import cheaply_made
from stopgap.wording import LONGEST_VALUE, Phrase, Slot, Wording, one_line

DECLARATION, UPDATE, RESOLUTION = "declaration", "update", "resolution"
EXERCISE = "This is a drill: its alert is made up, what is done about it is real."
REHEARSAL = "This is a drill in shadow: its alert is made up, and nothing is done."
LONGEST_TITLE, LONGEST_BODY = 200, 4000  # characters
MOST_UNDO = 4
LONGEST_WORDS, MOST_WORDS = 150, 10  # characters of one step, steps of one rung: the link must not be cut off


_IN_PLACE = ("{{ applied }}", "lease until {{ lease_end }}, take it back: {{ revert }}")
_WHERE = (
    "phase {{ phase }}, incident {{ incident.id }}",
    "alerts: {{ alerts }}",
    "runbook: {{ runbook_url }}",
)


def _wording(*lines: str) -> Wording:
    subject = "[{{ severity }}] {{ rule }} on {{ target | default('no target') }}: {{ event }}"
    return Wording(Phrase.parse(subject), Phrase.parse("\n".join(lines)))


WORDINGS: Mapping[str, Wording] = MappingProxyType(
    {
        DECLARATION: _wording(
            "{{ summary }}",
            "{{ details }}",
            *_IN_PLACE,
            *_WHERE,
        ),
        UPDATE: _wording(
            "{{ details }}",
            *_IN_PLACE,
            "{{ summary }}",
            "open for {{ since }}, phase {{ phase }}, incident {{ incident.id }}",
            "acknowledged by {{ acknowledged_by }}",
            "next update: {{ next_update_at }}",
            "alerts: {{ alerts }}",
            "runbook: {{ runbook_url }}",
        ),
        RESOLUTION: _wording(
            "{{ summary }}",
            "{{ details }}",
            "outcome: {{ outcome }}",
            "opened: {{ opened_at }}",
            "mitigated: {{ mitigated_at }}",
            "closed: {{ closed_at }}",
            "incident {{ incident.id }}, after {{ since }}",
        ),
    }
)
"""What is said where neither the rule nor its pack nor the site says otherwise."""


@cheaply_made
@dataclass(frozen=True, slots=True)
class Occasion:
    """What one message is about. `event` is None for a clock; `state` is the incident after the event, or now; `heard`: before."""

    rule: Rule
    state: Incident
    due: Due
    now: datetime
    event: Event | None = None
    heard: bool = False


def compose(about: Occasion, link: str = "") -> tuple[str, str]:
    """Return title and body of a message. A `link` answers a request for approval."""
    if about.event is not None and about.event.kind is K.STORM_BEGAN:
        return _storm(about.event)
    if about.event is not None and about.event.kind is K.APPROVAL_REQUESTED:
        title, body = _filled(WORDINGS[DECLARATION].subject, about), _request(about, about.event, link)
    else:
        wording = _wording_of(about)
        title = _filled(wording.subject, about) or _filled(WORDINGS[DECLARATION].subject, about)
        body = _filled(wording.body, about)
    if about.state.drill:
        body = f"{REHEARSAL if shadowed(about.state) else EXERCISE}\n{body}"
    return f"{_mark(about.state)}{one_line(title)}"[:LONGEST_TITLE], body[:LONGEST_BODY]


def _mark(state: Incident) -> str:
    """Return the first words of what is no real incident."""
    drill = f"[DRILL {one_line(state.drill)}] " if state.drill else ""
    return drill + ("[SHADOW] " if shadowed(state) else "")


def _wording_of(about: Occasion) -> Wording:
    entry = about.rule.escalate[about.due.entry] if about.due.entry is not None else None
    ends = about.due.when in ENDS and not _early(about)
    usual = RESOLUTION if ends else UPDATE if about.heard or about.due.clock else DECLARATION
    name = entry.message if entry is not None and entry.message else usual
    return about.rule.messages.get(name) or WORDINGS.get(name) or WORDINGS[usual]


def _filled(phrase: Phrase, about: Occasion) -> str:
    values = _values(about)
    maps: Mapping[str, Mapping[str, str]] = {
        "labels": about.state.labels,
        "annotations": about.state.annotations,
    }

    def value_of(slot: Slot) -> str:
        if slot.name in maps:
            return one_line(maps[slot.name].get(slot.key, ""))
        return values.get(slot.name, "")

    return phrase.filled(value_of)


# --- fields ---


def _values(about: Occasion) -> dict[str, str]:
    """Return the value of each field; all but `details` are one line."""
    rule, state = about.rule, about.state
    values = {
        "incident.id": state.id,
        "rule": rule.id,
        "target": state.target,
        "severity": rule.severity_names.get(state.severity, state.severity),
        "event": _event(about),
        "phase": state.phase.value,
        "outcome": (state.outcome or "").replace("_", " "),
        "summary": rule.summary,
        "runbook_url": rule.runbook_url,
        "alerts": ", ".join(sorted({a.labels.get("alertname", "?") for a in state.alerts.values()})),
        "since": span(_open_for(about)),
        "opened_at": _instant(state.opened_at),
        "mitigated_at": _instant(state.mitigated_at),
        "closed_at": _instant(state.closed_at),
        "acknowledged_by": state.acknowledged_by,
        "next_update_at": _instant(_next_update(about)),
    }
    longest = 2 * LONGEST_VALUE
    lines = {"details": _details(about), "applied": "\n".join(inventory(state))}
    return {name: one_line(value, longest) for name, value in (values | _held(about)).items()} | lines


def _held(about: Occasion) -> dict[str, str]:
    """Return what there is to say in a line of what is in place."""
    state = about.state
    rungs = ", ".join(rung_name(state, number) for number in in_place(state))
    if not state.held or goes_back(state) or state.phase is Phase.CLOSED:
        return {"rung": rungs}
    end = _instant(lease_end(state, about.rule.limits.max_hold))
    return {"rung": rungs, "lease_end": end, "revert": _command(state, "revert")}


def _command(state: Incident, order: str) -> str:
    """Write a command for which a person gives a reason."""
    return f'stopgap {order} {state.id} --why "…"'


def _event(about: Occasion) -> str:
    """Say in a few words what the message is about."""
    if about.event is None:
        return _lasting(about.state, span(_open_for(about)))
    if about.event.detail.get("by_hand"):
        return "needs a person"
    if about.event.kind is K.DRILL_OVERTAKEN:
        return "no drill any more, it fires in earnest"
    if _undecided(about.event) or _early(about):
        who = "alerts over before anybody" if _early(about) else "nobody"
        return f"{who} knows whether it helped"
    words = about.event.kind.replace("_", " ")
    if about.event.kind is K.NOTIFY_FAILED:
        return (
            f"{about.event.detail.get('contact', '')} could not be told ({_missed(about.rule, about.event)})"
        )
    return words


def _lasting(state: Incident, so_long: str) -> str:
    """Say how it stands when a clock rings."""
    if calm(state):
        return f"mitigated, open for {so_long}" if state.firing else f"alerts over, open for {so_long}"
    return f"not mitigated after {so_long}"


def _undecided(event: Event) -> bool:
    """Tell whether a rung is left in place, as its probes do not say whether it helped."""
    detail = event.detail
    return event.kind is K.RUNG_HELD and detail.get("verdict") == "unknown" and not detail.get("go_on")


def _early(about: Occasion) -> bool:
    """Tell whether its alerts are over before anything was known to help."""
    return about.event is not None and early_end(about.event, about.state)


def _stays(state: Incident) -> str:
    """Say for how long what was changed stays where its alerts were over so early."""
    if all(state.rungs[number].kept for number in state.held):
        return "what was changed stays in place: the rule keeps it"
    return "what was changed stays in place until the cause is proven gone, or a person takes it back"


def _missed(rule: Rule, event: Event) -> str:
    """Say what a contact was not told."""
    number = str(event.detail.get("clock", "")).split("/")[1:2]
    if number and number[0].isdecimal() and int(number[0]) < len(rule.escalate):
        return clock_words(rule.escalate[int(number[0])])
    return str(event.detail.get("when", "")).replace("_", " ")


def _details(about: Occasion) -> str:
    if about.event is None:
        reason = about.state.reason.replace("_", " ")
        return one_line(f"waits: {reason}" if reason and not about.state.handed_over else reason)
    detail = about.event.detail
    said = [str(detail[key]) for key in ("text", "why", "detail", "reason") if detail.get(key)]
    if _undecided(about.event):
        said.append("its probes have no answer; what was done stays, and they are asked again")
    said += [_stays(about.state)] if _early(about) else []
    said += _moot(about) if about.event.kind is K.CLOSED else []
    said += ["not verified: the rung asks no probe"] if detail.get("verified") is False else []
    said += _by_hand(about.state, detail.get("undo") or ())
    said += _ways_on(about) if about.event.kind is K.HANDED_OVER else []
    said += [f"then say: stopgap done {about.state.id}"] if detail.get("by_hand") else []
    return "\n".join(one_line(line, 2 * LONGEST_VALUE) for line in said[: 2 * MOST_WORDS])


def _moot(about: Occasion) -> list[str]:
    """Say that a request for approval is over; who hears of an end without an entry for it was asked."""
    asked = about.state.approval
    if asked is not None and asked.answer is Answer.APPROVED:
        return ["what was approved was not done: it is over without that"]
    waits = about.due.entry is None or (asked is not None and asked.answer is Answer.PENDING)
    return ["nobody needs to answer any more"] if waits else []


def _by_hand(state: Incident, undo: Sequence[str]) -> list[str]:
    """Say how to take back by hand; the whole of a long list stands in the report."""
    rest = len(undo) - MOST_UNDO
    said = [f"undo by hand: {one}" for one in undo[:MOST_UNDO]]
    return [*said, f"and {rest} more: stopgap report {state.id}"] if rest > 0 else said


def _ways_on(about: Occasion) -> list[str]:
    """Say what a person can do with what was handed over."""
    state = about.state
    held = [] if in_place(state) or not about.rule.ladder else ["nothing is in place"]
    may_try = about.rule.ladder and state.firing and not state.flaw and state.phase is not Phase.REVERTING
    again = [f"let it try again: {_command(state, 'retry')}"] if may_try else []
    return [*held, f"take it over: stopgap ack {state.id}", *again]


def _open_for(about: Occasion) -> timedelta:
    opened_at = about.state.opened_at or about.now
    end = about.event.at if about.event is not None else about.now
    return max(end - opened_at, timedelta())


def _next_update(about: Occasion) -> datetime | None:
    if about.due.entry is None or not about.due.clock.startswith(EVERY):
        return None
    every = about.rule.escalate[about.due.entry].every
    return about.now + every if every is not None else None


def _instant(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M UTC}" if at is not None else ""


# --- what has no wording ---


def _request(about: Occasion, event: Event, link: str) -> str:
    """Say what would be done, until when, and how to answer."""
    detail, state = event.detail, about.state
    said = (
        about.rule.summary[: 2 * LONGEST_WORDS],
        str(detail.get("text", ""))[: 2 * LONGEST_WORDS],
        f"it would do: {detail.get('name', '')}",
        *_listed(detail.get("steps", ())),
        "and then verify:" if detail.get("verify") else "and verify nothing",
        *_listed(detail.get("verify", ())),
        "to undo it:" if detail.get("undo") else "",
        *_listed(detail.get("undo", ())),
        f"answer until {_clock_time(detail.get('until', ''))}: no answer means no",
        f"look and answer here: {link}" if link else "",
        f"yes: stopgap approve {state.id}",
        f'no: stopgap deny {state.id} --why "…"',
    )
    place = Phrase.parse("\n".join(_WHERE))
    return "\n".join((*_lines(said), _filled(place, about)))


def _storm(event: Event) -> tuple[str, str]:
    """Return the one message about a storm."""
    detail = event.detail
    text = str(detail.get("text") or f"{detail.get('targets', 'many')} targets")
    rules = sorted(_counts(detail.get("rules")), key=lambda counted: -counted[1])
    body = (
        text,
        "New mitigations wait until it is calm; what is held stays held, and is taken back as ever.",
        *(f"{count} of {rule}" for rule, count in rules[:MOST_WORDS]),
        "such as:",
        *_listed(detail.get("examples", ())),
    )
    title = one_line(f"storm: {text.partition(' (')[0]}, new mitigations wait")
    return title[:LONGEST_TITLE], "\n".join(_lines(body))[:LONGEST_BODY]


def _counts(rules: Any) -> Iterable[tuple[str, int]]:
    return rules.items() if isinstance(rules, dict) else ()


def _lines(said: Iterable[str]) -> Iterator[str]:
    """Return what is said, each on one line: no value of an alert can forge the next one."""
    return (one_line(line, LONGEST_BODY) for line in said if line)


def _listed(words: Sequence[str]) -> tuple[str, ...]:
    """Return a bounded list, one line each."""
    rest = len(words) - MOST_WORDS
    lines = tuple(f"- {str(each)[:LONGEST_WORDS]}" for each in words[:MOST_WORDS])
    return (*lines, f"- and {rest} more") if rest > 0 else lines


def _clock_time(text: str) -> str:
    """Write an instant as people read it, in UTC."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%H:%M:%S} UTC" if text else "soon"
