"""The action `sql` and the servers themselves: their settings, their absence, their death, and what is said of it."""

import asyncio
import dataclasses
import sqlite3
import time
from contextlib import closing
from datetime import timedelta

import pytest
from pydantic import SecretStr, ValidationError
from tests.integration.test_action_contract import NOW
from tests.integration.test_action_sql import GIVEN, RESET, SQL, World, acted, make_world
from tests.servers import PASSWORD, running_postgres

from stopgap.action import Restored, Settled
from stopgap.actions.http import NoClearAnswer
from stopgap.errors import ActionError, PermanentError, TemporaryError


def connections(world: World, **more):
    return world.params(
        observe="SELECT @@GLOBAL.max_connections AS old",
        statement="SET GLOBAL max_connections = 77",
        revert="SET GLOBAL max_connections = :old",
        **more,
    )


async def test_a_setting_is_taken_back_and_left_alone_when_somebody_changed_it(request, tmp_path):
    world = make_world(request, "mysql", tmp_path)
    root = request.getfixturevalue("mariadb")
    world.at = f"mysql://root@/?unix_socket={root.socket}"
    world.password = None

    def now():
        return world.rows("SELECT @@GLOBAL.max_connections")[0][0]

    params, old = connections(world), now()
    assert SQL.resource(params) == (f"mysql:{root.socket}#@@max_connections",)
    before, receipt = await acted(params)
    assert now() == 77
    assert f"with old={old}" in SQL.undo_by_hand(params, before)
    assert SQL.settled(params, before, await SQL.observe(params, NOW)) is Settled.DONE
    assert (await SQL.revert(params, before, receipt, NOW)).result is Restored.REVERTED
    assert now() == old
    assert SQL.settled_revert(params, before, await SQL.observe(params, NOW)) is Settled.DONE
    assert (await SQL.revert(params, before, receipt, NOW)).result is Restored.NOTHING
    before, receipt = await acted(params)
    world.run("SET GLOBAL max_connections = 78")
    assert (await SQL.revert(params, before, receipt, NOW)).result is Restored.DRIFTED
    assert now() == 78
    world.run(f"SET GLOBAL max_connections = {old}")


async def test_a_setting_that_was_made_before_another_was_refused_is_taken_back(request, tmp_path):
    world = make_world(request, "mysql", tmp_path)
    world.at, world.password = f"mysql://root@/?unix_socket={request.getfixturevalue('mariadb').socket}", None
    params = world.params(
        observe="SELECT @@GLOBAL.max_connections AS old",
        statement=["SET GLOBAL max_connections = 79", "SET GLOBAL no_such_setting = 1"],
        revert="SET GLOBAL max_connections = :old",
    )
    before = await SQL.observe(params, NOW)
    with pytest.raises(NoClearAnswer):
        await SQL.run(params, before, NOW)
    assert SQL.settled(params, before, await SQL.observe(params, NOW)) is Settled.DONE
    assert (await SQL.revert(params, before, None, NOW)).result is Restored.REVERTED
    assert await SQL.observe(params, NOW) == before


async def test_rows_that_nothing_rolls_back_are_not_touched(request, tmp_path):
    world = make_world(request, "mysql", tmp_path)
    world.run("ALTER TABLE jobs ENGINE=MyISAM")
    for params in (world.params(statement=RESET, values=GIVEN, max_rows=1), world.reset()):
        before = await SQL.observe(params, NOW)
        with pytest.raises(PermanentError, match="MyISAM, which rolls nothing back"):
            await SQL.run(params, before, NOW)
        with pytest.raises(PermanentError, match="MyISAM"):
            await SQL.rehearse(params, NOW)
    assert [status for _, status, _, _ in world.jobs()] == ["processing"] * 3 + ["done"]


