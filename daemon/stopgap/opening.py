"""Opening: what a sighting becomes in a timeline, and what a new incident takes over from the one before.

Pure; the in-memory journal of the tests builds its events with the same functions.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stopgap.alert import DRILL
from stopgap.incident import Event, EventKind
from stopgap.journal import Sighting

FLAPS_COUNT_FOR = timedelta(hours=6)
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base32
LETTERS = bytes(ord(ALPHABET[byte % 32]) for byte in range(256))
SUFFIX = 6


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A closed incident of the same rule and target whose mitigation held and was taken back."""

    id: str
    opened_at: datetime
    reverted_at: datetime
    helped: str  # the name of the rung that held
    flaps: int
    used: tuple[str, ...] = ()  # rungs that must not run again along the chain of flaps
    drill: str = ""


def identifier(at: datetime) -> str:
    """Return a new `INC-YYYYMMDD-HHMMSS-xxxxxx`; random, so the caller must see that it is new."""
    drawn = secrets.token_bytes(SUFFIX).translate(LETTERS).decode()
    second = f"{at.year:04}{at.month:02}{at.day:02}-{at.hour:02}{at.minute:02}{at.second:02}"  # strftime takes longer
    return f"INC-{second}-{drawn}"


def followed(sighting: Sighting, candidate: Predecessor | None) -> Predecessor | None:
    """Return the incident that a new one would follow: one taken back at most a flap window ago. A drill is no link of a chain."""
    if candidate is None or candidate.reverted_at < sighting.at - sighting.flap_window:
        return None
    if candidate.drill or drill_of(sighting):
        return None
    return candidate


def drill_of(sighting: Sighting) -> str:
    """Return the name of the drill whose alert this is, or "" for a real one."""
    labels = sighting.alert.get("labels")
    return str(labels.get(DRILL, "")) if isinstance(labels, dict) else ""


def flaps(sighting: Sighting, follows: Predecessor | None) -> int:
    """Return which flap in a row a new incident is; 0 for none, 1 again after six hours."""
    if follows is None:
        return 0
    return follows.flaps + 1 if sighting.at - follows.opened_at < FLAPS_COUNT_FOR else 1


def first_rung(sighting: Sighting, follows: Predecessor | None) -> int:
    """Return at which rung a new incident starts: 0 where the ladder has lost the rung that held."""
    return sighting.flap_from.get(follows.helped, 0) if follows is not None else 0


def opened(sighting: Sighting, follows: Predecessor | None) -> Event:
    """Return the first event of a new incident."""
    detail: dict[str, Any] = {
        "rule": sighting.rule,
        "version": sighting.version,
        "target": sighting.target,
        "severity": str(sighting.severity),
        "mode": str(sighting.mode),
    }
    if drill := drill_of(sighting):
        detail["drill"] = drill
    if sighting.because:
        detail["because"] = sighting.because
    if sighting.flaw:
        detail["flaw"] = str(sighting.flaw)
    if follows is not None:
        detail["follows"] = follows.id
        if follows.used:
            detail["used"] = sorted(follows.used)
    detail["flaps"] = flaps(sighting, follows)
    detail["rung"] = first_rung(sighting, follows)
    detail["alerts"] = {sighting.fingerprint: dict(sighting.alert)}
    return Event(EventKind.OPENED, sighting.at, detail | _told(sighting), 1)


def joined(sighting: Sighting) -> Event:
    """Return the event of an alert that joins a live incident."""
    detail = {"fingerprint": sighting.fingerprint, **sighting.alert, **_told(sighting)}
    return Event(EventKind.ALERT_JOINED, sighting.at, detail)


def resolved(sighting: Sighting) -> Event:
    """Return the event of an alert that is over."""
    detail = {"fingerprint": sighting.fingerprint, **_told(sighting)}
    return Event(EventKind.ALERT_RESOLVED, sighting.at, detail)


def refired(sighting: Sighting) -> Event:
    """Return the event of an alert that was over and fires again."""
    detail = {"fingerprint": sighting.fingerprint, "starts_at": sighting.alert.get("starts_at", "")}
    return Event(EventKind.REFIRED, sighting.at, detail | _told(sighting))


def _told(sighting: Sighting) -> dict[str, str]:
    return {"by": sighting.by} if sighting.by else {}
