"""A restore of a database on a server: real PostgreSQL and MariaDB, dumped and put back."""

import asyncio
import dataclasses
import gzip
import os
import subprocess

import pytest
from tests.copying import BACK, RESTORE, copied, damaged, of, restoring as params, stored
from tests.servers import PASSWORD

from stopgap.action import Restored, Settled
from stopgap.actions import Restore
from stopgap.errors import ActionError, PermanentError, TemporaryError

ACTION = Restore(None)
SERVERS = ["postgres", "mysql"]


@pytest.fixture
def shelf(tmp_path):
    return tmp_path / "backups"


@pytest.fixture(params=SERVERS)
def thing(request, tmp_path):
    return of(request.param, request, tmp_path)


def server_of(thing, request):
    return request.getfixturevalue("postgres" if thing.locator.startswith("postgres") else "mariadb")


def as_superuser(thing):
    return dataclasses.replace(thing, locator=thing.locator.replace(f"{thing.name}@", "postgres@"))


def left_over(thing, request):
    """Name the databases that are staged and were not dropped."""
    query = "SELECT datname FROM pg_database" if thing.locator.startswith("postgres") else "SHOW DATABASES"
    with server_of(thing, request).connect() as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return [name for (name,) in cursor.fetchall() if name.startswith(f"{thing.name}_stage")]


async def test_the_good_state_comes_back_once_and_taking_back_restores_the_other(thing, shelf, request):
    good, bad = await damaged(thing, shelf)
    given = params(thing, shelf)
    assert "would put back" in await ACTION.rehearse(given, RESTORE)
    before = stored(await ACTION.observe(given, RESTORE))
    thing.write("dora")
    bad = thing.read()
    assert (
        stored(await ACTION.observe(given, RESTORE)) == before
    )  # no approval goes stale while the service works on
    assert ACTION.settled(given, before, before) is Settled.NOT_DONE
    receipt = stored(await ACTION.run(given, before, RESTORE))
    assert thing.read() == good
    now = stored(await ACTION.observe(given, RESTORE))
    assert ACTION.settled(given, before, now) is Settled.DONE
    assert ACTION.settled_revert(given, before, stored(await ACTION.observe(given, BACK))) is Settled.NOT_DONE
    thing.write("carl")
    once = thing.read()
    assert stored(await ACTION.run(given, before, RESTORE)) == receipt
    assert thing.read() == once
    assert (await ACTION.revert(given, before, None, BACK)).result is Restored.REVERTED
    assert thing.read() == bad
    assert ACTION.settled_revert(given, before, await ACTION.observe(given, BACK)) is Settled.DONE
    assert (await ACTION.revert(given, before, receipt, BACK)).result is Restored.NOTHING
    assert left_over(thing, request) == []


async def test_what_somebody_else_put_in_place_is_left_alone(thing, shelf):
    await damaged(thing, shelf)
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    receipt = stored(await ACTION.run(given, before, RESTORE))
    thing.replace()
    theirs = thing.read()
    assert (await ACTION.revert(given, before, receipt, BACK)).result is Restored.DRIFTED
    assert thing.read() == theirs


async def test_what_somebody_replaced_since_it_was_observed_is_not_replaced(thing, shelf):
    await copied(thing, shelf)
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    thing.replace()
    theirs = thing.read()
    with pytest.raises(TemporaryError, match="replaced by somebody else"):
        await ACTION.run(given, before, RESTORE)
    assert thing.read() == theirs


async def test_what_is_gone_comes_back_and_goes_again(thing, shelf):
    good, _ = await damaged(thing, shelf)
    thing.drop()
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    receipt = stored(await ACTION.run(given, before, RESTORE))
    assert thing.read() == good
    assert ACTION.settled(given, before, await ACTION.observe(given, RESTORE)) is Settled.DONE
    assert (await ACTION.revert(given, before, receipt, BACK)).result is Restored.REVERTED
    assert thing.read() is None


async def test_a_cancelled_restore_is_whole_or_not_there(thing, shelf, request):
    good, bad = await damaged(thing, shelf)
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    for seconds in (0.02, 0.1, 0.3):
        task = asyncio.create_task(ACTION.run(given, before, RESTORE))
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        now = stored(await ACTION.observe(given, RESTORE))
        assert thing.read() == (good if ACTION.settled(given, before, now) is Settled.DONE else bad)
        assert left_over(thing, request) == []
        if ACTION.settled(given, before, now) is Settled.DONE:
            break


