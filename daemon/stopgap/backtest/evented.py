"""Evented: the history in files of JSON lines: Alertmanager's event recorder, or bodies of its webhook, one a line.

The event recorder (Alertmanager 0.33 and later, `--enable-feature=event-recorder`) writes one protojson object per event:
`@timestamp`, and `data` with one kind of event in it. Labels are a list of pairs in its first form and a table in its second; both
are read. Of the kinds, those that say of an alert whether it fires are used. What is no event of an alert is passed over, a line
that is not JSON is counted; several files, as several Alertmanagers or a rotation write them, are merged by time.
"""

import gzip
import heapq
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from stopgap.alert import Alert, BadAlert, read_alert
from stopgap.backtest.history import Episodes, HistoryError, Period, Progress, Transition, alert_of, over
from stopgap.endpoint import instant

LONGEST = 64 * 1024 * 1024  # bytes of one line: Stopgap's own limit of a notification
EVERY = 2000  # lines between two words of progress
FIRING = {"alertCreated": ("alert",), "alertGrouped": ("alert",), "notification": ("firingAlerts", "alerts")}
OVER = {"alertResolved": ("alert",), "notification": ("resolvedAlerts",)}


class Report(NamedTuple):
    """What one line says of one alert, and when."""

    at: datetime
    alert: Alert


@dataclass(slots=True)
class _Count:
    lines: int = 0
    events: int = 0
    broken: int = 0
    alerts: int = 0


class Evented:
    """The events in some files; each is read once, line by line."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        self._files = files
        self._count = _Count()

    @property
    def name(self) -> str:
        """What it is, in a line without secrets."""
        return ", ".join(map(str, self._files))

    @property
    def caveats(self) -> tuple[str, ...]:
        """What it cannot know or did not understand."""
        counted = self._count.broken
        broken = f"{counted} of {self._count.lines} lines are not JSON or tell of an alert in an unknown way: passed over"
        return ("silences and inhibitions are not looked at", *((broken,) if counted else ()))

    async def transitions(self, period: Period, progress: Progress) -> AsyncIterator[Transition]:
        """Yield what happened in a period. Raises HistoryError."""
        episodes = Episodes(period)
        merged = heapq.merge(*(self._reports(path, period.until) for path in self._files), key=_when)
        for number, report in enumerate(merged):
            if number % EVERY == 0:
                progress(period.share(report.at))
            alert = report.alert
            told = (
                episodes.fires(alert, report.at)
                if alert.firing
                else episodes.ends(alert.fingerprint, report.at)
            )
            for transition in told:
                yield transition
        if self._count.lines and not self._count.events:
            raise HistoryError(
                f"{self.name}: none of {self._count.lines} lines is an event of Alertmanager's recorder or a body of its webhook"
            )
        for transition in episodes.reach(period.until):
            yield transition

    def _reports(self, path: Path, until: datetime) -> Iterator[Report]:
        """Go through one file; what stands there too late counts as told with what comes before it.

        What is of after the period is left out and hides nothing behind it: one clock that was wrong must not end the history.
        """
        now = datetime.min.replace(tzinfo=UTC)
        for line in _lines(path):
            self._count.lines += 1
            for report in self._read(line):
                if report.at > until:
                    continue
                now = max(now, report.at)
                yield report._replace(at=now)

    def _read(self, line: bytes) -> Iterator[Report]:
        try:
            told = orjson.loads(line)
            found = list(_bodies(told) if "alerts" in told else _events(told))
        except (ValueError, KeyError, TypeError, AttributeError):
            self._count.broken += 1
            return
        self._count.events += bool(found) or "data" in told
        yield from found


def _when(report: Report) -> datetime:
    return report.at


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(LONGEST):
                if line.strip():
                    yield line
    except (OSError, EOFError, zlib.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise HistoryError(f"{path} cannot be read: {why}") from None


# --- the event recorder ---


def _events(told: Mapping[str, Any]) -> Iterator[Report]:
    """Go through what one event says. Raises ValueError, KeyError, TypeError or AttributeError for one that is none."""
    at = instant(told["@timestamp"])
    for kind, event in told["data"].items():
        for fields, firing in ((FIRING.get(kind, ()), True), (OVER.get(kind, ()), False)):
            for name in fields:
                for one in _listed(event.get(name)):
                    alert = _alert(one, at, firing=firing)
                    if alert is not None:
                        yield Report(at, alert)


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [] if given is None else [given]


def _alert(told: Mapping[str, Any], at: datetime, *, firing: bool) -> Alert | None:
    """Return the alert of an event; None where only its hash is given, or what it says of itself is something else."""
    one = told.get("details", told)
    labels = _pairs(one.get("labels"))
    if not labels or bool(one.get("resolved")) is firing:
        return None
    alert = alert_of(labels, _pairs(one.get("annotations")), at)
    return alert if firing else over(alert, at)


def _pairs(told: Any) -> dict[str, str]:
    """Read labels: a table, or `{"labels": [{"key": …, "value": …}]}`; a value that is empty is left out by protojson."""
    if told is None:
        return {}
    listed = told.get("labels")
    if isinstance(listed, list):
        return {str(pair["key"]): str(pair.get("value", "")) for pair in listed if pair.get("value")}
    return {str(name): str(value) for name, value in told.items() if value}


# --- bodies of the webhook ---


def _bodies(told: Mapping[str, Any]) -> Iterator[Report]:
    """Go through the alerts of one notification; it does not say when it was sent, its alerts say when they began and ended."""
    for raw in told["alerts"]:
        alert = read_alert(raw)
        if isinstance(alert, BadAlert):
            raise ValueError(alert)  # noqa: TRY004 - what is wrong with its value
        yield Report(alert.starts_at if alert.firing else alert.ends_at or alert.starts_at, alert)
