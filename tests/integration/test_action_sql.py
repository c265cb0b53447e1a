"""What the action `sql` promises, on real databases: bounded in rows and time, whole or not at all, and taken back."""

import asyncio
import dataclasses
import functools
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from tests.integration.test_action_contract import NOW, through_the_store
from tests.servers import PASSWORD, Base, Mariadb, Postgres

from stopgap.action import Danger, Restored, Settled
from stopgap.actions import Sql
from stopgap.errors import PermanentError, TemporaryError

SQL = Sql(None)
RESET = "UPDATE jobs SET status = 'failed', note = :why WHERE status = 'processing' AND age > :age"
GIVEN = {"why": "it's: %s \\ reset; --", "age": 60}


@dataclass
class World:
    """One database with jobs and guests, as an administrator sees it behind the action's back."""

    at: str
    password: SecretStr | None
    run: Callable[..., None]
    rows: Callable[[str], list[tuple[Any, ...]]]
    sleep: str = ""

    def params(self, **more: Any) -> Any:
        return SQL.params(at=self.at, password=self.password, **more)

    def reset(self, **more: Any) -> Any:
        return self.params(statement=RESET, values=GIVEN, max_rows=10, **{"save": "id", **more})

    def jobs(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT id, status, note, age FROM jobs ORDER BY id")

    def guests(self) -> list[tuple[Any, ...]]:
        shown = "guests::text" if self.at.startswith("postgres") else "*"
        return self.rows(f"SELECT {shown} FROM guests ORDER BY id, room")


JOBS = """INSERT INTO jobs VALUES (1, 'processing', NULL, 90), (2, 'processing', 'x', 61), (3, 'processing', NULL, 5),
(4, 'done', NULL, 99)"""
KINDS = {
    "sqlite": (
        "CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, note TEXT, age INTEGER)",
        "CREATE TABLE guests (id INTEGER, room TEXT, paid REAL, photo BLOB, PRIMARY KEY (id, room))",
        "INSERT INTO guests VALUES (1, 'a', 1.5, x'00ff'), (1, 'b', NULL, NULL), (2, 'a', -1e300, x'')",
    ),
    "postgres": (
        "CREATE TABLE jobs (id serial PRIMARY KEY, status text, note text, age integer)",
        """CREATE TABLE guests (id bigint GENERATED ALWAYS AS IDENTITY, room char(3), paid numeric(12,2), photo bytea,
        "at" timestamptz, stay interval, tags text[], doc jsonb, ip inet, ok boolean, num float8, PRIMARY KEY (id, room))""",
        """INSERT INTO guests (room, paid, photo, "at", stay, tags, doc, ip, ok, num) VALUES
        ('a', 12.50, '\\x00ff', '2026-03-29 01:30:00.123456+01', '1 mon 2 days 03:04:05', '{a,"b c",NULL}',
         '{"k": [1, null, "é"]}', '10.0.0.0/8', true, 'NaN'),
        ('b', NULL, NULL, 'infinity', NULL, '{}', 'null', NULL, NULL, 0.1)""",
    ),
    "mysql": (
        "CREATE TABLE jobs (id integer AUTO_INCREMENT PRIMARY KEY, status text, note mediumtext, age integer)",
        """CREATE TABLE guests (id bigint unsigned, room varchar(9), paid decimal(12,2), photo blob, at datetime(6),
        stay time, day date, doc json, num double, flags bit(8), seen timestamp(3) NULL, PRIMARY KEY (id, room))""",
        """INSERT INTO guests VALUES (18446744073709551615, 'a', 12.50, x'00ff', '2026-03-29 01:30:00.123456',
        '-23:04:05', '2026-02-28', '{"k": [1, null]}', 0.1, b'10000001', '2026-03-29 01:30:00.123'),
        (1, 'é', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)""",
    ),
}


@pytest.fixture(params=list(KINDS))
def world(request, tmp_path) -> World:
    return make_world(request, request.param, tmp_path)


@functools.cache
def base_of(server: Postgres | Mariadb) -> Base:
    """Return one database for all tests: making one takes longer than most of them."""
    return server.database()


def make_world(request, kind: str, tmp_path) -> World:
    if kind == "sqlite":
        path = tmp_path / "hotel.db"

        def run(*statements):
            with closing(sqlite3.connect(path)) as db, db:
                for each in statements:
                    db.execute(each)

        def rows(query):
            with closing(sqlite3.connect(path)) as db:
                return db.execute(query).fetchall()

        endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
        made = World(f"sqlite://{path}", None, run, rows, endless)
    else:
        server: Postgres | Mariadb = request.getfixturevalue("mariadb" if kind == "mysql" else kind)
        base = base_of(server)
        base.run("DROP TABLE IF EXISTS jobs, guests")
        sleep = "SELECT pg_sleep(30)" if kind == "postgres" else "SELECT sleep(30)"
        made = World(base.locator, SecretStr(PASSWORD), base.run, base.rows, sleep)
    made.run(*KINDS[kind], JOBS)
    if kind == "postgres":
        made.run(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {base.user}")
    return made


async def acted(params):
    before = through_the_store(await SQL.observe(params, NOW))
    return before, through_the_store(await SQL.run(params, before, NOW))


# --- the contract ---


def deletion(world: World):
    return world.params(
        statement="DELETE FROM guests WHERE id > :id", values={"id": 0}, max_rows=9, save=["id", "room"]
    )


CASES = {
    "update": (World.reset, World.jobs, "UPDATE jobs SET status = 'theirs' WHERE id = 1"),
    "delete": (deletion, World.guests, "INSERT INTO jobs (id) VALUES (50)"),
}


@pytest.mark.parametrize("name", CASES)
async def test_taking_back_restores_what_was_there(world, name):
    make, look, _ = CASES[name]
    old, params = look(world), make(world)
    before, receipt = await acted(params)
    assert look(world) != old
    answer = await SQL.revert(params, before, receipt, NOW)
    assert answer.result is Restored.REVERTED, answer
    assert "2 rows of jobs" in answer.detail or "guests put back" in answer.detail
    assert repr(look(world)) == repr(old)  # NaN too
    assert (await SQL.revert(params, before, receipt, NOW)).result is Restored.NOTHING


@pytest.mark.parametrize("name", CASES)
async def test_taking_back_without_a_receipt_restores_too(world, name):
    make, look, _ = CASES[name]
    old, params = look(world), make(world)
    before, _ = await acted(params)
    await SQL.revert(params, before, None, NOW)
    assert repr(look(world)) == repr(old)


@pytest.mark.parametrize("name", CASES)
async def test_acting_twice_with_one_key_is_acting_once(world, name):
    make, look, _ = CASES[name]
    params = make(world)
    before, receipt = await acted(params)
    once = look(world)
    assert SQL.idempotent(params)
    assert through_the_store(await SQL.run(params, before, NOW)) == receipt
    assert repr(look(world)) == repr(once)


@pytest.mark.parametrize("name", CASES)
async def test_an_unknown_outcome_is_settled_by_observing(world, name):
    params = CASES[name][0](world)
    before = through_the_store(await SQL.observe(params, NOW))

    async def now():
        return through_the_store(await SQL.observe(params, NOW))

    assert SQL.settled(params, before, await now()) is Settled.NOT_DONE
    assert SQL.settled_revert(params, before, before) is Settled.DONE
    receipt = await SQL.run(params, before, NOW)
    assert SQL.settled(params, before, await now()) is Settled.DONE
    assert SQL.settled_revert(params, before, await now()) is Settled.NOT_DONE
    await SQL.revert(params, before, receipt, NOW)
    assert SQL.settled_revert(params, before, await now()) is Settled.DONE


@pytest.mark.parametrize("name", CASES)
async def test_what_did_not_change_is_observed_alike_each_time(world, name):
    params = CASES[name][0](world)
    before = await SQL.observe(params, NOW)
    world.run("UPDATE jobs SET age = age WHERE id = 1", "UPDATE guests SET paid = paid")  # moves rows about
    assert await SQL.observe(params, NOW) == before


async def test_a_row_that_somebody_changed_meanwhile_is_left_alone_and_the_others_are_not(world):
    params = world.reset()
    before, receipt = await acted(params)
    world.run("UPDATE jobs SET status = 'theirs' WHERE id = 1", "DELETE FROM guests WHERE id > 0")
    answer = await SQL.revert(params, before, receipt, NOW)
    assert (answer.result, answer.partly) == (Restored.DRIFTED, True)
    assert "id=1" in answer.detail
    assert [row[1] for row in world.jobs()] == ["theirs", "processing", "processing", "done"]


async def test_a_row_that_somebody_made_again_or_removed_is_left_alone(world):
    old = world.guests()
    params = deletion(world)
    before, receipt = await acted(params)
    first = before["rows"][0][0]
    world.run(CASES["delete"][2])
    again = await SQL.revert(params, before, receipt, NOW)
    assert again.result is Restored.REVERTED
    assert repr(world.guests()) == repr(old)
    assert first is not None
    params = world.reset()
    before, receipt = await acted(params)
    world.run("DELETE FROM jobs WHERE id = 1")
    assert (await SQL.revert(params, before, receipt, NOW)).result is Restored.DRIFTED
    assert [row[0] for row in world.jobs()] == [2, 3, 4, 50]


async def test_what_others_change_in_other_columns_is_theirs_and_stays(world):
    params = world.reset()
    before, receipt = await acted(params)
    world.run("UPDATE jobs SET age = 1000 WHERE id = 1")
    assert (await SQL.revert(params, before, receipt, NOW)).result is Restored.REVERTED
    assert world.jobs()[0] == (1, "processing", None, 1000)


async def test_rows_that_changed_since_they_were_observed_are_not_touched(world):
    params = world.reset()
    before = await SQL.observe(params, NOW)
    world.run("UPDATE jobs SET age = 70 WHERE id = 3")
    old = world.jobs()
    with pytest.raises(TemporaryError, match="changed by somebody else since"):
        await SQL.run(params, before, NOW)
    assert world.jobs() == old


@pytest.mark.parametrize("seconds", [0, 0.002, 0.02, 0.1])
async def test_a_cancelled_act_is_whole_or_not_there(world, seconds):
    params = world.reset()
    before = through_the_store(await SQL.observe(params, NOW))
    old = world.jobs()
    task = asyncio.create_task(SQL.run(params, before, NOW))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    statuses = [row[1] for row in world.jobs()]
    assert world.jobs() == old or statuses == ["failed", "failed", "processing", "done"]
    await SQL.revert(params, before, None, NOW)
    assert world.jobs() == old


# --- bounds ---


async def test_more_rows_than_may_be_changed_are_not_changed_and_the_number_is_told(world):
    old = world.jobs()
    params = world.params(
        statement=["UPDATE jobs SET age = 1 WHERE id = 4", "DELETE FROM jobs WHERE id < 4"], max_rows=3
    )
    with pytest.raises(PermanentError, match="4 rows would be changed, at most 3 may be"):
        await SQL.run(params, await SQL.observe(params, NOW), NOW)
    assert world.jobs() == old
    for act in (SQL.observe, SQL.rehearse):
        with pytest.raises(PermanentError, match="2 rows would be changed, at most 1 may be"):
            await act(world.params(statement=RESET, values=GIVEN, max_rows=1, save="id"), NOW)


async def test_rows_that_an_update_finds_unchanged_count_too(world):
    params = world.params(statement="UPDATE jobs SET status = status WHERE id < 4", max_rows=2)
    with pytest.raises(PermanentError, match="3 rows"):
        await SQL.run(params, None, NOW)


async def test_a_list_is_one_transaction(world):
    old = world.jobs()
    params = world.params(
        statement=["DELETE FROM jobs WHERE id = 1", "INSERT INTO jobs (id) VALUES (2)"], max_rows=9
    )
    with pytest.raises(PermanentError):
        await SQL.run(params, None, NOW)
    assert world.jobs() == old


async def test_a_bounded_clean_up_leaves_nothing_to_take_back(world):
    params = world.params(statement="DELETE FROM jobs WHERE age > 60", max_rows=10, idempotent=True)
    assert await acted(params) == (None, {"after": None})
    assert [row[0] for row in world.jobs()] == [3]
    assert not SQL.reverts(params)
    assert SQL.undo_by_hand(params, None) == "nothing"
    assert (await SQL.revert(params, None, None, NOW)).result is Restored.NOTHING


async def test_the_database_itself_ends_what_takes_too_long(world):
    began = time.monotonic()
    brief = dataclasses.replace(NOW, timeout=timedelta(seconds=1))
    with pytest.raises(TemporaryError):
        await SQL.run(world.params(statement=world.sleep), None, brief)
    assert time.monotonic() - began < 3


async def test_what_is_cancelled_ends_in_the_database_too(world):
    params = world.params(
        statement=["INSERT INTO jobs (id, status) VALUES (9, 'half')", world.sleep], max_rows=5
    )
    task = asyncio.create_task(SQL.run(params, None, NOW))
    await asyncio.sleep(0.4)
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 3
    assert len(world.jobs()) == 4
    world.run("UPDATE jobs SET status = 'free' WHERE id = 1")  # nobody holds a lock


async def test_an_undo_that_is_too_large_is_refused(world):
    text = {"sqlite": "hex(zeroblob(600000))"}.get(world.at.split(":")[0], "repeat('x', 1200000)")
    world.run(f"UPDATE jobs SET note = {text} WHERE id < 3")
    with pytest.raises(PermanentError, match="more than 1048576"):
        await SQL.observe(world.reset(), NOW)


# --- what is said ---


async def test_errors_hide_secrets_and_say_what_is_wrong(world):
    params = world.params(
        statement="INSERT INTO nowhere (a) VALUES (:token)",
        values={"token": SecretStr("hunter2")},
        max_rows=1,
    )
    for act in (SQL.run(params, None, NOW), SQL.rehearse(params, NOW)):
        with pytest.raises(PermanentError) as told:
            await act
        assert "nowhere" in str(told.value)
        assert "hunter2" not in str(told.value)
    assert "hunter2" not in SQL.describe(params)


async def test_a_rehearsal_checks_and_changes_nothing(world):
    old = world.jobs()
    await SQL.rehearse(world.reset(), NOW)
    await SQL.rehearse(deletion(world), NOW)
    assert world.jobs() == old
    for wrong, said in [
        ({"statement": "UPDATE jobs SET nope = 1 WHERE id = 1", "max_rows": 1}, "nope"),
        ({"statement": RESET, "values": GIVEN, "max_rows": 9, "save": "nope"}, "nope"),
        ({"statement": RESET, "values": GIVEN, "max_rows": 9, "save": "age"}, ""),
    ]:
        if said:
            with pytest.raises(PermanentError, match=said):
                await SQL.rehearse(world.params(**wrong), NOW)
    world.run("UPDATE jobs SET age = 90 WHERE id = 2")
    with pytest.raises(PermanentError, match="age is no key of jobs"):
        await SQL.rehearse(world.reset(save="age"), NOW)


async def test_upkeep_is_done_outside_a_transaction(world):
    kind = world.at.split(":")[0]
    statements = ["ANALYZE TABLE jobs", "OPTIMIZE TABLE jobs"] if kind == "mysql" else ["VACUUM", "ANALYZE"]
    params = world.params(statement=statements)
    await SQL.rehearse(params, NOW)
    assert await acted(params) == (None, {"after": None})
    assert SQL.idempotent(params)
    assert SQL.danger_of({"statement": statements}) is Danger.BOUNDED


async def test_undo_by_hand_names_old_values_but_not_secret_ones(world):
    params = world.reset()
    before = through_the_store(await SQL.observe(params, NOW))
    said = SQL.undo_by_hand(params, before)
    assert "status=processing, note=x where id=2" in said
    before["columns"] = ["id", "api_key", "note"]
    assert "api_key=***" in SQL.undo_by_hand(params, before)
    params = deletion(world)
    assert "insert again into guests the rows with id=" in SQL.undo_by_hand(
        params, await SQL.observe(params, NOW)
    )


async def test_rows_that_would_fill_the_memory_are_not_fetched(world, monkeypatch):
    world.run(f"UPDATE jobs SET note = '{'x' * 40_000}'")
    monkeypatch.setattr("stopgap.backends.rows.MOST_BYTES", 100_000)
    params = world.params(statement="DELETE FROM jobs WHERE id > 0", max_rows=9, save="id")
    with pytest.raises(PermanentError, match="larger than 100000 bytes"):
        await SQL.observe(params, NOW)
    assert len(world.jobs()) == 4


def test_settling_all_rows_that_can_be_saved_holds_nobody_up():
    params = SQL.params(at="sqlite:///x.db", statement=RESET, values=GIVEN, max_rows=5000, save="id")
    before = {"columns": ["id", "note"], "rows": [[n, "x" * 100] for n in range(5000)]}
    now = {"columns": ["id", "note"], "rows": [[n, "y" * 100] for n in range(5000)]}
    began = time.process_time()
    assert SQL.settled(params, before, now) is Settled.DONE
    assert (
        SQL.settled_revert(params, before, {**now, "rows": [*now["rows"], *before["rows"]]}) is Settled.DONE
    )
    assert time.process_time() - began < 0.5