async def test_a_row_that_comes_to_those_that_were_saved_is_not_changed(request, tmp_path):
    world = make_world(request, "postgres", tmp_path)
    params = world.reset()
    before = await SQL.observe(params, NOW)
    with request.getfixturevalue("postgres").connect(world.at.rpartition("/")[2]) as other:
        other.autocommit = False
        other.execute("SELECT FROM jobs WHERE id = 1 FOR UPDATE")
        doing = asyncio.create_task(SQL.run(params, before, NOW))
        while not world.rows("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            await asyncio.sleep(0.01)
        other.execute("INSERT INTO jobs VALUES (70, 'processing', NULL, 99)")
        other.commit()
    with pytest.raises(TemporaryError, match="1 rows came to those that were saved"):
        await doing
    assert {status for _, status, _, _ in world.jobs()} == {"processing", "done"}


async def test_somebody_elses_connection_can_be_ended(request, postgres, mariadb):
    base = postgres.database()
    with base.connect(base.name) as other:
        params = SQL.params(
            at=f"postgres://postgres@/postgres?host={postgres.home}&sslmode=disable".replace(
                "@/", f"@127.0.0.1:{postgres.port}/"
            ).replace(f"host={postgres.home}&", ""),
            password=SecretStr(PASSWORD),
            statement="SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name LIMIT 3",
            values={"name": base.name},
        )
        assert not SQL.idempotent(params)
        await acted(params)
        with pytest.raises(Exception, match="terminat"):
            other.execute("SELECT 1")
    victim = mariadb.connect()
    params = SQL.params(
        at=f"mysql://root@/?unix_socket={mariadb.socket}",
        statement="KILL :id",
        values={"id": victim.thread_id()},
    )
    assert not SQL.idempotent(params)
    await acted(params)
    with pytest.raises(Exception, match=r"Lost connection|killed|gone"), victim.cursor() as cursor:
        cursor.execute("SELECT 1")


# --- places that are not there ---


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
async def test_a_server_that_is_away_may_be_there_later_and_a_wrong_password_is_not(request, tmp_path, kind):
    world = make_world(request, kind, tmp_path)
    secret = SecretStr("hunter2")
    wrong = SQL.params(at=world.at, password=secret, statement="SELECT 1")
    with pytest.raises(PermanentError) as told:
        await SQL.run(wrong, None, NOW)
    assert "hunter2" not in str(told.value)
    gone = SQL.params(at=f"{kind}://app@127.0.0.1:1/x", password=secret, statement="SELECT 1")
    with pytest.raises(TemporaryError, match=r"127\.0\.0\.1:1"):
        await SQL.run(gone, None, NOW)
    unknown = SQL.params(at=f"{kind}://app@nowhere.invalid/x", statement="SELECT 1")
    with pytest.raises(TemporaryError, match="does not resolve"):
        await SQL.run(unknown, None, NOW)


async def test_an_address_that_is_a_secret_shows_nothing(postgres):
    base = postgres.database()
    quoted = PASSWORD.replace("%", "%25").replace("@", "%40").replace("/", "%2F").replace(" ", "%20")
    address = f"postgresql+asyncpg://{base.user}:{quoted}@{postgres.address}/{base.name}"
    params = SQL.params(at=SecretStr(address), statement="SELECT 1")
    await acted(params)
    said = (SQL.describe(params), *SQL.resource(params), repr(params), SQL.undo_by_hand(params, None))
    for text in said:
        assert not any(part in text for part in (PASSWORD, base.name, str(postgres.port)))
    lost = SQL.params(at=SecretStr(address.replace(str(postgres.port), "1")), statement="SELECT 1")
    with pytest.raises(TemporaryError) as told:
        await SQL.run(lost, None, NOW)
    assert not any(part in str(told.value) for part in (base.name, "127.0.0.1"))
    with pytest.raises(ValidationError) as wrong:
        SQL.params(at=SecretStr("postgres://app:hunter2@db:99999/x"), statement="SELECT 1")
    assert "hunter2" not in str(wrong.value).split("[type=")[0]


async def test_a_server_that_dies_meanwhile_leaves_nothing_and_is_known_to(tmp_path):
    with running_postgres() as server:
        base = server.database()
        base.run("CREATE TABLE jobs (id integer)", f"GRANT ALL ON jobs TO {base.user}")
        slow = "INSERT INTO jobs SELECT 1 FROM (SELECT pg_sleep(20)) AS s"
        for statement, error in ((slow, TemporaryError), ("SELECT pg_sleep(20)", NoClearAnswer)):
            params = SQL.params(
                at=base.locator, password=SecretStr(PASSWORD), statement=statement, max_rows=1
            )
            task = asyncio.create_task(SQL.run(params, None, NOW))
            await asyncio.sleep(0.4)
            await asyncio.to_thread(server.stop)
            with pytest.raises(error):
                await task
            await asyncio.to_thread(server.start)
        assert base.rows("SELECT * FROM jobs") == []


async def test_a_frozen_server_does_not_hold_us():
    with running_postgres() as server:
        base = server.database()
        params = SQL.params(at=base.locator, password=SecretStr(PASSWORD), statement="SELECT 1")
        brief = dataclasses.replace(NOW, timeout=timedelta(seconds=2))
        with server.frozen():
            began = time.monotonic()
            with pytest.raises(ActionError):
                await SQL.run(params, None, brief)
            assert time.monotonic() - began < 5


async def test_a_file_that_is_missing_locked_or_damaged(tmp_path):
    path = tmp_path / "hotel.db"
    params = SQL.params(at=f"sqlite://{path}", statement="DELETE FROM t WHERE a = 1", max_rows=1)
    with pytest.raises(PermanentError, match="no such file"):
        await SQL.run(params, None, NOW)
    assert not path.exists()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE t (a)")
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TemporaryError, match="locked"):
            await SQL.run(params, None, dataclasses.replace(NOW, timeout=timedelta(seconds=0.5)))
        db.execute("COMMIT")
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(PermanentError, match="not a database"):
        await SQL.run(params, None, NOW)
