"""A copy appears whole and proved, or not at all, and nothing else is touched."""

import asyncio
import dataclasses
import hashlib
import json
import os
import sqlite3
import stat
import tarfile
import threading
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from tests.copying import BACKUP, KINDS, names, of, sqlite, stored
from tests.disks import fill, small_disk

from stopgap import process
from stopgap.action import Settled
from stopgap.actions import Backup
from stopgap.copies import manifest as manifests, shelf, sqlite as sqlites
from stopgap.errors import PermanentError, TemporaryError

ACTION = Backup(None)


@pytest.fixture
def shelf_of(tmp_path):
    return tmp_path / "backups"


def params(thing, to, **more):
    return Backup.params(**{"of": thing.locator, "to": str(to), **thing.password, **more})


async def made(given, moment=BACKUP):
    before = stored(await ACTION.observe(given, moment))
    return stored(await ACTION.run(given, before, moment))


def another(n, **more):
    return dataclasses.replace(BACKUP, key=f"INC-1/0/0/do/{n}", **more)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_copy_is_whole_private_and_has_its_manifest(kind, request, tmp_path, shelf_of):
    thing = of(kind, request, tmp_path)
    old = thing.read()
    given = params(thing, shelf_of)
    assert "would write up to" in await ACTION.rehearse(given, BACKUP)
    assert not shelf_of.exists()
    receipt = await made(given)
    path = Path(receipt["path"])
    written = manifests.Manifest.read(path.with_name(path.name + ".json").read_text())
    assert names(shelf_of) == sorted([path.name, path.name + ".json"])
    assert [stat.S_IMODE(each.stat().st_mode) for each in (shelf_of, *shelf_of.iterdir())] == [
        0o700,
        0o600,
        0o600,
    ]
    assert written.sha256 == receipt["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert written.bytes == receipt["bytes"] == path.stat().st_size > 0
    assert written.verified
    assert not written.evidence
    assert (written.rule, written.incident) == ("hotel/before", "INC-1")
    assert ACTION.describe(given).startswith(f"copy {written.of} to ")
    assert thing.read() == old


@pytest.mark.parametrize("kind", KINDS)
async def test_one_key_makes_one_copy_and_its_outcome_can_be_observed(kind, request, tmp_path, shelf_of):
    given = params(of(kind, request, tmp_path), shelf_of)
    before = stored(await ACTION.observe(given, BACKUP))
    assert ACTION.settled(given, before, await ACTION.observe(given, BACKUP)) is Settled.NOT_DONE
    first = stored(await ACTION.run(given, before, BACKUP))
    assert ACTION.settled(given, before, await ACTION.observe(given, BACKUP)) is Settled.DONE
    assert stored(await ACTION.run(given, before, BACKUP)) == first
    assert len(names(shelf_of)) == 2
    assert not ACTION.reverts(given)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_copy_leaves_nothing(kind, request, tmp_path, shelf_of):
    thing = of(kind, request, tmp_path)
    given = params(thing, shelf_of)
    before = await ACTION.observe(given, BACKUP)
    for seconds in (0, 0.005, 0.03):
        task = asyncio.create_task(ACTION.run(given, before, BACKUP))
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        left = names(shelf_of) if shelf_of.exists() else []
        assert len(left) in (0, 2)
        assert not [name for name in left if name.startswith(".")]
    assert "ann" in str(thing.read())


async def test_a_cancelled_sqlite_copy_ends_at_the_next_pages(tmp_path, shelf_of, monkeypatch):
    thing = sqlite(tmp_path)
    with closing(sqlite3.connect(thing.locator.removeprefix("sqlite://"))) as base:
        base.execute(
            "CREATE TABLE big AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 2000)"
            " SELECT randomblob(1000) AS b FROM n"
        )
        base.commit()
    begun, go_on = threading.Event(), threading.Event()
    real = sqlites.Errand.pause

    def slow(job):
        begun.set()
        go_on.wait(5)
        real(job)

    monkeypatch.setattr(sqlites, "_PAGES", 5)
    monkeypatch.setattr(sqlites.Errand, "pause", slow)
    given = params(thing, shelf_of)
    task = asyncio.create_task(ACTION.run(given, await ACTION.observe(given, BACKUP), BACKUP))
    await asyncio.to_thread(begun.wait, 5)
    assert [name for name in names(shelf_of) if name.startswith(".stopgap-")]
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(shelf_of) == []


async def test_what_is_written_meanwhile_neither_breaks_nor_delays_a_copy(tmp_path, shelf_of, monkeypatch):
    thing = sqlite(tmp_path)
    monkeypatch.setattr(sqlites, "_PAGES", 1)
    writing = sqlite3.connect(thing.locator.removeprefix("sqlite://"))
    writing.execute("INSERT INTO guest VALUES ('not yet committed')")
    receipt = await made(params(thing, shelf_of))
    writing.rollback()
    writing.close()
    with closing(sqlite3.connect(receipt["path"])) as copy:
        assert copy.execute("SELECT name FROM guest").fetchall() == [("ann",)]


# --- corruption ---


def corrupt(thing) -> Path:
    path = Path(thing.locator.removeprefix("sqlite://"))
    with closing(sqlite3.connect(path)) as base:
        base.execute(
            "CREATE TABLE big AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 200)"
            " SELECT hex(randomblob(200)) AS b FROM n"
        )
        base.commit()
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 8192)
    return path


