"""Store: the Journal port on the database, and its life from open to close."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from stopgap.action import Json
from stopgap.brakes import brake_released
from stopgap.clock import Clock
from stopgap.errors import StoreError
from stopgap.guard import Refusal, Request
from stopgap.incident import Event
from stopgap.journal import Append, Conflict, Line, Sighting, Stored, Undo, check_texts
from stopgap.ledger import Brake, BrakeScope, Ledger
from stopgap.store import appending, brakes, dialect, inbox, meeting, reading, schema
from stopgap.store.batch import Batch
from stopgap.store.database import Database, reason
from stopgap.store.delivery import Delivery
from stopgap.store.inbox import Letter, Waiting
from stopgap.store.ledger import ledger
from stopgap.store.pruning import Pruning
from stopgap.store.rows import encode
from stopgap.store.sqlite import Sqlite
from stopgap.store.writer import PASS, Job, Writer

T = TypeVar("T")

log = structlog.get_logger(__name__)

QUEUE = 20_000  # operations
READERS = 4  # connections and threads

_REMEMBER = dialect.keep_first(schema.rule_version)


async def open_store(directory: Path, clock: Clock, *, queue: int = QUEUE) -> "Store":
    """Open the store in a directory of its own, with room for so many waiting operations. Raises StoreError."""
    database = await asyncio.to_thread(Sqlite, directory, READERS)
    with ExitStack() as undoing:
        undoing.callback(database.close)
        await asyncio.to_thread(database.make_ready)
        undoing.pop_all()
    return Store(database, clock, queue)


class Store:
    """The Journal on disk: of the one daemon that may write. Belongs to the event loop that made it."""

    def __init__(self, database: Database, clock: Clock, queue: int = QUEUE) -> None:
        self._clock = clock
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._delivery = Delivery(self._loop)
        self.deposed = asyncio.Event()  # another daemon leads now, or may: this one has to begin anew
        self._writer = Writer(database, self._delivery, queue, self._fall)
        self._reading: Engine = database.reading
        self._readers = ThreadPoolExecutor(READERS, "stopgap reader")
        self.pruning = Pruning(self._write, self._read, lambda: self.queue_length)
        self._closed = False
        self._writer.start()
        self._lease = self._loop.create_task(self._watch_lease(), name="lease")

    async def close(self) -> None:
        """Work off what waits, answer it, and give the directory up."""
        if self._closed:
            return
        self._closed = True
        self._lease.cancel()
        await asyncio.gather(self._lease, return_exceptions=True)
        await asyncio.to_thread(self._writer.stop)
        await self._delivery.emptied()
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self._database.close)

    # --- how it is ---

    @property
    def leads(self) -> bool:
        """Tell whether it is certain that no other daemon leads: an act may begin."""
        return self._database.tenure is None or self._database.tenure.leads

    @property
    def epoch(self) -> int:
        """Return how often the lead of a shared database was taken, this daemon's included; 0 where none is shared."""
        return self._database.tenure.epoch if self._database.tenure is not None else 0

    def acting(self) -> AbstractContextManager[None]:
        """Let an act be under way within the block. Raises StoreError when it is not certain that no other daemon leads."""
        tenure = self._database.tenure
        return nullcontext() if tenure is None else tenure.acting()

    async def _watch_lease(self) -> None:
        """Begin anew when the lease may end in the middle of an act: that is cut off before another daemon asks about it."""
        tenure = self._database.tenure
        if tenure is None:
            return
        while not tenure.lapsed:  # noqa: ASYNC110 - the instant moves with every commit
            await asyncio.sleep(max(tenure.assured, tenure.ttl / 50))
        log.error("lease_lapsed", why="it was not renewed in time: acts under way are cut off")
        self.deposed.set()

    def _fall(self) -> None:
        with suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self.deposed.set)

    @property
    def healthy(self) -> bool:
        """Tell whether what was last written reached the disk."""
        return self._writer.healthy

    @property
    def error(self) -> str:
        """Return why it is not healthy, empty when it is."""
        return self._writer.error

    @property
    def queue_length(self) -> int:
        """Return how many operations wait for the writer."""
        return self._writer.queue_length

    @property
    def on_batch(self) -> Callable[[int, float], None] | None:
        """Who is told of each commit, on the event loop: its operations, and its seconds to disk."""
        return self._delivery.on_batch

    @on_batch.setter
    def on_batch(self, observer: Callable[[int, float], None] | None) -> None:
        self._delivery.on_batch = observer

    def subscribe(self, observer: Callable[[Line], None]) -> None:
        """Call `observer` with each committed line, on the event loop."""
        self._delivery.observers.append(observer)

    # --- writing ---

    async def receive(self, sightings: Sequence[Sighting]) -> None:
        """Make what these alerts change durable; many are cut into passes, so that nobody waits for all of them."""
        if not sightings:
            return
        slices = [sightings[i : i + PASS] for i in range(0, len(sightings), PASS)]
        jobs = [Job(self._loop.create_future(), sightings=part) for part in slices]
        self._writer.submit(jobs)
        if len(jobs) == 1:
            await jobs[0].future
            return
        answers = await asyncio.gather(*(job.future for job in jobs), return_exceptions=True)
        for answer in answers:
            if answer is not None:
                raise answer

    async def append(self, append: Append) -> tuple[Event, ...] | Conflict | Refusal:
        """Append to one incident; returns the events with their seq."""
        prepared = appending.prepare(append, self._clock.now())
        return await self._write(lambda batch: appending.append(batch, prepared))

    async def remember(self, documents: Mapping[str, Json]) -> None:
        """Keep rule versions: digest to document."""
        rows = [{"version": version, "document": encode(document)} for version, document in documents.items()]
        self.pruning.loaded(documents)
        if rows:
            await self._write(lambda batch: _remember(batch, rows))

    async def meet(self, rules: Collection[str], at: datetime) -> Mapping[str, datetime]:
        """Take note of rules that were never loaded before; returns when each was loaded for the first time."""
        names = sorted(set(rules))
        check_texts(*names)
        return await self._write(lambda batch: meeting.meet(batch, names, at))

    async def control(self, event: Event) -> None:
        """Append to the pseudo-incident `control`."""
        encode(event.detail)
        await self._write(lambda batch: batch.control(event))

    async def brake(self, brake: Brake) -> None:
        """Put on a brake; one per scope and name, a second replaces the first."""
        check_texts(brake.name, brake.by, brake.why)
        await self._write(lambda batch: brakes.put_on(batch, brake))

    async def release(self, scope: BrakeScope, name: str, by: str, at: datetime, why: str = "") -> bool:
        """Take off a brake; False when there was none."""
        event = brake_released(scope, name, by, at, why)
        encode(event.detail)
        return await self._write(lambda batch: brakes.take_off(batch, event))

    async def _write(self, work: Callable[[Batch], T]) -> T:
        job = Job(self._loop.create_future(), work)
        self._writer.submit((job,))
        answer: T = await job.future
        return answer

    # --- what other daemons have taken ---

    async def letters_waiting(self) -> Waiting:
        """Return which letter came last, and since when the first one waits."""
        return await self._read(inbox.waiting)

    async def letters(self, most: int, newest: int) -> tuple[Letter, ...]:
        """Return the oldest letters, at most so many, and none that came after the newest."""
        return await self._read(inbox.letters, most, newest)

    async def answered(self, numbers: Sequence[int]) -> None:
        """Throw letters away: what they say is on disk."""
        await self._write(lambda batch: inbox.throw_away(batch, numbers))

    async def unreadable(self, number: int) -> bool:
        """Count one more try of a letter that cannot be read; True for the last one: it is left where it is."""
        return await self._write(lambda batch: inbox.count(batch, number))

    async def try_anew(self) -> None:
        """Take letters up again that a daemon of another release gave up."""
        await self._write(inbox.try_anew)

    # --- reading ---

    async def ledger(self, request: Request) -> Ledger:
        """Read what the guards need for a request."""
        return await self._read(ledger, request, self._clock.now())

    async def openings(self, since: datetime) -> tuple[tuple[str, datetime], ...]:
        """Return (target, opened_at) of all incidents opened since, oldest first; the last 100 000 of them."""
        return await self._read(reading.openings, since)

    async def live(self) -> Mapping[str, tuple[Event, ...]]:
        """Return the timelines of all incidents that are not closed, in the order in which they opened."""
        timelines: dict[str, tuple[Event, ...]] = {}
        page, after = await self._read(reading.live, 0)
        while page:
            timelines |= page
            page, after = await self._read(reading.live, after)
        return timelines

    async def served(self) -> frozenset[tuple[str, str]]:
        """Return the (rule, fingerprint) pairs whose repeats open nothing."""
        return await self._read(reading.served)

    async def closed(
        self, *, rule: str | None, target: str | None, before: str | None, limit: int
    ) -> tuple[Stored, ...]:
        """Return closed incidents, the last opened first, those that opened before the incident `before`."""
        return await self._read(reading.closed, rule, target, before, limit)

    async def timeline(self, incident: str) -> tuple[Event, ...]:
        """Return one timeline, of a live or closed incident or of `control`; empty when unknown."""
        return await self._read(reading.timeline, incident)

    async def lately(self, most: int) -> tuple[Event, ...]:
        """Return the last events of `control`, oldest first, at most so many."""
        return await self._read(reading.lately, most)

    async def undo(self, incident: str, act: str) -> Undo | None:
        """Return the undo of one act (`0/0/do`)."""
        return await self._read(reading.undo, incident, act)

    async def document(self, version: str) -> Json:
        """Return the document of a rule version, None when unknown."""
        return await self._read(reading.document, version)

    async def brakes(self) -> tuple[Brake, ...]:
        """Return the brakes that are on."""
        return await self._read(reading.brakes)

    async def _read(self, question: Callable[..., T], *arguments: Any) -> T:
        if self._closed:
            raise StoreError("the journal is closed")
        return await self._loop.run_in_executor(self._readers, partial(self._ask, question, *arguments))

    def _ask(self, question: Callable[..., T], *arguments: Any) -> T:
        try:
            with (
                self._reading.connect() as connection,
                self._database.watched(connection),
                connection.begin(),
            ):
                return question(connection, *arguments)
        except SQLAlchemyError as error:
            raise StoreError(f"the journal cannot be read: {reason(error)}") from error


def _remember(batch: Batch, rows: list[dict[str, str]]) -> None:
    connection: Connection = batch.connection
    if connection.execute(_REMEMBER, rows).rowcount:
        batch.written = True
