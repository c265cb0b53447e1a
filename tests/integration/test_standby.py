"""A database that several daemons share: one is elected, the others leave it letters, and who was deposed writes nothing more."""

import asyncio
import errno
import os
import socket
import threading
import time
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from tests.journal_examples import HandClock, sighting
from tests.servers import running_postgres

from stopgap.errors import StoreError
from stopgap.store import (
    Letter,
    Unreachable,
    Waiting,
    inbox,
    join,
    postgres as on_postgres,
    standby as standing,
)
from stopgap.store.watchdog import Watchdog

TTL = 2.0
NEWEST = 999
SAID = Letter("stopgap", 1, [{"labels": {"alertname": "A"}}])


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    monkeypatch.setattr(standing, "EVERY", 0.05)


@asynccontextmanager
async def standing_by(url: str, peer: str = "", ttl: float = TTL):
    standby = await join(url, ttl, peer, HandClock())
    try:
        yield standby
    finally:
        await standby.close()


@asynccontextmanager
async def leading(url: str, peer: str = ""):
    async with standing_by(url, peer) as standby:
        store = await asyncio.wait_for(standby.elected(), 10)
        try:
            yield store
        finally:
            await store.close()


async def until(what) -> None:
    for _ in range(200):
        if what():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not within 10 s")


async def test_one_is_elected_and_the_other_one_knows_where_it_is_and_takes_over_when_it_ends(postgres):
    url = postgres.database().url
    async with leading(url, "http://one:1") as store, standing_by(url) as other:
        assert (store.epoch, store.leads) == (1, True)
        election = asyncio.create_task(other.elected())
        await until(lambda: other.leader is not None)
        assert (other.leader.url, other.leader.epoch) == ("http://one:1", 1)
        await asyncio.sleep(TTL)  # it renews while nothing is written
        assert not election.done()
        assert store.leads
        await store.close()
        next_one = await asyncio.wait_for(election, TTL / 2)  # it resigned: nobody waits for the lease to end
        assert next_one.epoch == 2
        await next_one.close()