async def test_a_torn_dump_is_refused(thing, shelf, request):
    copy = await copied(thing, shelf)
    old = thing.read()
    (shelf / "torn").write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    given = params(
        thing, shelf, **{"from": {"folder": str(shelf), "match": "torn*", "without_manifest": True}}
    )
    before = await ACTION.observe(given, RESTORE)
    with pytest.raises(ActionError):
        await ACTION.run(given, before, RESTORE)
    assert thing.read() == old
    assert left_over(thing, request) == []


# --- dumps that others made ---


def nightly(thing, to, request):
    """Dump as a nightly job does."""
    ours = thing.locator.startswith("postgres")
    login = ["--host=127.0.0.1", f"--port={server_of(thing, request).port}"]
    program = (
        ["pg_dump", f"--username={thing.name}"]
        if ours
        else ["mariadb-dump", "--no-defaults", f"--user={thing.name}"]
    )
    env = {**os.environ, "PGPASSWORD": PASSWORD, "MYSQL_PWD": PASSWORD}
    to.parent.mkdir()
    with to.open("wb") as out:
        subprocess.run([*program, *login, thing.name], stdout=out, env=env, check=True, timeout=30)


def of_the_night(thing, shelf):
    return params(
        thing, shelf, **{"from": {"folder": str(shelf), "match": "nightly*", "without_manifest": True}}
    )


async def test_a_compressed_nightly_dump_is_put_back(thing, shelf, request):
    good = thing.read()
    nightly(thing, shelf / "nightly.sql.gz", request)
    (shelf / "nightly.sql.gz").write_bytes(gzip.compress((shelf / "nightly.sql.gz").read_bytes()))
    thing.write("bob")
    given = of_the_night(thing, shelf)
    await ACTION.run(given, await ACTION.observe(given, RESTORE), RESTORE)
    assert thing.read() == good


async def test_a_nightly_dump_is_put_back_as_it_is(request, tmp_path, shelf):
    thing = of("mysql", request, tmp_path)
    good = thing.read()
    nightly(thing, shelf / "nightly.sql", request)
    thing.write("bob")
    given = of_the_night(thing, shelf)
    await ACTION.run(given, await ACTION.observe(given, RESTORE), RESTORE)
    assert thing.read() == good


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        (
            "mysql",
            [
                b"USE `mysql`;\n",
                b"/*!40000 DROP DATABASE IF EXISTS `hotel`*/;\n",
                b"create database hotel;\n",
                b"\\! touch /tmp/pwned\n",
                b"system touch /tmp/pwned\n",
            ],
        ),
        ("postgres", [b"\\connect postgres\n", b"\\! touch /tmp/pwned\n", b"DROP DATABASE hotel;\n"]),
    ],
)
async def test_a_dump_that_acts_elsewhere_is_refused(kind, lines, request, tmp_path, shelf):
    thing = of(kind, request, tmp_path)
    nightly(thing, shelf / "nightly", request)
    body = (shelf / "nightly").read_bytes()
    given, old = of_the_night(thing, shelf), thing.read()
    for line in lines:
        (shelf / "nightly").write_bytes(line + body)
        before = await ACTION.observe(given, RESTORE)
        with pytest.raises(PermanentError, match=r"would act outside of its database .* line 1\)"):
            await ACTION.run(given, before, RESTORE)
        assert thing.read() == old


# --- servers ---


async def test_rights_settings_and_owner_of_a_postgres_database_are_kept(request, tmp_path, shelf):
    thing = of("postgres", request, tmp_path)
    server = request.getfixturevalue("postgres")
    with server.connect() as admin:
        admin.execute(f"CREATE ROLE {thing.name}_reader")
        admin.execute(f"REVOKE ALL ON DATABASE {thing.name} FROM PUBLIC")
        admin.execute(f"GRANT CONNECT ON DATABASE {thing.name} TO {thing.name}_reader")
        admin.execute(f"ALTER DATABASE {thing.name} SET search_path = 'public', \"it's\"")
        admin.execute(f"ALTER DATABASE {thing.name} SET statement_timeout = '7s'")
        query = (
            "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datacl::text, setconfig"
            f" FROM pg_database LEFT JOIN pg_db_role_setting ON setdatabase = oid WHERE datname = '{thing.name}'"
        )
        old = admin.execute(query).fetchall()
        await damaged(thing, shelf)
        given = params(thing, shelf)
        given = params(
            dataclasses.replace(thing, locator=thing.locator.replace(f"{thing.name}@", "postgres@")), shelf
        )
        await ACTION.run(given, await ACTION.observe(given, RESTORE), RESTORE)
        assert sorted(map(str, admin.execute(query).fetchall())) == sorted(map(str, old))


