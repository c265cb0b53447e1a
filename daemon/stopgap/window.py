"""Window: a recurring span of a week in a place's own time (`Fri 16:00-24:00 Europe/Madrid`).

Spans are written in wall-clock time, so they move with daylight saving. A span that ends at or before its start goes on to the next
day; its days are those on which it starts.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, PlainSerializer

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY = timedelta(days=1)
AHEAD = 9  # days: a week, its borders, and the shift of a zone
_FORM = re.compile(
    r"(?:(?P<days>[A-Za-z,-]+) +)?(?P<start>\d\d?:\d\d)-(?P<end>\d\d?:\d\d)(?: +(?P<zone>\S+))?"
)
_CURE = "write it like `Fri 16:00-24:00 Europe/Madrid` or `Mon-Fri 22:00-06:00`"


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

    def spans(self, at: datetime) -> list[tuple[datetime, datetime]]:
        """Return its spans around an instant and over the week ahead, in order, as UTC."""
        first = at.astimezone(self.zone).date() - DAY
        found = []
        for day in (first + DAY * i for i in range(AHEAD + 1)):
            if day.weekday() in self.days:
                last = day if self.end > self.start else day + DAY
                found.append((self._instant(day, self.start), self._instant(last, self.end)))
        return found

    def _instant(self, day: date, minutes: int) -> datetime:
        """Return when a local clock shows so many minutes after midnight; one that daylight saving skips is the moment after."""
        day, minutes = (day + DAY, 0) if minutes == 24 * 60 else (day, minutes)
        local = datetime.combine(day, time(minutes // 60, minutes % 60), self.zone)
        return local.astimezone(UTC)

    def covers(self, at: datetime) -> bool:
        """Tell whether an instant lies in it: from its start, up to but not including its end."""
        return any(start <= at < end for start, end in self.spans(at))


def next_change(windows: Iterable[Window], at: datetime) -> list[datetime]:
    """Return the instants after `at`, in order, at which one of the windows begins or ends, for the week ahead."""
    borders = {border for window in windows for span in window.spans(at) for border in span}
    return sorted(border for border in borders if border > at)


def parse_window(text: object) -> Window:
    """Read `[DAYS] HH:MM-HH:MM [ZONE]`; without days every day, without a zone UTC. Raises ValueError with the cure."""
    if isinstance(text, Window):
        return text
    found = _FORM.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{str(text)[:64]!r} is no window: {_CURE}")
    start, end = _minutes(found["start"]), _minutes(found["end"])
    if start == 24 * 60:
        raise ValueError(f"{found['start']!r} cannot begin a window: write 00:00 of the next day")
    return Window(_days(found["days"]), start, end, _zone(found["zone"] or "UTC"), found[0])


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    count = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or count > 24 * 60:  # noqa: PLR2004 - a clock's minutes
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
    if text[:3].title() not in DAYS or len(text) != 3:  # noqa: PLR2004 - Mon, Tue, …
        raise ValueError(f"{text!r} is no day: write {' '.join(DAYS)}, as in Mon-Fri or Sat,Sun")
    return DAYS.index(text.title())


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name[:64]!r} is no time zone: write one such as Europe/Madrid or UTC") from None


WindowText = Annotated[Window, BeforeValidator(parse_window), PlainSerializer(str)]
"""A pydantic field type for windows."""
