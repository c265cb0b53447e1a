"""A backup is consistent, compact, checked and private; it disturbs nobody and overwrites nothing."""

import asyncio
import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from tests.journal_examples import HandClock, acting, closing as ended, event, open_one, sighting
from typer.testing import CliRunner

from stopgap.cli import app
from stopgap.errors import StoreError
from stopgap.incident import EventKind as K
from stopgap.journal import Append
from stopgap.store import DATABASE, open_store
from stopgap.store.backup import back_up


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
async def store(tmp_path, clock):
    store = await open_store(tmp_path / "data", clock)
    yield store
    await store.close()


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return what all tables hold."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in names}


def run(*arguments: object, **environ: str):
    return CliRunner().invoke(app, ["backup", *map(str, arguments)], env=environ)


async def test_it_holds_every_row_and_only_its_owner_may_read_it(tmp_path, store, clock):
    one = await open_one(store, clock)
    act = acting(clock, one, "env:x")
    await store.append(Append(one, act.events, request=act.request, undo={"0/0/do": {"MODE": "secret"}}))
    two = await open_one(store, clock, "b", target="db")
    await store.append(ended(clock, two))
    await store.remember({"v1": {"name": "rule"}})
    made = await asyncio.to_thread(back_up, tmp_path / "data", tmp_path / "copy.db")
    assert rows(tmp_path / "copy.db") == rows(tmp_path / "data" / DATABASE)
    assert (made.incidents, made.live) == (2, 1)
    assert made.size == (tmp_path / "copy.db").stat().st_size
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "data"]


async def test_the_daemon_goes_on_meanwhile_and_the_copy_is_one_moment(tmp_path, store, clock):
    for n in range(200):
        await store.receive([sighting(clock, f"{n}", target=f"t{n}")])
    copying = asyncio.create_task(asyncio.to_thread(back_up, tmp_path / "data", tmp_path / "copy.db"))
    written = 0
    while not copying.done():
        # two incidents in one commit: a moment knows both or none
        pair = [sighting(clock, f"{side}{written}", target=f"{side}{written}") for side in ("a", "b")]
        await store.receive(pair)
        written += 1
    made = await copying
    assert written > 0
    targets = {row[4] for row in rows(tmp_path / "copy.db")["incident"]}
    assert {f"t{n}" for n in range(200)} <= targets
    assert {name[1:] for name in targets if name[0] == "a"} == {
        name[1:] for name in targets if name[0] == "b"
    }
    assert made.incidents == made.live == len(targets)


async def test_what_a_killed_daemon_left_is_copied_with_what_only_its_log_holds(tmp_path, store, clock):
    one = await open_one(store, clock)
    shutil.copytree(tmp_path / "data", tmp_path / "left")  # as after `kill -9`
    before = {
        path.name: path.read_bytes() for path in (tmp_path / "left").iterdir() if "shm" not in path.name
    }
    assert before["stopgap.db-wal"]
    made = await asyncio.to_thread(back_up, tmp_path / "left", tmp_path / "copy.db")
    assert made.incidents == 1
    assert rows(tmp_path / "copy.db")["incident"][0][1] == one
    after = {path.name: path.read_bytes() for path in (tmp_path / "left").iterdir() if "shm" not in path.name}
    assert after == before


async def test_a_stopped_daemon_is_copied_and_starts_again(tmp_path, clock):
    store = await open_store(tmp_path / "data", clock)
    one = await open_one(store, clock)
    await store.close()
    assert back_up(tmp_path / "data", tmp_path / "copy.db").live == 1
    store = await open_store(tmp_path / "data", clock)
    assert list(await store.live()) == [one]
    await store.close()


async def test_a_copy_is_a_store_again(tmp_path, store, clock):
    one = await open_one(store, clock)
    await asyncio.to_thread(back_up, tmp_path / "data", tmp_path / "copy.db")
    (tmp_path / "new").mkdir()
    shutil.copy(tmp_path / "copy.db", tmp_path / "new" / DATABASE)
    restored = await open_store(tmp_path / "new", clock)
    assert await restored.live() == await store.live()
    await restored.append(Append(one, (event(clock, K.NOTE_ADDED, text="x"),)))
    await restored.close()


async def test_what_was_pruned_takes_no_room_in_it(tmp_path, store, clock):
    name = await open_one(store, clock)
    for _ in range(20):
        events = tuple(event(clock, K.NOTE_ADDED, text="x" * 1000) for _ in range(50))
        await store.append(Append(name, events))
    await store.append(ended(clock, name))
    clock.move(days=8)
    before = clock.now() - timedelta(days=7)
    rest = tuple(await store.pruning.due(before, None))
    while rest:
        rest = (await store.pruning.drop(rest, before)).rest
    made = await asyncio.to_thread(back_up, tmp_path / "data", tmp_path / "copy.db")
    await store.close()
    assert made.incidents == 0
    assert made.size < 300_000 < (tmp_path / "data" / DATABASE).stat().st_size


async def test_nothing_is_overwritten_and_nothing_half_is_left(tmp_path, store, clock):
    await open_one(store, clock)
    (tmp_path / "there").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("there", "link"):
        with pytest.raises(StoreError, match="exists: name another file"):
            back_up(tmp_path / "data", tmp_path / name)
    assert (tmp_path / "there").read_text() == "precious"
    with pytest.raises(StoreError, match=r"cannot write .*: No such file"):
        back_up(tmp_path / "data", tmp_path / "no" / "copy.db")
    assert not list(tmp_path.glob("*.partial"))


