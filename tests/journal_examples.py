"""Journal examples: a clock that is set by hand, and short ways to write sightings and appends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.servers import Base

from stopgap.guard import Request
from stopgap.incident import Event, EventKind, Outcome
from stopgap.journal import Append, Closing, Journal, Line, Sighting
from stopgap.simulate.journal import MemoryJournal
from stopgap.store import join, open_store

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class HandClock:
    """A clock that stands until it is moved."""

    def __init__(self, start: datetime = START) -> None:
        self.at = start

    def now(self) -> datetime:
        return self.at

    def move(self, **by: float) -> datetime:
        self.at += timedelta(**by)
        return self.at


def sighting(clock: HandClock, fingerprint: str = "a", **changes: Any) -> Sighting:
    given: dict[str, Any] = {
        "rule": "pack/rule",
        "version": "v1",
        "target": "api",
        "severity": "P1",
        "mode": "auto",
        "fingerprint": fingerprint,
        "alert": {
            "labels": {"alertname": "Down", "instance": fingerprint},
            "annotations": {"summary": "<b>\u0000\n\u202e"},
            "starts_at": "2026-03-01T12:00:00Z",
        },
        "firing": True,
        "at": clock.now(),
    }
    return Sighting(**{**given, **changes})


def event(clock: HandClock, kind: EventKind, **detail: Any) -> Event:
    return Event(kind, clock.now(), detail)


def closing(clock: HandClock, incident: str, outcome: Outcome = Outcome.RECOVERED, **more: Any) -> Append:
    given: dict[str, Any] = {"outcome": outcome, "severity": "P1", "rung": 0, **more}
    ended = event(clock, EventKind.CLOSED, outcome=outcome)
    return Append(incident, (ended,), closing=Closing(**given))


def acting(clock: HandClock, incident: str, *take: str, **changes: Any) -> Append:
    """Return the append that begins a first rung: its events, and the request that takes the permit."""
    target = changes.pop("target", "api")
    given = {"rule": "pack/rule", "starts": True, "first": True, **changes}
    request = Request(incident, target=target, take=(f"target:{target}", *take), **given)
    kinds = (EventKind.PERMITTED, EventKind.RUNG_STARTED)
    return Append(incident, tuple(event(clock, kind, rung=0) for kind in kinds), request=request)


@asynccontextmanager
async def opened_journal(
    kind: str, directory: Path, clock: HandClock, shared: Base | None = None
) -> AsyncIterator[Journal]:
    """Open the journal that a contract test asks for: the store, in a file or in a shared database, or its twin in memory."""
    if kind == "memory":
        yield MemoryJournal(clock)
        return
    if shared is None:
        store = await open_store(directory / "stopgap", clock)
        yield store
        await store.close()
        return
    standby = await join(shared.url, 5.0, "", clock)
    yield await standby.elected()
    await standby.close()


def listen(journal: Journal) -> list[Line]:
    """Return the list that each committed line is added to."""
    lines: list[Line] = []
    journal.subscribe(lines.append)
    return lines


async def open_one(journal: Journal, clock: HandClock, fingerprint: str = "a", **changes: Any) -> str:
    """Open one incident and return its id."""
    known = set(await journal.live())
    await journal.receive([sighting(clock, fingerprint, **changes)])
    (incident,) = set(await journal.live()) - known
    return incident