async def test_sessions_of_the_service_do_not_keep_a_postgres_database(request, tmp_path, shelf):
    thing = of("postgres", request, tmp_path)
    good, _ = await damaged(thing, shelf)
    server = request.getfixturevalue("postgres")
    with server.connect(thing.name) as session:
        session.execute(f"SET ROLE {thing.name}")
        given = params(
            dataclasses.replace(thing, locator=thing.locator.replace(f"{thing.name}@", "postgres@")), shelf
        )
        await ACTION.run(given, await ACTION.observe(given, RESTORE), RESTORE)
        with pytest.raises(Exception, match="terminat"):
            session.execute("SELECT 1")
    assert thing.read() == good


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW v AS SELECT 1",
        "CREATE TRIGGER t BEFORE INSERT ON guest FOR EACH ROW SET NEW.name = 'x'",
        "CREATE PROCEDURE p() SELECT 1",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
    ],
)
async def test_what_rename_table_cannot_move_is_refused_before_anything_is_touched(
    statement, request, tmp_path, shelf
):
    thing = of("mysql", request, tmp_path)
    await copied(thing, shelf)
    server = request.getfixturevalue("mariadb")
    with server.connect(thing.name) as admin, admin.cursor() as cursor:
        cursor.execute(statement)
    given = params(thing, shelf)
    with pytest.raises(PermanentError, match="restore by hand"):
        await ACTION.run(given, await ACTION.observe(given, RESTORE), RESTORE)
    assert "ann" in str(thing.read())


async def test_foreign_keys_of_mysql_point_to_the_tables_that_came_back(request, tmp_path, shelf):
    thing = of("mysql", request, tmp_path)
    await damaged(thing, shelf)
    given = params(thing, shelf)
    await ACTION.run(given, await ACTION.observe(given, RESTORE), RESTORE)
    server = request.getfixturevalue("mariadb")
    with server.connect(thing.name) as admin, admin.cursor() as cursor:
        cursor.execute("SHOW CREATE TABLE stay")
        assert "REFERENCES `guest` (`id`)" in cursor.fetchone()[1]
        with pytest.raises(Exception, match="foreign key"):
            cursor.execute("INSERT INTO stay VALUES (4711)")
        query = "SELECT unique_constraint_schema FROM information_schema.referential_constraints WHERE constraint_schema = %s"
        cursor.execute(query, (thing.name,))
        assert cursor.fetchall() == ((thing.name,),)


async def test_what_a_person_lets_be_done_again_is_taken_back_again(thing, shelf):
    good, bad = await damaged(thing, shelf)
    given = params(thing, shelf)
    for n in (1, 2, 3):
        moment = dataclasses.replace(RESTORE, key=f"INC-2/1/0/do/{n}")
        before = stored(await ACTION.observe(given, moment))
        receipt = await ACTION.run(given, before, moment)
        assert thing.read() == good
        assert (await ACTION.revert(given, before, receipt, BACK)).result is Restored.REVERTED
        assert thing.read() == bad


async def test_tables_that_nobody_could_rename_count_as_not_exchanged(request, tmp_path, shelf, monkeypatch):
    thing = of("mysql", request, tmp_path)
    _, bad = await damaged(thing, shelf)
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    monkeypatch.setattr("stopgap.copies.mysql._LOCK_SECONDS", 1)
    with request.getfixturevalue("mariadb").connect(thing.name) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLES guest READ")
        with pytest.raises(PermanentError, match="timeout"):
            await ACTION.run(given, before, RESTORE)
    now = stored(await ACTION.observe(given, RESTORE))
    assert ACTION.settled(given, before, now) is Settled.NOT_DONE
    assert (await ACTION.revert(given, before, None, BACK)).result is Restored.NOTHING
    assert thing.read() == bad
    await ACTION.run(given, before, RESTORE)
    assert thing.read() != bad


async def test_a_database_that_was_empty_is_empty_again(request, tmp_path, shelf):
    thing = of("mysql", request, tmp_path)
    good, _ = await damaged(thing, shelf)
    thing.drop()
    with request.getfixturevalue("mariadb").connect() as root, root.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {thing.name}")
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    receipt = await ACTION.run(given, before, RESTORE)
    assert thing.read() == good
    assert ACTION.settled(given, before, await ACTION.observe(given, RESTORE)) is Settled.DONE
    assert (await ACTION.revert(given, before, receipt, BACK)).result is Restored.REVERTED
    with request.getfixturevalue("mariadb").connect(thing.name) as root, root.cursor() as cursor:
        assert cursor.execute("SHOW TABLES") == 0
