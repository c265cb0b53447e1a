"""`stopgap migrate` brings a store to this version's schema: alone on a directory, one at a time on a shared database."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from tests.journal_examples import HandClock
from typer.testing import CliRunner

from stopgap.cli import app
from stopgap.store import DATABASE, join, migrations, open_store, postgres as on_postgres

HEAD = migrations.HEAD


def run(*args, **env):
    """Run a command in this process, without the tester's own settings."""
    ours = {name: None for name in os.environ if name.startswith("STOPGAP_")}
    return CliRunner().invoke(app, list(args), env={**ours, "COLUMNS": "80", **env})


def started(url: str) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("STOPGAP_")}
    return subprocess.Popen(
        [sys.executable, "-m", "stopgap", "migrate"],
        env=env | {"STOPGAP_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def at_revision(path, revision: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()


def without_the_last_revision(path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("DROP TABLE leader; DROP TABLE inbox")
    connection.close()
    at_revision(path, "0004")


# --- a directory ---


@pytest.fixture
async def directory(tmp_path):
    await (await open_store(tmp_path / "data", HandClock())).close()
    return tmp_path / "data"


def test_the_store_in_a_directory_is_brought_to_this_version_and_then_there_is_nothing_to_do(directory):
    without_the_last_revision(directory / DATABASE)
    said = run("migrate", "--data", str(directory))
    assert (said.exit_code, said.stdout) == (
        0,
        f"migrated: the database had schema 0004, now it has schema {HEAD}\n",
    )
    said = run("migrate", STOPGAP_DATA=str(directory))
    assert (said.exit_code, said.stdout) == (0, f"nothing to do: the database has schema {HEAD}\n")


def test_check_changes_nothing_and_says_by_its_exit_code_whether_there_is_something_to_do(directory):
    assert run("migrate", "--check", "--data", str(directory)).exit_code == 0
    without_the_last_revision(directory / DATABASE)
    for _ in range(2):
        said = run("migrate", "--check", "--data", str(directory))
        assert (said.exit_code, said.stdout) == (
            1,
            f"to do: the database has schema 0004, this version needs {HEAD}\n",
        )


def test_scripts_read_json(directory):
    without_the_last_revision(directory / DATABASE)
    said = [
        json.loads(run("migrate", "--json", "--data", str(directory), *flags).stdout)
        for flags in (("--check",), (), ())
    ]
    assert said == [
        {"from": "0004", "to": HEAD, "needed": True, "done": False},
        {"from": "0004", "to": HEAD, "needed": True, "done": True},
        {"from": HEAD, "to": HEAD, "needed": False, "done": False},
    ]


async def test_the_directory_of_a_running_daemon_is_refused_and_may_be_looked_at(directory):
    store = await open_store(directory, HandClock())
    try:
        said = run("migrate", "--data", str(directory))
        assert (said.exit_code, "in use by another stopgap" in said.stderr) == (1, True)
        assert run("migrate", "--check", "--data", str(directory)).exit_code == 0
    finally:
        await store.close()


@pytest.mark.parametrize(("flags", "code"), [((), 1), (("--check",), 2)])
def test_a_newer_schema_is_refused_with_the_cure(directory, flags, code):
    at_revision(directory / DATABASE, "9999")
    said = run("migrate", "--data", str(directory), *flags)
    assert (said.exit_code, "a newer one wrote it; run that version" in said.stderr) == (code, True)


def test_a_file_that_is_no_database_is_said(directory):
    (directory / DATABASE).write_text("x" * 9000)
    said = run("migrate", "--check", "--data", str(directory))
    assert (said.exit_code, "cannot be read (file is not a database)" in said.stderr) == (2, True)


def test_no_store_is_made_where_there_was_none(tmp_path):
    said = run("migrate", "--data", str(tmp_path))
    assert (said.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "holds no stopgap.db" in said.stderr


def test_a_directory_and_a_shared_database_cannot_both_be_meant(directory):
    said = run("migrate", "--data", str(directory), STOPGAP_DATABASE_URL="postgresql://x")
    assert (said.exit_code, "Leave --data out" in said.stderr) == (2, True)


def test_wrong_settings_are_said(tmp_path):
    said = run("migrate", STOPGAP_DATABASE_URL_FILE=str(tmp_path / "none"))
    assert (said.exit_code, "none: No such file" in said.stderr) == (2, True)


# --- a shared database ---


def test_of_three_at_once_on_an_empty_database_one_does_it_and_the_others_find_it_done(postgres):
    url = postgres.database().url
    assert (run("migrate", "--check", STOPGAP_DATABASE_URL=url)).exit_code == 1
    processes = [started(url) for _ in range(3)]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert sorted(said) == [
        f"migrated: the database had no tables yet, now it has schema {HEAD}\n",
        f"nothing to do: the database has schema {HEAD}\n",
        f"nothing to do: the database has schema {HEAD}\n",
    ]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert run("migrate", "--check", STOPGAP_DATABASE_URL=url).exit_code == 0


def test_the_address_may_be_a_file_and_no_other_setting_is_needed(postgres, tmp_path):
    (tmp_path / "url").write_text(postgres.database().url + "\n")
    said = run("migrate", STOPGAP_DATABASE_URL_FILE=str(tmp_path / "url"), STOPGAP_LISTEN="0.0.0.0:9797")
    assert (said.exit_code, said.stdout.startswith("migrated")) == (0, True)


def test_a_database_that_is_away_is_said_without_its_password():
    address = {"STOPGAP_DATABASE_URL": "postgresql://me:hush@127.0.0.1:1/x"}
    for flags, code in (((), 1), (("--check",), 2)):
        said = run("migrate", *flags, **address)
        assert (said.exit_code, "Connection refused" in said.stderr, "hush" in said.stderr) == (
            code,
            True,
            False,
        )


def test_who_may_not_make_tables_is_told_who_should(postgres):
    base = postgres.database()
    base.run(f"ALTER SCHEMA public OWNER TO postgres; REVOKE ALL ON SCHEMA public FROM {base.user}, PUBLIC")
    said = run("migrate", STOPGAP_DATABASE_URL=base.url)
    assert (said.exit_code, "as the owner of the tables" in said.stderr) == (1, True)


async def test_a_daemon_needs_no_right_to_make_tables_once_somebody_else_has_made_them(postgres):
    base = postgres.database()
    assert run("migrate", STOPGAP_DATABASE_URL=base.url).exit_code == 0
    base.run(
        "CREATE ROLE serving LOGIN PASSWORD 'x'",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO serving",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO serving",
    )
    url = f"postgresql://serving:x@{postgres.address}/{base.name}"
    standby = await join(url, 5, "", HandClock())
    store = await standby.elected()
    assert store.epoch == 1
    await store.close()
    await standby.close()


def test_a_table_that_a_backup_reads_for_long_holds_nobody_else_up(postgres, monkeypatch):
    """An ALTER TABLE that waits is waited for by all who want the table after it."""
    base = postgres.database()
    assert run("migrate", STOPGAP_DATABASE_URL=base.url).exit_code == 0
    base.run("DROP TABLE leader, inbox", "UPDATE alembic_version SET version_num = '0004'")
    monkeypatch.setattr(on_postgres, "TRIES", 2)
    monkeypatch.setattr(on_postgres, "TABLE_WITHIN", 0.1)
    monkeypatch.setattr(on_postgres, "_ALONE", (*on_postgres._ALONE[:-1], "SET LOCAL lock_timeout = '100ms'"))
    with base.connect(base.name) as reader:
        reader.autocommit = False
        reader.execute("SELECT * FROM alembic_version FOR SHARE")
        said = run("migrate", STOPGAP_DATABASE_URL=base.url)
        assert (said.exit_code, "a backup? Try again" in said.stderr) == (1, True)
    assert run("migrate", STOPGAP_DATABASE_URL=base.url).stdout.startswith("migrated")
