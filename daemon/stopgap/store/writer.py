"""Writer: the one thread that writes, and its group commit.

It drains the queue, works off one operation after the other in one transaction, commits once, and answers all. Neighbouring
receptions share one pass. When a batch fails, all its callers hear StoreError, the connection is thrown away, and the next batch
begins anew; while the store is ill, the writer itself tries every second whether it can write again.
"""

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from stopgap.errors import StoreError
from stopgap.journal import Line, Sighting, check_texts
from stopgap.store.batch import Batch
from stopgap.store.database import Database, reason
from stopgap.store.delivery import Delivery, Parcel
from stopgap.store.receiving import receive
from stopgap.store.rows import encode
from stopgap.store.tenure import Deposed, Tenure

log = structlog.get_logger(__name__)

BATCH = 500  # operations
PASS = 500  # sightings that share one pass
WORK = 0.02  # seconds before a batch commits what it has
AILING = 1.0  # seconds between two tries to write again


@dataclass(slots=True)
class Job:
    """One operation that waits for the writer: either work on a batch, or sightings."""

    future: asyncio.Future[Any]
    work: Callable[[Batch], Any] | None = None
    sightings: Sequence[Sighting] = ()
    answer: Any = None


class Writer:
    """Owns the writing connection and the thread. `healthy` tells whether the last commit reached the disk, `error` why not."""

    def __init__(
        self, database: Database, delivery: Delivery, limit: int, fallen: Callable[[], None] = lambda: None
    ) -> None:
        self.healthy = True
        self.error = ""
        self._deposed = False  # nothing is written any more: the daemon begins anew
        self._database = database
        self._tenure = database.tenure
        self._fallen = fallen  # told by the writer's thread
        self._delivery = delivery
        self._limit = limit
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._pending: deque[Job] = deque()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="stopgap journal", daemon=True)
        self._closing = False

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    @property
    def queue_length(self) -> int:
        """Return how many operations wait."""
        return self._queue.qsize() + len(self._pending)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue operations, all or none. Raises StoreError at once when there is no room."""
        if self._closing:
            raise StoreError("the journal is closed")
        if self.queue_length + len(jobs) > self._limit:
            raise StoreError(
                f"the journal's queue is full ({self._limit} operations): the disk does not keep up"
            )
        for job in jobs:
            self._queue.put(job)

    def stop(self) -> None:
        """Work off what is queued, then end. Blocks: not for the event loop."""
        self._closing = True
        self._queue.put(None)
        self._thread.join()

    # --- the thread ---

    def _run(self) -> None:
        while self._fill():
            if self._pending:
                self._commit()
            elif not self.healthy or self._tenure is not None:
                self._prove()
        if self._tenure is not None:
            self._resign(self._tenure)
        self._hang_up()

    @property
    def _longest_wait(self) -> float | None:
        """Return for how many seconds the queue may be waited on: a store that is ill is tried, a lease is renewed."""
        if not self.healthy:
            return AILING
        return None if self._tenure is None else self._tenure.renews_within

    def _fill(self) -> bool:
        """Take what is queued, waiting for the first; False at the end."""
        try:
            wait = not self._pending
            while len(self._pending) < BATCH:
                job = self._queue.get(block=wait, timeout=self._longest_wait)
                if job is None:
                    if self._pending:
                        self._queue.put(None)  # first the rest
                    return bool(self._pending)
                self._pending.append(job)
                wait = False
        except queue.Empty:
            pass
        return True

    def _commit(self) -> None:
        began = time.perf_counter()
        taken: list[Job] = []
        lines: Sequence[Line] = ()
        seconds = 0.0
        try:
            with self._transaction() as connection:
                batch = Batch(connection)
                while self._pending and (not taken or time.perf_counter() - began < WORK):
                    self._work(batch, taken)
                if batch.written:
                    seconds = self._end(batch)
                elif self._tenure is None:
                    connection.rollback()
                else:
                    self._finish(connection)
            lines = batch.lines
        except Exception as error:  # noqa: BLE001 - border: batch; nothing of it is on disk, and all callers must hear that
            seconds = 0.0
            if not taken:  # not even begun
                taken, self._pending = list(self._pending), deque()
            self._fail(error)
            for job in taken:
                job.answer = StoreError(self.error)
        self._delivery.send(Parcel(lines, [(job.future, job.answer) for job in taken], seconds))

    def _work(self, batch: Batch, taken: list[Job]) -> None:
        """Do one operation, or one pass of neighbouring receptions."""
        job = self._pending.popleft()
        taken.append(job)
        if job.work is not None:
            job.answer = job.work(batch)
            return
        together = _storable(job)
        while self._pending and self._pending[0].work is None and len(together) < PASS:
            job = self._pending.popleft()
            taken.append(job)
            together += _storable(job)
        receive(batch, together)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Begin one, and prove that nobody else may."""
        if self._deposed:
            raise Deposed("this daemon does not lead any more")
        if self._connection is None:
            self._connection = self._database.writing.connect()
        with self._database.watched(self._connection):
            self._connection.begin()
            if self._tenure is not None:
                self._tenure.enter(self._connection)
            yield self._connection

    def _end(self, batch: Batch) -> float:
        batch.flush()
        began = time.perf_counter()
        self._finish(batch.connection)
        return time.perf_counter() - began

    def _finish(self, connection: Connection) -> None:
        """Commit. A database that is shared is behind a network: an answer that is lost leaves open what is on its disk."""
        if self._tenure is None:
            connection.commit()
        else:
            try:
                connection.commit()
            except Exception as error:  # border: batch. Nobody knows what is on disk, whatever it is
                told = f"nobody can tell whether the last commit is on disk: {reason(error)}"
                raise Deposed(told) from error
            self._tenure.committed()
        self._recover()

    def _prove(self) -> None:
        """Write without being asked: to see whether that works again, and to renew the lease."""
        try:
            with self._transaction() as connection:
                self._database.prove_writable(connection)
                self._finish(connection)
        except (SQLAlchemyError, StoreError) as error:
            self._fail(error)

    def _resign(self, tenure: Tenure) -> None:
        """Let another daemon lead at once, if this one still does."""
        with suppress(SQLAlchemyError, StoreError), self._transaction() as connection:
            tenure.resign(connection)
            connection.commit()

    def _recover(self) -> None:
        if not self.healthy:
            log.info("journal_recovered")
        self.healthy, self.error = True, ""

    def _fail(self, error: Exception) -> None:
        if isinstance(error, Deposed) and self._tenure is not None:
            self._tenure.drop()
            self._deposed = True
            self._fallen()
        known = isinstance(error, SQLAlchemyError | StoreError)
        text = f"the journal cannot be written: {reason(error)}"
        if text != self.error:
            log.error("journal_fault", why=text, exc_info=None if known else error)
        self.healthy, self.error = False, text
        self._hang_up()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.invalidate()
            with suppress(SQLAlchemyError):
                connection.close()


def _storable(job: Job) -> list[Sighting]:
    """Return a job's sightings, or none and a fault for its caller when they hold what no column can."""
    try:
        for s in job.sightings:
            encode((s.alert, s.flaw))
            check_texts(s.rule, s.version, s.target, s.severity, s.mode, s.fingerprint)
    except (TypeError, ValueError) as fault:
        job.answer = fault
        return []
    return list(job.sightings)
