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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from stopgap.errors import StoreError
from stopgap.journal import Line, Sighting
from stopgap.store.batch import Batch
from stopgap.store.delivery import Delivery, Parcel
from stopgap.store.dialect import prove_writable
from stopgap.store.receiving import receive
from stopgap.store.rows import encode

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

    def __init__(self, engine: Engine, delivery: Delivery, limit: int) -> None:
        self.healthy = True
        self.error = ""
        self._engine = engine
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
            elif not self.healthy:
                self._try_again()
        self._hang_up()

    def _fill(self) -> bool:
        """Take what is queued, waiting for the first; False at the end."""
        try:
            wait = not self._pending
            while len(self._pending) < BATCH:
                job = self._queue.get(block=wait, timeout=None if self.healthy else AILING)
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
            batch = Batch(self._begin())
            while self._pending and (not taken or time.perf_counter() - began < WORK):
                self._work(batch, taken)
            if batch.written:
                seconds = self._end(batch)
            else:
                batch.connection.rollback()
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

    def _begin(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        self._connection.begin()
        return self._connection

    def _end(self, batch: Batch) -> float:
        batch.flush()
        began = time.perf_counter()
        batch.connection.commit()
        self._recover()
        return time.perf_counter() - began

    def _try_again(self) -> None:
        try:
            connection = self._begin()
            prove_writable(connection)
            connection.commit()
        except SQLAlchemyError as error:
            self._fail(error)
        else:
            self._recover()

    def _recover(self) -> None:
        if not self.healthy:
            log.info("journal_recovered")
        self.healthy, self.error = True, ""

    def _fail(self, error: Exception) -> None:
        known = isinstance(error, SQLAlchemyError)
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


def reason(error: BaseException) -> str:
    """Return the database's own words: without the statement, and without what was to be written."""
    return str(error.orig) if isinstance(error, DBAPIError) else f"{type(error).__name__}: {error}"


def _storable(job: Job) -> list[Sighting]:
    """Return a job's sightings, or none and a fault for its caller when they hold what no column can."""
    try:
        for s in job.sightings:
            encode((s.alert, s.flaw))
            f"{s.rule}{s.version}{s.target}{s.severity}{s.mode}{s.fingerprint}".encode()
    except (TypeError, UnicodeError) as fault:
        job.answer = fault
        return []
    return list(job.sightings)
