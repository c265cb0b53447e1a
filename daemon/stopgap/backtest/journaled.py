"""Journaled: the history that a Stopgap has in its own journal: when the alerts of its incidents fired and ended.

The database of a daemon, running or stopped, is only read: no lock is taken, nothing is migrated. It knows no alert that no rule
took then, and of an alert whose incident a person closed it does not know the end.
"""

import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from stopgap.alert import Alert
from stopgap.backtest.history import Episodes, HistoryError, Period, Progress, Transition, alert_of
from stopgap.store import DATABASE

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BUSY = 5.0  # seconds
EVERY = 2000  # rows between two words of progress
_ROWS = """
SELECT incident, at, kind, detail FROM journal
WHERE kind IN ('opened', 'alert_joined', 'refired', 'alert_resolved', 'closed') AND incident != 'control' AND at <= ?
ORDER BY at, kind = 'closed', incident, seq
"""  # the last, so that what fires on in a follower does not seem to end


@dataclass(slots=True)
class _Members:
    """The alerts of the live incidents, and which of them fire in how many."""

    alerts: dict[str, dict[str, Alert]] = field(default_factory=dict)  # of each incident, by fingerprint
    firing: dict[str, set[str]] = field(default_factory=dict)  # incidents, by fingerprint

    def fires(self, incident: str, alert: Alert) -> None:
        self.alerts.setdefault(incident, {})[alert.fingerprint] = alert
        self.firing.setdefault(alert.fingerprint, set()).add(incident)

    def ends(self, incident: str, print_: str) -> bool:
        """Take note that an alert is over in one incident; tell whether it is over in all."""
        where = self.firing.get(print_, set())
        where.discard(incident)
        if not where:
            self.firing.pop(print_, None)
        return not where

    def leave(self, incident: str) -> list[str]:
        """Forget a closed incident; returns which alerts of it nobody follows any more though they fired."""
        known = self.alerts.pop(incident, {})
        return [
            print_
            for print_ in known
            if incident in self.firing.get(print_, ()) and self.ends(incident, print_)
        ]


class Journaled:
    """The journal below the directory of one daemon."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lost = 0  # alerts whose end nobody wrote down

    @property
    def name(self) -> str:
        """What it is, in a line without secrets."""
        return f"the journal in {self._directory}"

    @property
    def caveats(self) -> tuple[str, ...]:
        """What it cannot know."""
        missing = "the journal knows only alerts that a rule took then"
        lost = f"of {self._lost} alerts the end was not written down, as their incident was closed: they end with it"
        return (missing, lost) if self._lost else (missing,)

    async def transitions(self, period: Period, progress: Progress) -> AsyncIterator[Transition]:
        """Yield what happened in a period. Raises HistoryError."""
        episodes, members = Episodes(period), _Members()
        try:
            for number, (incident, at, kind, detail) in enumerate(self._rows(period.until)):
                when = EPOCH + timedelta(microseconds=at)
                if number % EVERY == 0:
                    progress(period.share(when))
                for transition in self._said(members, episodes, when, (incident, kind, orjson.loads(detail))):
                    yield transition
        except (ValueError, KeyError, AttributeError, TypeError):
            raise HistoryError(f"the journal in {self._directory} holds a line that is none") from None
        for transition in episodes.reach(period.until):
            yield transition

    def _rows(self, until: datetime) -> Iterator[tuple[str, int, str, str]]:
        path = self._directory / DATABASE
        if not path.is_file():
            raise HistoryError(f"{self._directory} holds no {DATABASE}: it is not the directory of a daemon")
        try:
            with closing(_opened(path)) as connection:
                yield from connection.execute(_ROWS, ((until - EPOCH) // timedelta(microseconds=1),))
        except sqlite3.Error as error:
            raise HistoryError(
                f"{path} cannot be read ({error}): is it of this release, and may you read it?"
            ) from None

    def _said(
        self, members: _Members, episodes: Episodes, at: datetime, line: tuple[str, str, Mapping[str, Any]]
    ) -> Iterator[Transition]:
        """Yield what one line of a timeline changes."""
        incident, kind, detail = line
        if kind == "opened":
            for told in detail.get("alerts", {}).values():
                yield from _fires(members, episodes, incident, _alert(told, at))
        elif kind == "alert_joined":
            yield from _fires(members, episodes, incident, _alert(detail, at))
        elif kind == "refired":
            known = members.alerts.get(incident, {}).get(str(detail.get("fingerprint")))
            if known is not None:
                yield from _fires(
                    members, episodes, incident, alert_of(dict(known.labels), dict(known.annotations), at)
                )
        elif kind == "alert_resolved":
            print_ = str(detail.get("fingerprint"))
            if members.ends(incident, print_):
                yield from episodes.ends(print_, at)
        else:
            yield from self._closed(members, episodes, incident, at)

    def _closed(
        self, members: _Members, episodes: Episodes, incident: str, at: datetime
    ) -> Iterator[Transition]:
        for print_ in members.leave(incident):
            self._lost += 1
            yield from episodes.ends(print_, at)


def _opened(path: Path) -> sqlite3.Connection:
    """Open a database that somebody may be writing, and see to it that nothing is written; without a log nobody is."""
    stopped = not path.with_name(f"{path.name}-wal").exists()
    uri = f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if stopped else ''}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _fires(members: _Members, episodes: Episodes, incident: str, alert: Alert) -> Iterator[Transition]:
    members.fires(incident, alert)
    return episodes.fires(alert, alert.starts_at)


def _alert(told: Mapping[str, Any], at: datetime) -> Alert:
    labels = {str(name): str(value) for name, value in told["labels"].items()}
    annotations = {str(name): str(value) for name, value in told.get("annotations", {}).items()}
    return alert_of(labels, annotations, at)
