"""Window: a recurring span of a week in a place's own time (`Fri 16:00-24:00 Europe/Madrid`).

Spans are written in wall-clock time, so they move with daylight saving. A span that ends at or before its start goes on to the next
day; its days are those on which it starts. Where the clock is changed, a span is the shortest that holds every moment at which the
clock shows one of its times: it begins at the first of two equal times, ends with the second, and has no hour that is skipped.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
AHEAD = 9  # days: a week, its borders, and the shift of a zone
LONGEST = 200  # characters
_MIDNIGHT = 24 * 60
_FORM = re.compile(
    r"(?:(?P<days>[A-Za-z][A-Za-z, -]*?) +)?(?P<start>[0-9]{1,2}:[0-9]{2}) ?- ?(?P<end>[0-9]{1,2}:[0-9]{2})(?: +(?P<zone>\S+))?"
)
_CURE = "write it like `Fri 16:00-24:00 Europe/Madrid` or `Mon-Fri 22:00-06:00`"

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Window:
    """Some days of the week (0 is Monday), minutes from midnight, in one zone. `end` may be 1440; `end <= start` ends next day."""

    days: frozenset[int]
    start: int
    end: int
    zone: ZoneInfo
    text: str

    def __str__(self) -> str:
        return self.text

    def spans(self, at: datetime, ahead: int = AHEAD) -> Iterator[Span]:
        """Go through its spans around an instant and over the days ahead, in order, as UTC."""
        first = at.astimezone(self.zone).date() - DAY
        for day in (first + DAY * i for i in range(ahead + 1)):
            if day.weekday() in self.days:
                start, end = _span(self, day)
                if start < end:
                    yield start, end

    def covers(self, at: datetime) -> bool:
        """Tell whether an instant lies in it: from its start, up to but not including its end."""
        return any(start <= at < end for start, end in self.spans(at, 1))


def next_change(windows: Iterable[Window], at: datetime) -> list[datetime]:
    """Return the instants after `at`, in order, at which one of the windows begins or ends, for the week ahead."""
    borders = {border for window in windows for span in window.spans(at) for border in span}
    return sorted(border for border in borders if border > at)


@lru_cache(4096)
def _span(window: Window, day: date) -> Span:
    """Return the span that starts on a day; cached, because guards ask for the same few days again and again."""
    last = day if window.end > window.start else day + DAY
    return _first(_local(window, day, window.start)), _end(_local(window, last, window.end))


def _local(window: Window, day: date, minutes: int) -> datetime:
    midnight = datetime.combine(day, time(), window.zone)
    return midnight + timedelta(minutes=minutes)  # of the wall clock: no zone is asked


def _first(local: datetime) -> datetime:
    """Return when the clock first shows a time; where that is skipped, when it skips it."""
    before, after = local.replace(fold=0).astimezone(UTC), local.replace(fold=1).astimezone(UTC)
    return before if before <= after else _leap(local, after, before)


def _end(local: datetime) -> datetime:
    """Return when the clock has for the last time shown what comes before a time."""
    last = local - SECOND
    before, after = last.replace(fold=0).astimezone(UTC), last.replace(fold=1).astimezone(UTC)
    return after + SECOND if before <= after else _leap(local, after, before)


def _leap(local: datetime, low: datetime, high: datetime) -> datetime:
    """Return the second at which the clock skips ahead, somewhere after `low` and up to `high`."""
    offset = low.astimezone(local.tzinfo).utcoffset()
    while high - low > SECOND:
        middle = low + SECOND * ((high - low) // SECOND // 2)
        if middle.astimezone(local.tzinfo).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return high


def parse_window(text: object) -> Window:
    """Read `[DAYS] HH:MM-HH:MM [ZONE]`; without days every day, without a zone UTC. Raises ValueError with the cure."""
    if isinstance(text, Window):
        return text
    words = " ".join(text.split()) if isinstance(text, str) and len(text) <= LONGEST else ""
    found = _FORM.fullmatch(words)
    if found is None:
        raise ValueError(f"{str(text)[:64]!r} is no window: {_CURE}")
    start, end = _minutes(found["start"]), _minutes(found["end"])
    if start == _MIDNIGHT:
        raise ValueError(f"{found['start']!r} cannot begin a window: write 00:00 of the next day")
    return Window(_days(found["days"]), start, end, _zone(found["zone"] or "UTC"), words)


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    count = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or count > _MIDNIGHT:  # noqa: PLR2004 - a clock's minutes
        raise ValueError(f"{text!r} is no time of day: 00:00 to 24:00")
    return count


def _days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        start = _day(first)
        stop = _day(last) if dash else start
        days |= {day % 7 for day in range(start, stop + 1 if stop >= start else stop + 8)}
    return frozenset(days)


def _day(text: str) -> int:
    """Read a day's name, whole or its first three letters."""
    word = text.strip().title()
    found = [i for i, day in enumerate(DAYS) if word in {day, day[:3]}]
    if not found:
        raise ValueError(
            f"{text.strip()!r} is no day: write {' '.join(day[:3] for day in DAYS)}, as in Mon-Fri or Sat,Sun"
        )
    return found[0]


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name of a file, or a file that is no zone
        near = _zones().get(name.casefold())
        cure = f"did you mean {near}?" if near else "write one such as Europe/Madrid or UTC"
        raise ValueError(f"{name[:64]!r} is no time zone: {cure}") from None


@lru_cache(1)
def _zones() -> dict[str, str]:
    """Return all zones by what a person might write: any case, or the city alone."""
    names = sorted(available_timezones())
    return {name.rpartition("/")[2].casefold(): name for name in names} | {
        name.casefold(): name for name in names
    }


_WRITTEN = {
    "type": "string",
    "pattern": r"^\s*(?:[A-Za-z][A-Za-z,\s-]*?\s+)?[0-9]{1,2}:[0-9]{2}\s?-\s?[0-9]{1,2}:[0-9]{2}(?:\s+\S+)?\s*$",
    "patternErrorMessage": "a window is written like `Fri 16:00-24:00 Europe/Madrid` or `Mon-Fri 22:00-06:00`",
}
WindowText = Annotated[Window, BeforeValidator(parse_window), PlainSerializer(str), WithJsonSchema(_WRITTEN)]
"""A pydantic field type for windows."""