async def test_an_election_that_is_won_when_nobody_waits_for_it_any_more_is_given_up(postgres):
    base = postgres.database()
    async with standing_by(base.url, ttl=30) as other:
        with base.connect(base.name) as admin, admin.transaction():
            admin.execute("SELECT * FROM leader FOR UPDATE")
            election = asyncio.create_task(other.elected())
            await until(lambda: base.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
            election.cancel()
            await asyncio.wait([election])
            leaving = asyncio.create_task(other.withdraw())
        await leaving
        assert base.rows("SELECT epoch, until FROM leader") == [(1, 0)]


async def test_who_is_ended_before_it_knows_that_it_leads_leaves_the_lead_to_others(postgres):
    base = postgres.database()
    async with standing_by(base.url, ttl=30) as other:
        store = await asyncio.wait_for(other.elected(), 10)
    assert base.rows("SELECT epoch, until FROM leader") == [(1, 0)]
    with pytest.raises(StoreError, match="closed"):
        await store.letters_waiting()


async def test_who_was_deposed_writes_nothing_more_and_says_so(postgres):
    base = postgres.database()
    async with leading(base.url) as store, standing_by(base.url) as other:
        base.run("UPDATE leader SET until = 0")
        next_one = await asyncio.wait_for(other.elected(), 10)
        clock = HandClock()
        with pytest.raises(StoreError, match="another one took over"):
            await store.receive([sighting(clock)])
        await asyncio.wait_for(store.deposed.wait(), 1)
        assert (store.leads, store.epoch, next_one.epoch) == (False, 0, 2)
        assert base.rows("SELECT count(*) FROM incident") == [(0,)]
        await next_one.receive([sighting(clock)])
        assert base.rows("SELECT count(*) FROM incident") == [(1,)]
        await next_one.close()


async def test_letters_reach_the_one_that_leads_with_all_that_they_say(postgres):
    url = postgres.database().url
    async with leading(url) as store, standing_by(url) as other:
        await other.put_by(SAID)
        await other.put_by(Letter("other", 0, []))
        first, second = await store.letters(10, NEWEST)
        assert (first.receiver, first.truncated, first.alerts) == ("stopgap", 1, SAID.alerts)
        assert (await store.letters(1, NEWEST)) == (first,)
        await store.answered([first.number])
        assert await store.letters(10, NEWEST) == (second,)


async def test_a_letter_is_tried_a_few_times_and_again_by_the_next_one_that_leads(postgres):
    url = postgres.database().url
    async with leading(url) as store, standing_by(url) as other:
        await other.put_by(SAID)
        (letter,) = await store.letters(10, NEWEST)
        told = [await store.unreadable(letter.number) for _ in range(inbox.TRIES)]
        assert told == [False] * (inbox.TRIES - 1) + [True]
        assert await store.letters(10, NEWEST) == ()
        await store.try_anew()
        assert await store.letters(10, NEWEST) == (letter,)


async def test_a_letter_of_another_release_is_read_as_far_as_it_is_understood(postgres):
    base = postgres.database()
    async with leading(base.url) as store:
        base.run(
            """INSERT INTO inbox (at, said) VALUES (1, '{"receiver": "r", "alerts": [], "colour": "red"}'), (1, '{"x": 1}')""",
            """INSERT INTO inbox (at, said) VALUES (1, '["x"]'), (1, '{"alerts": 1}')""",
        )
        first, second, third, fourth = await store.letters(10, NEWEST)
        assert (third.alerts, fourth.alerts) == ([["x"]], [{"alerts": 1}])
        assert (first.receiver, first.truncated, first.alerts) == ("r", 0, [])
        assert second.alerts == [{"x": 1}]  # which is no alert, as its reader will find


async def test_what_waits_is_told_by_the_last_letter_and_by_the_age_of_the_first_that_can_be_read(postgres):
    base = postgres.database()
    async with leading(base.url) as store:
        assert await store.letters_waiting() == Waiting()
        rows = "(1000000, '{}', 9), (3000000, '{}', 0), (2000000, '{}', 0), (9000000, '{}', 9)"
        base.run(f"INSERT INTO inbox (at, said, tries) VALUES {rows}")
        assert await store.letters_waiting() == Waiting(3, datetime.fromtimestamp(3, UTC))


async def test_letters_are_fetched_as_many_as_memory_has_room_for_and_none_that_came_later(
    postgres, monkeypatch
):
    url = postgres.database().url
    async with leading(url) as store, standing_by(url) as other:
        assert (await store.letters_waiting()).newest == 0
        for size in (10, 700, 700, 5000, 10):
            await other.put_by(Letter("stopgap", 0, [{"x": "x" * size}]))
        assert (await store.letters_waiting()).newest == 5
        monkeypatch.setattr(inbox, "LARGE", 1000)
        rounds = []
        while fetched := await store.letters(10, 4):
            rounds.append([each.number for each in fetched])
            await store.answered(rounds[-1])
        assert rounds == [[1, 2], [3], [4]]
        assert (await store.letters_waiting()).newest == 5


async def test_a_box_that_is_full_takes_nothing_more(postgres, monkeypatch):
    url = postgres.database().url
    monkeypatch.setattr(inbox, "MOST", 2)
    async with leading(url), standing_by(url) as other:
        await other.put_by(SAID)
        await other.put_by(SAID)
        with pytest.raises(StoreError, match="2 notifications wait"):
            await other.put_by(SAID)


async def test_a_standby_outlives_its_database_and_takes_letters_when_it_is_back():
    with running_postgres() as server:
        base = server.database()
        async with standing_by(base.url) as standby:
            server.stop()
            election = asyncio.create_task(standby.elected())
            await until(lambda: standby.error)
            with pytest.raises(StoreError, match="the database does not answer"):
                await standby.put_by(SAID)
            assert (standby.leader, election.done()) == (None, False)
            server.start()
            store = await asyncio.wait_for(election, 20)
            assert standby.error == ""
            await standby.put_by(SAID)
            assert len(await store.letters(9, NEWEST)) == 1
            await store.close()


async def test_letters_that_wait_for_their_table_keep_nobody_from_leading(postgres):
    base = postgres.database()
    async with leading(base.url) as store, standing_by(base.url) as other:
        with base.connect(base.name) as admin, admin.transaction():
            admin.execute("LOCK TABLE inbox IN SHARE MODE")  # as some maintenance does
            letters = [asyncio.create_task(other.put_by(SAID)) for _ in range(9)]
            election = asyncio.create_task(other.elected())
            await asyncio.sleep(0.2)
            await store.close()
            next_one = await asyncio.wait_for(election, TTL)
        await asyncio.gather(*letters)
        assert len(await next_one.letters(20, NEWEST)) == len(letters)
        await next_one.close()


class Mute:
    """A wire to a PostgreSQL that says nothing more once a client has been let in."""

    def __init__(self, port: int) -> None:
        self._far = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self._ends = [self._door]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near, _ = self._door.accept()
                far = socket.create_connection(("127.0.0.1", self._far))
                self._ends += near, far
                threading.Thread(target=self._pass, args=(near, far, b""), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, b"Z\0\0\0\5I"), daemon=True).start()

    @staticmethod
    def _pass(one: socket.socket, other: socket.socket, last: bytes) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
                if last and last in data:  # ReadyForQuery
                    return
            other.close()

    def close(self) -> None:
        for each in self._ends:
            each.close()


