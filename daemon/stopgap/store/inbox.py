"""Inbox: what daemons that do not lead have taken for the one that does: letters, each the alerts of one notification.

Whoever takes a notification answers once its letter is on disk. The leader throws a letter away after what it says is on disk too;
a crash in between lets it be read twice, which changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, func, select

from stopgap.errors import StoreError
from stopgap.store import schema
from stopgap.store.batch import Batch
from stopgap.store.rows import decode, encode, maybe_instant, micros

MOST = 20_000  # letters that may wait; then senders are told to keep theirs
TRIES = 5  # to read one
LARGE = 8 * 1024 * 1024  # bytes of letters that are fetched at once; one that is larger comes alone

_inbox = schema.inbox.c
_PUT = schema.inbox.insert()
_COUNT = select(func.count()).select_from(select(_inbox.number).limit(MOST).subquery())
_READABLE = _inbox.tries < TRIES
_NEWEST = select(func.max(_inbox.number)).where(_READABLE)
_FIRST = select(_inbox.at).where(_READABLE).order_by(_inbox.number).limit(1)
_WAITING = select(_NEWEST.scalar_subquery(), _FIRST.scalar_subquery())
_SIZES = (
    select(_inbox.number, func.octet_length(_inbox.said))
    .where(_READABLE, _inbox.number <= bindparam("newest"))
    .order_by(_inbox.number)
    .limit(bindparam("most", type_=Integer))
)
_OLDEST = (
    select(_inbox.number, _inbox.said)
    .where(_READABLE, _inbox.number <= bindparam("last"))
    .order_by(_inbox.number)
)
_THROW_AWAY = schema.inbox.delete().where(_inbox.number.in_(bindparam("some", expanding=True)))
_TRIED = (
    schema.inbox.update()
    .where(_inbox.number == bindparam("one"))
    .values(tries=_inbox.tries + 1)
    .returning(_inbox.tries)
)
_ANEW = schema.inbox.update().where(_inbox.tries >= TRIES).values(tries=0)


@dataclass(frozen=True, slots=True)
class Letter:
    """What one notification says: its alerts (`Alert.as_json`), whom it was sent to, and how many it left out."""

    receiver: str
    truncated: int
    alerts: Sequence[Mapping[str, Any]]
    number: int = 0  # given by the box


@dataclass(frozen=True, slots=True)
class Waiting:
    """The number of the letter that came last, 0 where there is none, and when the first one came."""

    newest: int = 0
    since: datetime | None = None


def put(connection: Connection, letter: Letter, at: datetime) -> None:
    """Leave a letter. Raises StoreError when too many wait."""
    if connection.execute(_COUNT).scalar_one() >= MOST:
        raise StoreError(f"{MOST} notifications wait for a daemon that leads: is none alive?")
    said = {"receiver": letter.receiver, "truncated": letter.truncated, "alerts": letter.alerts}
    connection.execute(_PUT, {"at": micros(at), "said": encode(said)})


def waiting(connection: Connection) -> Waiting:
    """Return what waits; it is asked ten times a second, and reads no letter."""
    newest, since = connection.execute(_WAITING).one()
    return Waiting(newest or 0, maybe_instant(since))


def letters(connection: Connection, most: int, newest: int) -> tuple[Letter, ...]:
    """Return the oldest, at most so many, and none that came after the newest."""
    sizes = connection.execute(_SIZES, {"most": most, "newest": newest}).all()
    if not sizes:
        return ()
    together = accumulate(size for _, size in sizes)
    last = max(
        number
        for (number, _), size in zip(sizes, together, strict=True)
        if size <= LARGE or number == sizes[0][0]
    )
    return tuple(
        _letter(number, decode(said)) for number, said in connection.execute(_OLDEST, {"last": last})
    )


def throw_away(batch: Batch, numbers: Sequence[int]) -> None:
    """Delete letters."""
    batch.connection.execute(_THROW_AWAY, {"some": list(numbers)})
    batch.written = True


def count(batch: Batch, number: int) -> bool:
    """Count a try that failed; tells whether it was the last one."""
    batch.written = True
    return int(batch.connection.execute(_TRIED, {"one": number}).scalar_one()) >= TRIES


def try_anew(batch: Batch) -> None:
    """Take up again what was given up: it may have been written by a newer release than that of the daemon that led then."""
    if batch.connection.execute(_ANEW).rowcount:
        batch.written = True


def _letter(number: int, said: Any) -> Letter:
    """Read one; what a newer release says beside is no concern of this one. Without alerts it is none, and its reader says so."""
    told = said if isinstance(said, dict) else {}
    alerts = told.get("alerts")
    return Letter(
        str(told.get("receiver", "")),
        told.get("truncated", 0),
        alerts if isinstance(alerts, list) else [said],
        number,
    )
