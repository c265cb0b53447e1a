"""Seen: what a play showed so far: incidents in the order in which they opened, their lines, and who was told what."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stopgap.audience import clock_words
from stopgap.duration import print_duration
from stopgap.incident import Event, EventKind as K, Incident
from stopgap.journal import CONTROL, Line
from stopgap.rule import Rule
from stopgap.simulate.play import Told

TEXTS = ("text", "name", "reason", "why", "outcome")
TITLES = {K.NOTIFIED: ("contact", "when"), K.NOTIFY_FAILED: ("contact", "why")}


@dataclass(slots=True)
class Seen:
    """An observer of a play."""

    states: dict[str, Incident] = field(default_factory=dict)
    lines: dict[str, list[Event]] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    rules: dict[str, Rule] = field(default_factory=dict)  # by id, as they were last loaded
    strays: dict[str, None] = field(default_factory=dict)  # why no rule takes an alert that fired

    def observe(self, line: Line, state: Incident) -> None:
        """Take note of a line."""
        known = self.states.get(line.incident)
        if line.incident != CONTROL and (known is None or state.seq >= known.seq):
            self.states[line.incident] = state
        self.lines.setdefault(line.incident, []).append(line.event)

    def chosen(self, rule: str | None, target: str | None, number: int | None) -> Incident | None:
        """Return the incident that is meant: the newest, or that of a number, of those that fit."""
        fit = [
            state
            for state in self.states.values()
            if (rule is None or rule in (state.rule, state.rule.partition("/")[2]))
            and target in (None, state.target)
        ]
        place = -1 if number is None else number - 1
        return fit[place] if fit and place < len(fit) else None

    def started(self, incident: str) -> tuple[str, ...]:
        """Return the words of the steps that began."""
        return tuple(
            str(event.detail["text"]) for event in self.lines[incident] if event.kind is K.STEP_STARTED
        )

    def heard(self, incident: str) -> dict[str, list[str]]:
        """Return, by contact, of what it was told, in the words of events and clocks."""
        found: dict[str, list[str]] = {}
        for one in self.told:
            if one.incident == incident:
                found.setdefault(one.due.contact, []).append(self.words(one))
        return found

    def words(self, one: Told) -> str:
        """Return what a message is about: an event, or a clock as its rule writes it."""
        rule = self.rules.get(one.rule)
        if (
            one.due.clock
            and one.due.entry is not None
            and rule is not None
            and one.due.entry < len(rule.escalate)
        ):
            return clock_words(rule.escalate[one.due.entry])
        return str(one.due.when)

    def story(self, start: datetime) -> list[str]:
        """Return the whole timeline, one line each, in the order of time."""
        names = {name: number for number, name in enumerate(self.states, 1)}
        several = len(names) > 1
        lines = [
            (event.at, names.get(name, 0), event) for name, events in self.lines.items() for event in events
        ]
        told = []
        for at, number, event in sorted(lines, key=lambda one: one[:2]):
            which = f"{number or '-'} " if several else ""
            told.append(_line(at - start, event, which))
        return told


def _line(at: timedelta, event: Event, which: str) -> str:
    detail = event.detail
    said = [str(detail[key]) for key in TITLES.get(event.kind, TEXTS) if detail.get(key)]
    if "probe" in detail:
        said.insert(0, str(detail["probe"]))
    return f"{clock(at):>9}  {which}{event.kind:<19} {': '.join(said)}".rstrip()


def clock(at: timedelta) -> str:
    """Write how long after the beginning something was, to a tenth of a second."""
    return print_duration(timedelta(seconds=round(at.total_seconds(), 1))) if at else "0s"
