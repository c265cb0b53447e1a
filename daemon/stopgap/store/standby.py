"""Standby: a daemon on a shared database that does not lead. It takes notifications for the leader, and waits to become it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from stopgap.clock import Clock
from stopgap.errors import StoreError
from stopgap.store import inbox
from stopgap.store.database import reason
from stopgap.store.postgres import LETTERS_AT_ONCE, Postgres
from stopgap.store.store import Store
from stopgap.store.tenure import Leader

T = TypeVar("T")

log = structlog.get_logger(__name__)

EVERY = 0.5  # seconds between two looks at who leads


class Standby:
    """Made by `join`. `elected` returns the store once this daemon leads."""

    def __init__(self, database: Postgres, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._threads = ThreadPoolExecutor(LETTERS_AT_ONCE, "stopgap letters")
        self._campaigning = ThreadPoolExecutor(
            1, "stopgap campaign"
        )  # letters that wait keep nobody from leading
        self.leader: Leader | None = None  # as last seen
        self.error = ""  # why the database was not reached at last
        self._store: Store | None = None

    async def elected(self) -> Store:
        """Wait until this daemon leads; returns what it may write to from then on."""
        while not await self._campaign():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(EVERY)
        self._store = Store(self._database, self._clock)
        return self._store

    async def put_by(self, letter: inbox.Letter) -> None:
        """Make what a notification says durable for the leader. Raises StoreError."""
        await self._do(self._threads, lambda connection: inbox.put(connection, letter, self._clock.now()))

    async def close(self) -> None:
        """Stand by no more, and close the store, once there is one: whoever was elected may have been ended before it knew."""
        await self.withdraw()
        await asyncio.to_thread(self._threads.shutdown)
        if self._store is not None:
            await self._store.close()
        else:
            await asyncio.to_thread(self._database.close)

    async def withdraw(self) -> None:
        """Campaign no more. An election that is won when nobody waits for it any more is given up: others need not wait either."""
        await asyncio.to_thread(self._campaigning.shutdown)
        if self._store is None and self._database.tenure.epoch > 0:
            with suppress(StoreError):  # then it ends by itself
                await self._do(self._threads, self._database.tenure.resign)

    async def _campaign(self) -> bool:
        tenure = self._database.tenure
        try:
            won = await self._do(self._campaigning, tenure.campaign)
            if won:
                tenure.committed()
            else:
                self.leader = await self._do(self._campaigning, tenure.leader)
        except StoreError as error:
            tenure.drop()
            self.leader = None
            if not self.error:
                log.warning("store_unavailable", why=str(error))
            self.error = str(error)
            return False
        self.error = ""
        return won

    async def _do(self, threads: ThreadPoolExecutor, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, partial(self._work, work))

    def _work(self, work: Callable[[Connection], T]) -> T:
        try:
            with (
                self._database.standing_by.connect() as connection,
                self._database.watched(connection),
                connection.begin(),
            ):
                return work(connection)
        except SQLAlchemyError as error:
            raise StoreError(f"the database does not answer: {reason(error)}") from error


async def join(url: str, ttl: float, peer: str, clock: Clock, *, anew: bool = False) -> Standby:
    """Join the daemons on a database, `anew` in a process that did so before. Raises StoreError."""
    database = Postgres(url, peer, ttl)
    with ExitStack() as undoing:
        undoing.callback(database.close)
        await asyncio.to_thread(database.make_ready, anew=anew)
        undoing.pop_all()
    return Standby(database, clock)