async def test_a_corrupt_database_is_no_backup(tmp_path, shelf_of):
    thing = sqlite(tmp_path)
    corrupt(thing)
    with pytest.raises(PermanentError, match=r"integrity check|malformed"):
        await made(params(thing, shelf_of))
    assert names(shelf_of) == []


@pytest.mark.parametrize("how", ["torn", "no database"])
async def test_a_corrupt_database_is_kept_as_evidence_byte_by_byte(how, tmp_path, shelf_of):
    thing = sqlite(tmp_path)
    path = corrupt(thing)
    if how == "no database":
        path.write_bytes(b"not a database at all")
    path.with_name("hotel.db-wal").write_bytes(b"what was not yet written back")
    body = path.read_bytes()
    given = params(thing, shelf_of, verify=False)
    receipt = await made(given)
    with tarfile.open(receipt["path"]) as tar:
        assert tar.extractfile("hotel.db").read() == body
        assert tar.extractfile("hotel.db-wal").read() == b"what was not yet written back"
    assert path.read_bytes() == body
    assert receipt["verified"] is False
    assert ".evidence." in receipt["path"]
    assert "evidence" in ACTION.describe(given)


async def test_a_locked_database_may_be_tried_again(tmp_path, shelf_of, monkeypatch):
    thing = sqlite(tmp_path, wal=False)
    monkeypatch.setattr(sqlites, "_BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(thing.locator.removeprefix("sqlite://"))) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TemporaryError, match="locked"):
            await made(params(thing, shelf_of))
    assert names(shelf_of) == []


# --- keeping so many ---


async def test_the_newest_stay_and_only_our_own_go(tmp_path, shelf_of):
    thing, other = sqlite(tmp_path), sqlite(tmp_path / "live")
    shelf_of.mkdir()
    (shelf_of / "hotel-nightly.sqlite").write_text("made by cron")
    (shelf_of / "hotel-nightly.sqlite.json").write_text('{"mine": true}')
    await made(params(other, shelf_of, name="other-{time}"), another("other"))
    await made(params(thing, shelf_of, verify=False), another("evidence"))
    for i in range(5):
        at = datetime(2026, 11, 21, 10, i, tzinfo=UTC).isoformat()
        given = params(thing, shelf_of, keep=2, name="hotel-{time}")
        receipt = await ACTION.run(given, {"at": at, "made": None}, another(i))
    left = [name for name in names(shelf_of) if not name.endswith(".json")]
    kept = ["hotel-20261121T100300Z.sqlite", "hotel-20261121T100400Z.sqlite", "hotel-nightly.sqlite"]
    assert [name for name in left if "evidence" not in name and "other" not in name] == kept
    assert len(left) == 5
    assert receipt["removed"] == ["hotel-20261121T100200Z.sqlite"]
    assert (shelf_of / "hotel-nightly.sqlite.json").exists()


async def test_the_copy_just_made_stays_though_the_clock_was_ahead(tmp_path, shelf_of):
    thing = sqlite(tmp_path)
    for at in ("2031-01-01T00:00:00+00:00", "2032-01-01T00:00:00+00:00", "2026-11-21T10:00:00+00:00"):
        given = params(thing, shelf_of, keep=2, name="hotel-{time}")
        receipt = await ACTION.run(given, {"at": at, "made": None}, another(at))
        assert Path(receipt["path"]).exists()
    assert receipt["removed"] == ["hotel-20310101T000000Z.sqlite"]


async def test_no_file_of_somebody_else_is_replaced(tmp_path, shelf_of):
    thing = sqlite(tmp_path)
    shelf_of.mkdir()
    at = datetime(2026, 11, 21, 10, 0, tzinfo=UTC).isoformat()
    (shelf_of / "hotel-20261121T100000Z.sqlite").write_text("theirs")
    with pytest.raises(TemporaryError, match="is there already"):
        await ACTION.run(params(thing, shelf_of), {"at": at, "made": None}, BACKUP)
    assert names(shelf_of) == ["hotel-20261121T100000Z.sqlite"]
    assert (shelf_of / "hotel-20261121T100000Z.sqlite").read_text() == "theirs"


async def test_what_dead_tries_left_is_removed(tmp_path, shelf_of):
    thing = sqlite(tmp_path)
    shelf_of.mkdir()
    own = shelf.part_of(shelf_of, hashlib.sha256(BACKUP.key.encode()).hexdigest()[:12])
    own.symlink_to(tmp_path / "elsewhere")
    old, fresh = shelf.part_of(shelf_of, "old"), shelf.part_of(shelf_of, "fresh")
    old.touch()
    fresh.touch()
    os.utime(old, (0, 0))
    await made(params(thing, shelf_of))
    assert [name for name in names(shelf_of) if name.startswith(".")] == [fresh.name]
    assert not (tmp_path / "elsewhere").exists()


# --- room ---


@pytest.mark.parametrize("kind", ["sqlite", "folder", "postgres", "mysql"])
async def test_a_full_disk_is_said_and_nothing_is_left(kind, request, tmp_path, monkeypatch):
    thing = of(kind, request, tmp_path)
    monkeypatch.setattr(shelf, "check", lambda *_: None)  # the disk fills up only after we looked
    with small_disk(tmp_path / "disk", 64) as disk:
        fill(disk)
        with pytest.raises(
            PermanentError, match=r"(?i)no space left|disk is full|disk I/O|too large|write error"
        ):
            await made(params(thing, disk, min_free=0))
        assert names(disk) == ["filler"]
    assert "ann" in str(thing.read())


async def test_room_is_left_free(tmp_path):
    thing = sqlite(tmp_path)
    with small_disk(tmp_path / "disk", 1024) as disk:
        given = params(thing, disk, min_free="500TB")
        for asked in (ACTION.rehearse(given, BACKUP), made(given)):
            with pytest.raises(PermanentError, match="make room, or lower min_free"):
                await asked
        assert names(disk) == []


async def test_a_folder_that_anybody_may_write_into_is_refused(tmp_path, shelf_of):
    thing = sqlite(tmp_path)
    shelf_of.mkdir()
    shelf_of.chmod(0o777)
    with pytest.raises(PermanentError, match="anybody may write"):
        await made(params(thing, shelf_of))


# --- programs and passwords ---


@pytest.mark.parametrize(("kind", "program"), [("postgres", "pg_dump"), ("mysql", "mariadb-dump")])
async def test_the_password_is_in_no_argument_and_no_error(
    kind, program, request, tmp_path, shelf_of, monkeypatch
):
    thing = of(kind, request, tmp_path)
    seen, real = [], process.run

    async def watching(argv, **more):
        seen.append(list(argv))
        return await real(argv, **more)

    monkeypatch.setattr(process, "run", watching)
    secret = thing.password["password"]
    given = params(thing, shelf_of, password=SecretStr(secret))
    await made(given)
    assert any(argv[0].endswith(program) for argv in seen)
    assert secret not in str(seen)
    wrong = params(thing, shelf_of, password=SecretStr("hush-hush"))
    with pytest.raises(PermanentError, match=r"(?i)password|denied") as told:
        await made(wrong, another(2))
    assert "hush" not in f"{told.value}{ACTION.describe(wrong)}{ACTION.resource(wrong)}{wrong!r}"


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
async def test_a_missing_program_is_named(kind, request, tmp_path, shelf_of, monkeypatch):
    thing = of(kind, request, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PermanentError, match=r"is not there: install \w+"):
        await ACTION.rehearse(params(thing, shelf_of), BACKUP)


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
async def test_a_server_that_does_not_answer_is_no_unknown_outcome(kind, request, tmp_path, shelf_of):
    thing = of(kind, request, tmp_path)
    server = request.getfixturevalue("postgres" if kind == "postgres" else "mariadb")
    given = params(thing, shelf_of)
    before = await ACTION.observe(given, BACKUP)
    with server.frozen(), pytest.raises((PermanentError, TemporaryError)):
        await ACTION.run(given, before, dataclasses.replace(BACKUP, timeout=timedelta(seconds=0.5)))
    assert not shelf_of.exists() or names(shelf_of) == []


# --- what does not load ---


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"of": "redis://x/0"}, "cannot be copied: write one of sqlite:///"),
        ({"of": "sqlite://x.db"}, "and should not"),
        ({"of": "sqlite:///x/../y.db"}, "steps out"),
        ({"of": "postgres://u:pw@h/db"}, "not the address of a database"),
        ({"of": "postgres:///db"}, "either a host, or the path of a socket"),
        ({"of": "postgres://h/db;drop"}, "not the address"),
        ({"of": "mysql://h/`x`"}, "not the address"),
        ({"of": "file:///etc"}, "is too much"),
        ({"password": "x"}, "has no password"),
        ({"to": "/etc"}, "is protected"),
        ({"to": "backups"}, "not an absolute path"),
        ({"name": "fixed"}, "not a name for copies"),
        ({"name": "../{time}"}, "not a name for copies"),
        ({"keep": 0}, "greater than"),
        ({"min_free": "much"}, "not a size"),
    ],
)
def test_what_is_wrong_does_not_load(given, said):
    with pytest.raises(ValidationError, match=said) as told:
        Backup.params(**{"of": "sqlite:///srv/x.db", "to": "/var/backups/x", **given})
    assert "pw" not in str([each["msg"] for each in told.value.errors()])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"stopgap_copy": 1}', "[" * 5000, json.dumps({"stopgap_copy": 2, "of": "x"})],
)
def test_what_is_no_manifest_is_none(text):
    assert manifests.Manifest.read(text) is None


def test_a_manifest_reads_back():
    one = manifests.Manifest(
        "sqlite:/x", "sqlite", datetime(2026, 11, 21, tzinfo=UTC), 7, "ab", True, False, "r", "i", "k"
    )
    assert manifests.Manifest.read(one.text()) == one
    for key, wrong in {"bytes": "7", "verified": "yes", "made_at": "2026-11-21", "rule": 1}.items():
        with suppress(KeyError):
            assert manifests.Manifest.read(json.dumps({**json.loads(one.text()), key: wrong})) is None
