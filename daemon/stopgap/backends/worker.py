"""Worker: a thread in which a blocking client works, and which can be given up at any moment without leaving half of it.

What is given up before its commit is rolled back; what is given up while it commits is whole. The thread is a daemon, so that it
keeps nobody from ending: a connection that dies rolls back, too.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from stopgap.backends.database import Database, DatabaseFault, Mode, Session, Trouble
from stopgap.backends.dsn import Login
from stopgap.errand import seen_off
from stopgap.errors import StopgapError

T = TypeVar("T")

AT_ONCE = 96  # more than can ever ask at once: only threads that hang fill it
LINGER_SECONDS = 5.0  # for a cancelled thread to roll back
_ROOM = 0.9  # of the time is for the server, so that it ends a statement before we give up
_places = threading.BoundedSemaphore(AT_ONCE)


class GivenUp(StopgapError):  # noqa: N818 - reads as the answer it is
    """Nobody waits any more."""


class Work:
    """One connection, as its thread and those who wait for it see it."""

    def __init__(self, login: Login[Database], mode: Mode, deadline: float) -> None:
        self._login = login
        self._mode = mode
        self._deadline = deadline
        self._lock = threading.Lock()
        self._given_up = False
        self._committing = False
        self._session: Session | None = None

    @property
    def place(self) -> Database:
        """Return where."""
        return self._login.place

    @property
    def session(self) -> Session:
        """Return the connection."""
        if self._session is None:
            raise GivenUp(f"{self.place.name}: not connected")
        return self._session

    def open(self) -> None:
        """Connect, unless the time is over. Raises DatabaseFault."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DatabaseFault(Trouble.BUSY, self.place.name, "no time is left to ask it")
        try:
            session = self.place.open(self._mode, self._login.password, left)
        except DatabaseFault as fault:
            fault.connecting = True
            raise
        with self._lock:
            self._session = session
            if self._given_up:
                raise GivenUp(self.place.name)

    def commit(self) -> None:
        """Make it last, unless nobody waits for it. Raises DatabaseFault."""
        with self._lock:
            if self._given_up:
                raise GivenUp(self.place.name)
            self._committing = True
        try:
            self.session.commit()
        except DatabaseFault as fault:
            fault.committing = True
            raise

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def give_up(self) -> None:
        """Let nothing more be committed, and end what is under way, in a thread of its own."""
        with self._lock:
            self._given_up = True
            session = None if self._committing else self._session
        if session is not None:
            threading.Thread(target=session.interrupt, name="database interrupt", daemon=True).start()


async def work(login: Login[Database], mode: Mode, seconds: float, does: Callable[[Work], T]) -> T:
    """Connect in a thread, and return what `does` returns there. Raises what it raises, and DatabaseFault.

    Who is cancelled while something could change is held until it is rolled back, for a few seconds at most.
    """
    if not _places.acquire(blocking=False):
        text = f"{AT_ONCE} connections to databases are open or hang: no more"
        raise DatabaseFault(Trouble.OURS, login.place.name, text)
    task = Work(login, mode, time.monotonic() + seconds * _ROOM)
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    try:
        threading.Thread(target=_run, args=(task, does, loop, future), name="database", daemon=True).start()
    except RuntimeError:
        _places.release()
        text = "this machine has no room for another thread"
        raise DatabaseFault(Trouble.OURS, login.place.name, text) from None
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        task.give_up()
        future.add_done_callback(_heard)
        await seen_off(future, 0 if mode is Mode.READ else LINGER_SECONDS)
        raise


def _run(
    task: Work, does: Callable[[Work], T], loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]"
) -> None:
    result: T | None = None
    failure: BaseException | None = None
    try:
        try:
            task.open()
            result = does(task)
        finally:
            task.close()
    except BaseException as error:  # noqa: BLE001 - border: thread. Whatever it is belongs to whoever waits
        failure = error
    finally:
        _places.release()
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_tell, future, result, failure)


def _tell(future: "asyncio.Future[Any]", result: object, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)


def _heard(future: "asyncio.Future[T]") -> None:
    """Take note of a failure that nobody waits for."""
    if not future.cancelled():
        future.exception()
