"""Tenure: which of the daemons on one database leads: the holder of the one row in `leader`, fenced by its epoch.

Every transaction of the leader's writer begins by renewing that row. This proves that nobody took over, and nobody does before the
commit: what one leader commits comes wholly before what the next one does. The lease ends by the database's clock. Whether an act
may begin is asked of this machine's own: counted from before the renewal was sent, it ends no later.
"""

import time
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import BigInteger, Connection, cast, func, select

from stopgap.errors import StoreError
from stopgap.store import schema

SAFETY = 0.8  # of the lease, on our clock: clocks run at different rates

_leader = schema.leader.c
_NOW = cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)
_FIND = select(_leader.holder, _leader.url, _leader.epoch, (_leader.until - _NOW).label("left"))


class Deposed(StoreError):  # noqa: N818 - named for what happened
    """Another daemon leads now, or nobody can tell what of the last commit is on disk: begin anew, as after a crash."""


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads: its id, and the URL under which it is reached, if it named one."""

    holder: str
    url: str
    epoch: int


class Tenure:
    """One daemon's part in it. Everything that takes a connection blocks, and belongs to the writer's thread or to the campaign."""

    def __init__(self, ttl: float, url: str = "") -> None:
        self.ttl = ttl
        self.holder = uuid4().hex
        self.epoch = 0
        self._url = url
        self._promised = 0.0
        self._assured = 0.0

    @property
    def leads(self) -> bool:
        """Tell whether it is certain that nobody else leads: an act may begin."""
        return self.epoch > 0 and now() < self._assured

    @property
    def renews_within(self) -> float:
        """Return after how many seconds an idle writer renews."""
        return self.ttl / 4

    @staticmethod
    def leader(connection: Connection) -> Leader | None:
        """Return who leads, None when nobody does at present."""
        holder, url, epoch, left = connection.execute(_FIND).one()
        return Leader(holder, url, epoch) if left > 0 else None

    def campaign(self, connection: Connection) -> bool:
        """Take the lead if nobody has it, inside a transaction. It counts once that is committed: `committed`."""
        if self.leader(connection) is not None:  # only looked at: nobody's renewal has to wait for us
            return False
        self._promised = now() + self.ttl * SAFETY
        taken = (
            schema.leader.update()
            .where(_leader.until < _NOW)
            .values(holder=self.holder, url=self._url, epoch=_leader.epoch + 1, until=_NOW + self._micros)
            .returning(_leader.epoch)
        )
        self.epoch = connection.execute(taken).scalar() or 0
        return self.epoch > 0

    def enter(self, connection: Connection) -> None:
        """Fence a transaction, and renew. Raises Deposed."""
        self._promised = now() + self.ttl * SAFETY
        renewed = (
            schema.leader.update()
            .where(_leader.holder == self.holder, _leader.epoch == self.epoch)
            .values(until=_NOW + self._micros)
        )
        if self.epoch == 0 or not connection.execute(renewed).rowcount:
            self.epoch = 0
            raise Deposed("this daemon does not lead: another one took over")

    def committed(self) -> None:
        """Count on what the transaction promised that was begun last: it is on disk."""
        self._assured = self._promised

    def resign(self, connection: Connection) -> None:
        """Let another daemon take over at once, inside a transaction."""
        mine = schema.leader.update().where(_leader.holder == self.holder, _leader.epoch == self.epoch)
        connection.execute(mine.values(until=0))
        self.drop()

    def drop(self) -> None:
        """Begin no act any more."""
        self.epoch, self._assured = 0, 0.0

    @property
    def _micros(self) -> int:
        return int(self.ttl * 1_000_000)


def now() -> float:
    """Return the seconds of a clock that nobody sets and that counts a suspended machine's sleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