async def test_what_a_killed_backup_left_is_written_anew(tmp_path, store, clock):
    await open_one(store, clock)
    (tmp_path / "copy.db.partial").write_bytes(b"half" * 1000)
    assert (await asyncio.to_thread(back_up, tmp_path / "data", tmp_path / "copy.db")).incidents == 1
    assert not (tmp_path / "copy.db.partial").exists()


async def test_two_backups_to_one_file_do_not_meet(tmp_path, store, clock):
    partial = tmp_path / "copy.db.partial"
    with partial.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="another backup writes"):
            back_up(tmp_path / "data", tmp_path / "copy.db")
    assert partial.exists()
    assert not (tmp_path / "copy.db").exists()


async def test_a_partial_file_that_is_a_link_is_not_followed(tmp_path, store, clock):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "copy.db.partial").symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match="cannot write"):
        back_up(tmp_path / "data", tmp_path / "copy.db")
    assert (tmp_path / "precious").read_text() == "precious"


async def test_a_damaged_store_gives_no_backup(tmp_path, clock):
    store = await open_store(tmp_path / "data", clock)
    for n in range(100):
        await store.receive([sighting(clock, f"{n}", target=f"t{n}")])
    await store.close()
    database = tmp_path / "data" / DATABASE
    size = database.stat().st_size
    with database.open("r+b") as file:
        for at in range(8192, size, 4096):
            file.seek(at)
            file.write(b"\xff" * 64)
    with pytest.raises(StoreError, match="restore an older"):
        back_up(tmp_path / "data", tmp_path / "copy.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


async def test_a_row_that_belongs_to_nothing_gives_no_backup(tmp_path, clock):
    await (await open_store(tmp_path / "data", clock)).close()
    with closing(sqlite3.connect(tmp_path / "data" / DATABASE)) as connection:
        connection.execute("INSERT INTO held VALUES ('env:x', 'INC-none', 0)")
        connection.commit()
    with pytest.raises(StoreError, match="rows that belong to nothing"):
        back_up(tmp_path / "data", tmp_path / "copy.db")


# --- on the command line ---


async def test_the_command_says_what_it_copied(tmp_path, store, clock):
    one = await open_one(store, clock)
    await store.append(ended(clock, one))
    await open_one(store, clock, "b", target="db")
    said = await asyncio.to_thread(run, tmp_path / "100% a?b#c.db", "--data", tmp_path / "data")
    assert (said.exit_code, said.stderr) == (0, "")
    assert said.stdout.startswith(f"backup: {tmp_path}/100% a?b#c.db, 0.")
    assert said.stdout.endswith(" MB: 2 incidents, 1 of them live; checked\n")
    told = await asyncio.to_thread(run, tmp_path / "b.db", "--json", STOPGAP_DATA=str(tmp_path / "data"))
    size = (tmp_path / "b.db").stat().st_size
    assert json.loads(told.stdout) == {
        "file": f"{tmp_path}/b.db",
        "bytes": size,
        "incidents": 2,
        "live": 1,
    }


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("there", "--data", "data"), 2, "there exists: name another file"),
        (("no/copy.db", "--data", "data"), 2, "no is no directory: make it first"),
        (("copy.db", "--data", "no"), 2, "no holds no stopgap.db"),
        (("copy.db", "--data", "empty"), 1, "no such table: incident; no daemon ever began to work with it"),
    ],
)
async def test_the_command_says_what_is_wrong(tmp_path, clock, monkeypatch, arguments, code, words):
    await (await open_store(tmp_path / "data", clock)).close()
    (tmp_path / "there").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / DATABASE).touch()
    monkeypatch.chdir(tmp_path)
    said = await asyncio.to_thread(run, *arguments)
    assert (said.exit_code, said.stdout) == (code, "")
    assert words in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("copy.db*"))


@pytest.mark.parametrize(
    ("url", "command"),
    [
        (
            "postgresql://me:pass%20word@db.example:5433/stopgap?password=hidden",
            "pg_dump --format custom --file {file} --host db.example --port 5433 --username me --dbname stopgap",
        ),
        ("postgresql://me:se@cret-pass@db/x", "pg_dump --format custom --file {file}"),
        ("postgresql://[pass", "pg_dump --format custom --file {file}"),
    ],
)
def test_of_postgresql_it_names_the_tool_and_no_secret(tmp_path, url, command):
    said = run(tmp_path / "copy.dump", STOPGAP_DATABASE_URL=url)
    assert said.exit_code == 2
    assert said.stderr.splitlines()[1] == command.format(file=tmp_path / "copy.dump")
    assert "pass" not in said.stderr
    assert "hidden" not in said.stderr


async def test_a_disk_that_is_full_is_said_and_the_half_copy_goes(tmp_path, store, clock):
    for n in range(100):
        await store.receive([sighting(clock, f"{n}", target=f"t{n}")])
    program = (
        "import resource, signal, sys; from pathlib import Path; from stopgap.store.backup import back_up;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40960, 40960));"
        "back_up(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data"), str(tmp_path / "copy.db")]
    said = await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": os.environ["PATH"]},  # what traces lines would write files, too
    )
    assert said.returncode == 1
    assert "cannot be copied" in said.stderr.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
