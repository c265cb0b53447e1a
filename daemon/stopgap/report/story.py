"""Story: one incident with its timeline, read once, as every part of its report needs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import takewhile
from typing import NamedTuple

from stopgap.duration import span
from stopgap.facts import ref_of, rung_of
from stopgap.incident import AlertState, Event, EventKind as K, Incident, Outcome, Phase, Ref, Role, lease_end
from stopgap.report.markdown import brief, code, listed
from stopgap.rule import Rule
from stopgap.transitions import apply


class Seen(NamedTuple):
    """One line of the timeline: at which rung the ladder stood before it, and what held the incident back after it."""

    event: Event
    rung: int
    reason: str


@dataclass(frozen=True)
class Story:
    """One incident as it stands at `now`. `rule` is None when its version is not known any more."""

    state: Incident
    timeline: tuple[Event, ...]
    rule: Rule | None
    now: datetime
    followed_by: str = ""

    @cached_property
    def seen(self) -> tuple[Seen, ...]:
        """Return the timeline with what it came to, line by line."""
        state, lines = Incident(self.state.id), []
        for event in self.timeline:
            rung = state.rung
            state = apply(state, event)
            lines.append(Seen(event, rung, state.reason))
        return tuple(lines)

    def of(self, *kinds: K) -> list[Event]:
        """Return the lines of these kinds."""
        return [event for event in self.timeline if event.kind in kinds]

    def first(self, *kinds: K) -> Event | None:
        """Return the first line of these kinds."""
        return next((event for event in self.timeline if event.kind in kinds), None)

    def last(self, *kinds: K) -> Event | None:
        """Return the last line of these kinds."""
        return next((event for event in reversed(self.timeline) if event.kind in kinds), None)

    # --- where it stands ---

    @property
    def live(self) -> bool:
        """Tell whether the story goes on."""
        return self.state.phase is not Phase.CLOSED

    @property
    def shadow(self) -> bool:
        """Tell whether it was only watched: nothing was applied, and the mode is why."""
        state = self.state
        only_planned = state.mode == "shadow" or state.reason == "shadow" or state.outcome is Outcome.SHADOW
        return only_planned and not state.rungs

    @property
    def opened_at(self) -> datetime:
        """Return when it began for us."""
        return self.state.opened_at or (self.timeline[0].at if self.timeline else self.now)

    @property
    def until(self) -> datetime:
        """Return its end, or now."""
        return self.state.closed_at or self.now

    def since_opening(self, at: datetime) -> str:
        """Say how long after the opening an instant was."""
        return span(at - self.opened_at)

    @property
    def so_far(self) -> str:
        """Return the words that say of a duration that it goes on."""
        return " so far" if self.live else ""

    # --- what things are called ---

    def rung_name(self, number: int) -> str:
        """Return what a rung is called, as it was when it began."""
        return self._names.get(number) or self._name_of(number)

    def _name_of(self, number: int) -> str:
        ladder = self.rule.ladder if self.rule is not None else ()
        return brief(ladder[number].name) if 0 <= number < len(ladder) else f"rung {number + 1}"

    @cached_property
    def _names(self) -> dict[int, str]:
        return {
            rung_of(event): brief(event.detail["name"]) for event in self.timeline if _names_a_rung(event)
        }

    def said_at(self, failure: Event) -> list[str]:
        """Return what the unhealthy probes of a rung said last before it was given up."""
        said: dict[str, str] = {}
        for event, rung, _ in takewhile(lambda seen: seen.event is not failure, self.seen):
            probe, role = str(event.detail.get("probe", "")), event.detail.get("role")
            if role == "verify" and rung == rung_of(failure):
                said.pop(probe, None)
                if event.kind is K.PROBE_UNHEALTHY:
                    said[probe] = str(event.detail.get("why", ""))
        return [code(why) for why in said.values() if why]

    @cached_property
    def in_place(self) -> list[tuple[int, datetime, datetime | None]]:
        """Return which rung was in place from when to when (None: it still is), of those that can be taken back."""
        spells: dict[int, tuple[datetime, datetime | None]] = {}
        for event in self.timeline:
            if event.kind is K.RUNG_STARTED and event.detail.get("resources"):
                spells[rung_of(event)] = event.at, None
            if event.kind is K.REVERTED:
                back = [number for number in event.detail.get("rungs", ()) if number in spells]
                spells |= {number: (spells[number][0], event.at) for number in back}
        return [(number, began, over) for number, (began, over) in spells.items()]

    def step_text(self, ref: Ref) -> str:
        """Return what a step does, in words, whatever it is run for; empty when no line says so."""
        role = {Role.REVERT: Role.DO, Role.REACTIVATE: Role.ACTIVATE}.get(ref.role, ref.role)
        return self._texts.get(Ref(ref.rung, role, ref.step), "")

    @cached_property
    def _texts(self) -> dict[Ref, str]:
        texts: dict[Ref, str] = {}
        for event in self.of(K.RUNG_STARTED):
            number, do = rung_of(event), int(event.detail.get("do", 0))
            for i, text in enumerate(event.detail.get("steps", ())):
                role, place = (Role.DO, i) if i < do else (Role.ACTIVATE, i - do)
                texts[Ref(number, role, place)] = str(text)
        for event in self.of(K.STEP_STARTED):
            if event.detail.get("text") and ref_of(event).role in (Role.DO, Role.ACTIVATE):
                texts[ref_of(event)] = str(event.detail["text"])
        return texts

    @property
    def alerts(self) -> str:
        """Name the alerts in a sentence."""
        names = sorted({alert_name(alert) for alert in self.state.alerts.values()})
        if not names:
            return "an alert"
        many = len(self.state.alerts)
        said = listed([brief(name) for name in names])
        return f"{said} ({many} alerts)" if many > len(names) else said

    @property
    def told(self) -> tuple[str, ...]:
        """Return the contacts that heard of it."""
        return tuple(dict.fromkeys(str(e.detail.get("contact", "")) for e in self.of(K.NOTIFIED)))

    @property
    def lease_end(self) -> datetime | None:
        """Return when the lease of what is held ends, as far as that is known."""
        if self.rule is None:
            return self.state.lease_until if self.state.held and self.live else None
        return lease_end(self.state, self.rule.limits.max_hold)

    @property
    def lease_words(self) -> str:
        """Return the words before the end of the lease."""
        end = self.lease_end
        return "its lease ended at" if end is not None and end <= self.now else "its lease ends at"

    @property
    def short(self) -> str:
        """Return the part of the id that is enough on the command line."""
        return self.state.id.rpartition("-")[2] or self.state.id


def _names_a_rung(event: Event) -> bool:
    return "rung" in event.detail and bool(event.detail.get("name"))


def alert_name(alert: AlertState) -> str:
    """Return the name of an alert, or what comes nearest to one."""
    return alert.labels.get("alertname") or "an alert without a name"


def labels(of: Mapping[str, str]) -> str:
    """Write labels as Prometheus does, without the alert's name."""
    return ", ".join(f'{name}="{value}"' for name, value in of.items() if name != "alertname")


# --- times and numbers ---


def instant(at: datetime) -> str:
    """Write an instant as RFC 3339 in UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}Z"


def exact(at: datetime) -> str:
    """Write an instant as RFC 3339 in UTC, to the millisecond, as the API does."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_instant(value: object) -> datetime | None:
    """Read an instant of a timeline's detail, None when it is none."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def moment(value: object) -> str:
    """Write an instant of a timeline's detail; what is none is shown as it is."""
    at = read_instant(value)
    return instant(at) if at is not None else code(value)


def took(event: Event) -> str:
    """Say how long an act took, as far as the line says."""
    value = event.detail.get("seconds")
    if not isinstance(value, int | float) or not 0 <= value < 1e9:  # noqa: PLR2004 - thirty years
        return ""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 10 else span(timedelta(seconds=value))  # noqa: PLR2004 - seconds
