"""Threads that work with databases can be given up at any moment: nothing is committed then, and nobody waits for ever."""

import asyncio
import threading

import pytest

from stopgap.backends import worker
from stopgap.backends.database import Database, DatabaseFault, Mode, Session, Trouble
from stopgap.backends.dsn import Login
from stopgap.backends.rows import Rows
from stopgap.backends.statement import parse_statement
from stopgap.backends.worker import GivenUp, work

STATEMENT = parse_statement("UPDATE t SET a = 1 WHERE b")


class Slow(Session):
    """A connection whose statements take until they are interrupted, and then have succeeded all the same."""

    def __init__(self, place: "Place") -> None:
        self.place = place

    def rows(self, statement, values, limit):
        return Rows((), ())

    def change(self, statement, values):
        self.place.changing.set()
        assert self.place.go.wait(10)
        return 1

    def commit(self):
        self.place.committing.set()
        assert self.place.committed.wait(10)
        self.place.said.append("committed")

    def close(self):
        self.place.said.append("closed")

    def interrupt(self):
        self.place.said.append("interrupted")
        self.place.go.set()


class Place(Database):
    """A database in memory that says what was done with it."""

    schemes = ("slow",)
    example = "slow://"

    def __init__(self):
        self.said: list[str] = []
        self.opening = threading.Event()
        self.changing, self.go = threading.Event(), threading.Event()
        self.committing, self.committed = threading.Event(), threading.Event()

    @property
    def name(self):
        return "slow"

    @property
    def host(self):
        return None

    def open(self, mode, password, seconds):
        self.opening.set()
        return Slow(self)


async def reached(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)


def changed(task):
    count = task.session.change(STATEMENT, {})
    task.commit()
    return count


async def test_what_is_given_up_before_its_commit_is_never_committed_even_if_it_succeeded():
    place = Place()
    place.committed.set()
    doing = asyncio.create_task(work(Login(place), Mode.WRITE, 10, changed))
    await reached(place.changing)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert place.said == ["interrupted", "closed"]


async def test_what_is_given_up_while_it_commits_is_whole_and_not_interrupted():
    place = Place()
    place.go.set()
    doing = asyncio.create_task(work(Login(place), Mode.WRITE, 10, changed))
    await reached(place.committing)
    doing.cancel()
    await asyncio.sleep(0)
    place.committed.set()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert place.said == ["committed", "closed"]


async def test_what_is_given_up_while_it_connects_does_nothing(monkeypatch):
    place = Place()
    connected = threading.Event()
    plain = place.open
    monkeypatch.setattr(place, "open", lambda *given: (plain(*given), connected.wait(10))[0])
    doing = asyncio.create_task(work(Login(place), Mode.WRITE, 10, changed))
    await reached(place.opening)
    doing.cancel()
    await asyncio.sleep(0)
    connected.set()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert place.said == ["closed"]


async def test_a_thread_that_hangs_holds_nobody_and_is_counted(monkeypatch):
    monkeypatch.setattr(worker, "LINGER_SECONDS", 0.05)
    monkeypatch.setattr(worker, "_places", threading.BoundedSemaphore(1))
    place = Place()
    doing = asyncio.create_task(work(Login(place), Mode.WRITE, 10, changed))
    await reached(place.changing)
    monkeypatch.setattr(Slow, "interrupt", lambda self: None)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    with pytest.raises(DatabaseFault, match="no more") as told:
        await work(Login(Place()), Mode.READ, 10, lambda task: None)
    assert told.value.trouble is Trouble.OURS
    place.go.set()
    while place.said != ["closed"]:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    assert await work(Login(Place()), Mode.READ, 10, lambda task: "free") == "free"


async def test_without_time_nothing_is_begun():
    place = Place()
    with pytest.raises(DatabaseFault, match="no time is left"):
        await work(Login(place), Mode.WRITE, 0, changed)
    assert place.said == []


async def test_who_looks_at_a_closed_connection_is_told():
    kept = []
    await work(Login(Place()), Mode.READ, 10, kept.append)
    with pytest.raises(GivenUp):
        _ = kept[0].session


def test_a_loop_that_is_closed_hears_nothing(monkeypatch):
    place = Place()
    place.committed.set()

    async def leave():
        doing = asyncio.create_task(
            work(Login(place), Mode.READ, 10, lambda task: task.session.change(STATEMENT, {}))
        )
        await reached(place.changing)
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)

    monkeypatch.setattr(Slow, "interrupt", lambda self: None)
    asyncio.run(leave())
    place.go.set()
    for thread in threading.enumerate():
        if thread.name == "database":
            thread.join(10)
    assert place.said == ["closed"]


async def test_without_room_for_a_thread_nothing_is_begun_and_no_place_is_lost(monkeypatch):
    def full(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(worker, "_places", threading.BoundedSemaphore(1))
    with monkeypatch.context() as narrow:
        narrow.setattr(threading.Thread, "start", full)
        with pytest.raises(DatabaseFault, match="no room") as told:
            await work(Login(Place()), Mode.READ, 10, lambda task: None)
    assert told.value.trouble is Trouble.OURS
    assert await work(Login(Place()), Mode.READ, 10, lambda task: "free") == "free"
