"""The store and its tables: made as all migrations would, brought up to date with all that they hold, never taken back."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from tests.journal_examples import HandClock, acting, open_one

from stopgap.errors import StoreError
from stopgap.guard import Refusal, Request
from stopgap.store import DATABASE, migrations, open_store, sqlite
from stopgap.store.rows import EPOCH, micros


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
async def store(tmp_path, clock):
    store = await open_store(tmp_path, clock)
    yield store
    await store.close()


def described(path: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {(name, " ".join(sql.split())) for name, sql in rows}


def parts(path: Path) -> set[tuple[str, tuple[str, ...]]]:
    # The order of the clauses differs: the migration says NOT NULL for a key as well.
    return {
        (name, tuple(sorted(part.strip().replace(" NOT NULL", "") for part in sql.split(","))))
        for name, sql in described(path)
    }


def contents(path: Path) -> dict[str, list]:
    with closing(sqlite3.connect(path)) as connection, connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


async def test_all_migrations_make_exactly_what_a_new_database_is(tmp_path, store):
    engine = sqlite.writing(tmp_path / "migrated.db")
    with engine.begin() as connection:
        migrations.upgrade(connection)
    engine.dispose()

    assert parts(tmp_path / DATABASE) == parts(tmp_path / "migrated.db")
    assert contents(tmp_path / DATABASE) == contents(tmp_path / "migrated.db")
    assert contents(tmp_path / DATABASE)["leader"] == [(1, "", "", 0, 0)]


def test_a_new_database_is_made_without_the_library_that_migrates(tmp_path):
    code = (
        "import sys; from stopgap.store import migrations, sqlite; from pathlib import Path\n"
        "with sqlite.writing(Path(sys.argv[1])).begin() as connection: migrations.migrate(connection)\n"
        "assert not [name for name in sys.modules if name.startswith(('alembic', 'mako'))]"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "new.db")], check=True)


def test_the_code_knows_the_last_migration():
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert script.get_heads() == [migrations.HEAD]


def test_a_migration_that_does_not_commit_leaves_nothing(tmp_path):
    engine = sqlite.writing(tmp_path / "half.db")
    with engine.connect() as connection:
        connection.begin()
        migrations.migrate(connection)
        connection.rollback()
    engine.dispose()
    assert described(tmp_path / "half.db") == set()


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path, clock):
    await (await open_store(tmp_path, clock)).close()
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreError, match=r"schema 9999.*a newer one wrote it"):
        await open_store(tmp_path, clock)


# --- from the first release on ---


def made_by_the_first_release(path: Path, clock: HandClock) -> None:
    """Make a database with the tables of the first release, and what a rule left in them that acted and failed."""
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    engine = sqlite.writing(path)
    at = micros(clock.now())
    with engine.begin() as connection:
        with EnvironmentContext(
            Config(), script, fn=lambda rev, _: script._upgrade_revs("0001", rev)
        ) as environment:
            environment.configure(connection=connection, transactional_ddl=True)
            environment.run_migrations()
        for number, name, closed_at, outcome in (
            (1, "INC-old", at, "handed_over"),
            (2, "INC-live", None, ""),
        ):
            connection.exec_driver_sql(
                "INSERT INTO incident (number, id, rule, version, target, severity, mode, seq, opened_at, acted_at,"
                " closed_at, outcome, rung, follows, flaps) VALUES (?, ?, ?, 'v', ?, 'P2', 'auto', 1, ?, ?, ?, ?, 0, '', 0)",
                (number, name, "pack/rule", "api", at, at, closed_at, outcome),
            )
            connection.exec_driver_sql(
                "INSERT INTO journal VALUES (?, 1, ?, 'opened', ?)",
                (name, at, '{"rule":"pack/rule","target":"api"}'),
            )
            connection.exec_driver_sql(
                "INSERT INTO permit (incident, rule, target, at) VALUES (?, 'pack/rule', 'api', ?)",
                (name, at),
            )
        connection.exec_driver_sql("INSERT INTO held VALUES ('env:x', 'INC-live', ?)", (at,))
        for version, document in (
            ("v", {"pack": "pack", "name": "quiet"}),
            ("w", {"name": "odd"}),
            ("x", [1]),
        ):
            connection.exec_driver_sql(
                "INSERT INTO rule_version VALUES (?, ?)", (version, orjson.dumps(document).decode())
            )
    engine.dispose()


async def test_a_database_of_the_first_release_keeps_its_rows_and_makes_the_same_tables(tmp_path, clock):
    made_by_the_first_release(tmp_path / DATABASE, clock)
    store = await open_store(tmp_path, clock)
    asked = Request("INC-new", "pack/rule", "api", take=("env:x",), starts=True, first=True)
    ledger = await store.ledger(asked)
    assert ledger.holders == {"env:x": "INC-live"}
    assert ledger.acted_at == clock.now()
    assert ledger.permits == ledger.permits_global == (clock.now(), clock.now())
    assert [failure.incident for failure in ledger.failures] == ["INC-old"]
    assert (
        await store.ledger(Request("INC-new", "pack/rule", "api", starts=True, shadow=True))
    ).permits == ()
    assert list(await store.live()) == ["INC-live"]
    assert len(await store.openings(clock.now())) == 2
    await store.close()
    await (await open_store(tmp_path / "fresh", clock)).close()
    assert parts(tmp_path / DATABASE) == parts(tmp_path / "fresh" / DATABASE)


async def test_rules_that_the_database_knew_before_are_not_new(tmp_path, clock):
    made_by_the_first_release(tmp_path / DATABASE, clock)
    store = await open_store(tmp_path, clock)
    seen = await store.meet(["pack/rule", "pack/quiet", "pack/new"], clock.now())
    assert seen == {"pack/rule": EPOCH, "pack/quiet": EPOCH, "pack/new": clock.now()}
    await store.close()


async def test_an_empty_database_of_the_first_release_is_brought_up_to_date(tmp_path, clock):
    made_by_the_first_release(tmp_path / DATABASE, clock)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        for table in ("held", "permit", "journal", "incident", "rule_version"):
            connection.execute(f"DELETE FROM {table}")
    connection.close()
    store = await open_store(tmp_path, clock)
    clock.move(hours=1)
    one = await open_one(store, clock)
    assert not isinstance(await store.append(acting(clock, one)), Refusal)
    assert await store.meet(["pack/rule"], clock.now()) == {"pack/rule": clock.now()}
    await store.close()