async def test_a_database_that_lets_us_in_and_says_nothing_more_is_given_up(postgres, monkeypatch):
    monkeypatch.setattr(on_postgres, "CONNECT_WITHIN", 1)
    with closing(Mute(postgres.port)) as wire:
        url = postgres.database().url.replace(f":{postgres.port}/", f":{wire.port}/")
        with pytest.raises(Unreachable):
            await asyncio.wait_for(join(url, 1, "", HandClock()), 10)


async def test_a_database_that_does_not_answer_may_answer_later_and_one_that_refuses_will_not(postgres):
    with pytest.raises(Unreachable, match="check STOPGAP_DATABASE_URL"):
        await join("postgresql://a:b@127.0.0.1:1/c", TTL, "", HandClock())
    base = postgres.database()
    base.run(f"ALTER SCHEMA public OWNER TO postgres; REVOKE ALL ON SCHEMA public FROM {base.user}, PUBLIC")
    with pytest.raises(StoreError, match="check the user's rights") as refused:
        await join(base.url, TTL, "", HandClock())
    assert not isinstance(refused.value, Unreachable)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("not a url:hush", "is no URL"),
        ("mysql://me:hush@db/x", "must begin with postgresql://"),
        ("postgresql://me:p@hush@127.0.0.1/x", "write a @ in the password as %40"),
        ("postgresql://me:p@hush/y@127.0.0.1/x", "write a @ in the password as %40"),
    ],
)
async def test_an_address_that_is_none_is_said_and_not_shown(url, why):
    with pytest.raises(StoreError, match=why) as refused:
        await join(url, TTL, "", HandClock())
    assert "hush" not in str(refused.value)


async def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(on_postgres, "find_spec", lambda _: None)
    with pytest.raises(StoreError, match=r"pip install 'stopgap\[postgres\]'"):
        await join("postgresql://a@b/c", TTL, "", HandClock())


# --- whose other side is silent ---


def connection(own: socket.socket) -> SimpleNamespace:
    return SimpleNamespace(connection=SimpleNamespace(dbapi_connection=own))


def test_a_wait_for_somebody_silent_is_ended_and_one_that_was_answered_is_not():
    watchdog, (own, other) = Watchdog(), socket.socketpair()
    try:
        began = time.monotonic()
        with watchdog.watching(connection(own), 0.3):
            assert own.recv(1) == b""  # woken by the end of the connection
        assert 0.2 < time.monotonic() - began < 5
    finally:
        own.close()
        other.close()
    own, other = socket.socketpair()
    try:
        with watchdog.watching(connection(own), 0.3):
            threading.Timer(0.1, other.send, (b"x",)).start()
            assert own.recv(1) == b"x"
        time.sleep(0.6)  # its time is over, and nobody watches it any more
        other.send(b"y")
        assert own.recv(1) == b"y"
    finally:
        own.close()
        other.close()
        watchdog.stop()


def test_a_silent_other_side_is_hung_up_on_without_a_descriptor_to_spare(monkeypatch):
    watchdog, (own, other) = Watchdog(), socket.socketpair()
    monkeypatch.setattr(
        os, "dup", lambda _: (_ for _ in ()).throw(OSError(errno.EMFILE, "Too many open files"))
    )
    try:
        own.settimeout(5)
        with watchdog.watching(connection(own), 0.1):
            assert own.recv(1) == b""
    finally:
        own.close()
        other.close()
        watchdog.stop()
