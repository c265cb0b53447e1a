"""Tenure: which of the daemons on one database leads: the holder of the one row in `leader`, fenced by its epoch.

Every transaction of the leader's writer begins by renewing that row. This proves that nobody took over, and nobody does before the
commit: what one leader commits comes wholly before what the next one does. The lease ends by the database's clock. Whether an act
may begin is asked of this machine's own: counted from before the renewal was sent, it ends no later.

An act that is under way when the lease may not last (`lapsed`) must be cut off. A process that does not even do that, because it is
stopped or starved, is ended by the kernel before anybody else can lead (deadline.py): it acts no more when it wakes.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import BigInteger, Connection, cast, func, select

from stopgap.errors import StoreError
from stopgap.store import schema
from stopgap.store.deadline import CLOCK, Deadline

SAFETY = 0.8  # of the lease, on our clock: clocks run at different rates
FATAL = 0.9  # of the lease: whoever still acts is ended

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
        self._asked = 0.0  # when the last renewal was sent
        self._renewed = 0.0  # when the last one was sent that is on disk
        self._acts = 0  # under way
        self._acting = threading.Lock()
        self._deadline = Deadline()

    @property
    def assured(self) -> float:
        """Return for how many seconds it is certain that nobody else leads; 0 or less: it is not."""
        return self._renewed + self.ttl * SAFETY - now() if self.epoch > 0 else 0.0

    @property
    def leads(self) -> bool:
        """Tell whether it is certain that nobody else leads: an act may begin."""
        return self.assured > 0

    @property
    def lapsed(self) -> bool:
        """Tell whether an act is under way that must be cut off: somebody else may lead soon, and ask what became of it."""
        return self._acts > 0 and not self.leads

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Act, within the block, as long as nobody else leads. Raises StoreError when that is not certain."""
        with self._acting:
            if not self.leads:
                raise StoreError("it is not certain that no other daemon leads by now: nothing is begun")
            self._acts += 1
            self._put_off()
        try:
            yield
        finally:
            with self._acting:
                self._acts -= 1
                if not self._acts:
                    self._deadline.lift()

    def _put_off(self) -> None:
        self._deadline.put_off(self._renewed + self.ttl * FATAL)

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
        self._asked = now()
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
        self._asked = now()
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
        with self._acting:
            self._renewed = self._asked
            if self._acts:
                self._put_off()

    def resign(self, connection: Connection) -> None:
        """Let another daemon take over at once, inside a transaction."""
        mine = schema.leader.update().where(_leader.holder == self.holder, _leader.epoch == self.epoch)
        connection.execute(mine.values(until=0))
        self.drop()

    def drop(self) -> None:
        """Begin no act any more."""
        self.epoch = 0

    def close(self) -> None:
        """Lead no more."""
        self.drop()
        self._deadline.close()

    @property
    def _micros(self) -> int:
        return int(self.ttl * 1_000_000)


def now() -> float:
    """Return the seconds of a clock that nobody sets and that counts a suspended machine's sleep."""
    return time.clock_gettime(CLOCK)
