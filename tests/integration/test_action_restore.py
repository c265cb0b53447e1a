"""A restore puts back the right copy, whole, keeps the old state, and can be taken back."""

import asyncio
import dataclasses
import gzip
import io
import os
import shutil
import sqlite3
import stat
import tarfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.copying import (
    BACK,
    BACKUP,
    RESTORE,
    copied,
    damaged,
    names,
    of,
    restoring as params,
    sqlite,
    stored,
)
from tests.disks import fill, small_disk

from stopgap.action import Danger, Restored, Settled
from stopgap.actions import Restore
from stopgap.copies import exchange, holders, sqlite as sqlites
from stopgap.errors import ActionError, PermanentError, TemporaryError

ACTION = Restore(None)


@pytest.fixture
def shelf(tmp_path):
    return tmp_path / "backups"


@pytest.fixture(params=["sqlite", "folder", "file"])
def thing(request, tmp_path):
    return of(request.param, request, tmp_path)


# --- the contract ---


async def test_the_good_state_comes_back_and_taking_back_restores_the_other(thing, shelf):
    good, bad = await damaged(thing, shelf)
    assert good != bad
    given = params(thing, shelf)
    assert "would put back" in await ACTION.rehearse(given, RESTORE)
    assert thing.read() == bad
    before = stored(await ACTION.observe(given, RESTORE))
    receipt = stored(await ACTION.run(given, before, RESTORE))
    assert thing.read() == good
    thing.write("carl")
    answer = await ACTION.revert(given, before, receipt, BACK)
    assert answer.result is Restored.REVERTED
    assert answer.detail
    assert thing.read() == bad
    again = await ACTION.revert(given, before, receipt, BACK)
    assert again.result is Restored.NOTHING
    assert thing.read() == bad


async def test_taking_back_without_a_receipt_restores_too(thing, shelf):
    _, bad = await damaged(thing, shelf)
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    await ACTION.run(given, before, RESTORE)
    await ACTION.revert(given, before, None, BACK)
    assert thing.read() == bad


async def test_acting_twice_with_one_key_is_acting_once(thing, shelf):
    await damaged(thing, shelf)
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    receipt = stored(await ACTION.run(given, before, RESTORE))
    thing.write("carl")
    once = thing.read()
    assert ACTION.idempotent(given)
    assert stored(await ACTION.run(given, before, RESTORE)) == receipt
    assert thing.read() == once


async def test_an_unknown_outcome_is_settled_by_observing(thing, shelf):
    await damaged(thing, shelf)
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    assert ACTION.settled(given, before, await ACTION.observe(given, RESTORE)) is Settled.NOT_DONE
    assert ACTION.settled_revert(given, before, before) is Settled.DONE
    receipt = await ACTION.run(given, before, RESTORE)
    now = stored(await ACTION.observe(given, RESTORE))
    assert ACTION.settled(given, before, now) is Settled.DONE
    assert ACTION.settled_revert(given, before, stored(await ACTION.observe(given, BACK))) is Settled.NOT_DONE
    await ACTION.revert(given, before, receipt, BACK)
    assert ACTION.settled_revert(given, before, await ACTION.observe(given, BACK)) is Settled.DONE


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
    await damaged(thing, shelf)
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
    assert "there was nothing before" in ACTION.undo_by_hand(given, before)
    assert (await ACTION.revert(given, before, receipt, BACK)).result is Restored.REVERTED
    assert not thing.read()


async def test_a_cancelled_restore_is_whole_or_not_there(thing, shelf):
    good, bad = await damaged(thing, shelf)
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    for seconds in (0, 0.005, 0.05, 0.2):
        task = asyncio.create_task(ACTION.run(given, before, RESTORE))
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        now = stored(await ACTION.observe(given, RESTORE))
        assert thing.read() == (good if ACTION.settled(given, before, now) is Settled.DONE else bad)
        assert left_over(thing) == []
        await ACTION.revert(given, before, None, BACK)
        given = params(thing, shelf)


def left_over(thing):
    """Name what is staged and was not removed."""
    folder = Path(thing.locator.partition("://")[2]).parent
    return [name for name in names(folder) if "/" not in name and ".stopgap-" in name]


async def test_who_approves_reads_which_copy_it_is(tmp_path, shelf):
    thing = sqlite(tmp_path)
    copy = await copied(thing, shelf)
    given = params(thing, shelf)
    said = ACTION.undo_by_hand(given, stored(await ACTION.observe(given, RESTORE)))
    assert f"exchanged for {copy}, made at 2" in said


async def test_an_approval_does_not_go_stale_while_the_service_works_on(thing, shelf):
    await damaged(thing, shelf)
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    thing.write("dora")
    assert stored(await ACTION.observe(given, RESTORE)) == before


def test_it_is_destructive_and_says_what_it_does():
    given = Restore.params(**{"from": "/var/backups/x", "to": "postgres://u@h/db", "max_age": "26h"})
    assert ACTION.danger is Danger.DESTRUCTIVE
    assert ACTION.describe(given) == (
        "restore postgres:h:5432/db from the latest copy in /var/backups/x, no older than 1d2h; the old state is kept aside"
    )
    assert ACTION.resource(given) == ("postgres:h:5432/db",)
    assert "database db_before_ab" in ACTION.undo_by_hand(given, {"live": "1", "mark": "ab", "copy": None})


# --- which copy ---


async def chosen(thing, shelf, moment=RESTORE, **more):
    before = await ACTION.observe(params(thing, shelf, **more), moment)
    return Path(before["copy"]["path"]).name


def later(moment, seconds, **more):
    return dataclasses.replace(moment, key=f"{moment.key}/{seconds}", **more)


async def test_the_emergency_copy_of_the_same_rung_is_never_chosen(tmp_path, shelf):
    thing = sqlite(tmp_path)
    good = await copied(thing, shelf, name="good-{time}")
    await copied(thing, shelf, later(RESTORE, 1), name="evidence-{time}", verify=False)
    await copied(thing, shelf, later(RESTORE, 2), name="same-rung-{time}")
    await copied(thing, shelf, later(RESTORE, 3, incident="INC-9"), name="last-flap-{time}")
    assert await chosen(thing, shelf) == good.name
    own = await chosen(thing, shelf, **{"from": {"folder": str(shelf), "own": True}})
    assert own.startswith("last-flap")


async def test_evidence_is_not_chosen_even_when_it_is_all_there_is(tmp_path, shelf):
    thing = sqlite(tmp_path)
    await copied(thing, shelf, verify=False)
    for source in ({"folder": str(shelf)}, {"folder": str(shelf), "match": "*", "own": True}):
        with pytest.raises(PermanentError, match="no proved copy"):
            await chosen(thing, shelf, **{"from": source})


async def test_copies_of_something_else_are_not_chosen(tmp_path, shelf, request):
    thing = sqlite(tmp_path)
    file = of("file", request, tmp_path)
    good = await copied(thing, shelf, name="a-{time}")
    (tmp_path / "other").mkdir()
    other = await copied(sqlite(tmp_path / "other"), shelf, later(BACKUP, 1), name="b-{time}")
    await copied(file, shelf, later(BACKUP, 2), name="c-{time}")
    assert await chosen(thing, shelf) == good.name
    assert (
        await chosen(thing, shelf, **{"from": {"folder": str(shelf), "match": ["b-*", "c-*"]}}) == other.name
    )


async def test_files_without_a_manifest_are_taken_only_if_wanted_and_by_name(tmp_path, shelf):
    thing = sqlite(tmp_path)
    shelf.mkdir()
    for name, age in {
        "hotel-1.db": 3,
        "hotel-2.db": 2,
        "emergency.db": 1,
        "note.txt": 0,
        ".hidden.db": 0,
        "empty.db": 0,
    }.items():
        (shelf / name).write_bytes(b"" if name == "empty.db" else b"x")
        os.utime(shelf / name, (1e9 - age, 1e9 - age))
    (shelf / "link.db").symlink_to(shelf / "note.txt")
    source = {"folder": str(shelf), "match": "*.db", "not_match": "emergency*"}
    with pytest.raises(PermanentError, match="no proved copy"):
        await chosen(thing, shelf, **{"from": source})
    source["without_manifest"] = True
    assert await chosen(thing, shelf, **{"from": source}) == "hotel-2.db"


async def test_an_old_copy_is_refused(tmp_path, shelf, monkeypatch):
    thing = sqlite(tmp_path)
    await copied(thing, shelf)

    class Tomorrow:
        def now(self):
            return datetime.now(UTC) + timedelta(hours=27)

    monkeypatch.setattr(ACTION, "_clock", Tomorrow())
    with pytest.raises(PermanentError, match=r"is 1d3h old: older than 1d2h"):
        await chosen(thing, shelf, max_age="26h")


async def test_a_missing_folder_is_said(tmp_path, shelf):
    with pytest.raises(PermanentError, match="no such file"):
        await chosen(sqlite(tmp_path), shelf)


# --- what is checked before the live one is touched ---


async def test_a_copy_that_changed_since_is_refused(thing, shelf):
    _, bad = await damaged(thing, shelf)
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    path = Path(before["copy"]["path"])
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0xFF
    path.write_bytes(bytes(body))
    with pytest.raises(PermanentError, match="checksum differs"):
        await ACTION.run(given, before, RESTORE)
    assert thing.read() == bad


@pytest.mark.parametrize("kind", ["sqlite", "folder"])
async def test_a_torn_file_without_a_manifest_is_refused(kind, request, tmp_path, shelf):
    thing = of(kind, request, tmp_path)
    copy = await copied(thing, shelf)
    bad = thing.read()
    torn = shelf / f"torn{copy.suffix}"
    torn.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    source = {"folder": str(shelf), "match": "torn*", "without_manifest": True}
    given = params(thing, shelf, **{"from": source})
    before = await ACTION.observe(given, RESTORE)
    with pytest.raises(ActionError):
        await ACTION.run(given, before, RESTORE)
    assert thing.read() == bad
    assert left_over(thing) == []


async def test_a_full_disk_leaves_the_live_file_alone(tmp_path, shelf):
    with small_disk(tmp_path / "live", 512) as disk:
        thing = sqlite(tmp_path)
        with closing(sqlite3.connect(disk / "hotel.db")) as base:
            base.execute("CREATE TABLE big AS SELECT randomblob(50000) AS b")
            base.commit()
        await copied(thing, shelf)
        old = thing.read()
        fill(disk)
        given = params(thing, shelf)
        before = await ACTION.observe(given, RESTORE)
        with pytest.raises(PermanentError, match=r"no space left|too large"):
            await ACTION.run(given, before, RESTORE)
        (disk / "filler").unlink()
        assert thing.read() == old
        assert [name for name in names(disk) if "stopgap" in name or "before" in name] == []


async def test_a_database_that_somebody_has_open_is_not_exchanged(tmp_path, shelf, request):
    thing = sqlite(tmp_path)
    _, bad = await damaged(thing, shelf)
    given = params(thing, shelf)
    before = await ACTION.observe(given, RESTORE)
    with closing(sqlite3.connect(thing.locator.removeprefix("sqlite://"))) as app:
        app.execute("SELECT * FROM guest").fetchall()
        with pytest.raises(
            TemporaryError, match=rf"is open in process {os.getpid()} \(.+\): stop that first"
        ):
            await ACTION.run(given, before, RESTORE)
    assert thing.read() == bad
    assert left_over(thing) == []


def in_the_log(path):
    """Write as a service does that is then killed: what it wrote is still in the log."""
    with closing(sqlite3.connect(path)) as app:
        app.execute("PRAGMA wal_autocheckpoint = 0")
        app.execute("INSERT INTO guest VALUES ('in the log')")
        app.commit()
        for each in ("", "-wal"):
            shutil.copy(f"{path}{each}", f"{path}{each}.kept")
    for each in ("", "-wal"):
        Path(f"{path}{each}.kept").rename(f"{path}{each}")


async def test_the_log_of_the_old_database_never_meets_the_new_one(tmp_path, shelf):
    thing = sqlite(tmp_path)
    good, _ = await damaged(thing, shelf)
    path = Path(thing.locator.removeprefix("sqlite://"))
    in_the_log(path)
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    receipt = await ACTION.run(given, before, RESTORE)
    assert thing.read() == good
    assert Path(f"{receipt['old']}-wal").exists()
    await ACTION.revert(given, before, receipt, BACK)
    assert "in the log" in thing.read()


@pytest.mark.parametrize("end", ["run again", "taken back"])
async def test_an_exchange_of_files_that_died_halfway_is_put_right(end, tmp_path, shelf):
    thing = sqlite(tmp_path)
    good, _ = await damaged(thing, shelf)
    path = Path(thing.locator.removeprefix("sqlite://"))
    in_the_log(path)
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    half = exchange.Exchange(path, before["mark"], sqlites.COMPANIONS)
    os.link(path, half.aside)  # killed when the old file had its second name and its log had followed it
    Path(f"{path}-wal").replace(f"{half.aside}-wal")
    if end == "run again":
        half.staged.write_bytes(b"whatever was staged")
    assert ACTION.settled(given, before, await ACTION.observe(given, RESTORE)) is Settled.NOT_DONE
    if end == "run again":
        receipt = await ACTION.run(given, before, RESTORE)
        assert thing.read() == good
        await ACTION.revert(given, before, receipt, BACK)
    else:
        assert (await ACTION.revert(given, before, None, BACK)).result is Restored.NOTHING
        assert not half.staged.exists()
    assert "in the log" in thing.read()


async def test_an_exchange_of_folders_that_died_between_its_renames_is_put_right(tmp_path, shelf, request):
    thing = of("folder", request, tmp_path)
    good, bad = await damaged(thing, shelf)
    path = Path(thing.locator.removeprefix("file://"))
    given = params(thing, shelf)
    before = stored(await ACTION.observe(given, RESTORE))
    half = exchange.Exchange(path, before["mark"], prefix=".")
    path.rename(half.aside)
    assert ACTION.settled(given, before, await ACTION.observe(given, RESTORE)) is Settled.NOT_DONE
    await ACTION.run(given, before, RESTORE)
    assert thing.read() == good
    await ACTION.revert(given, before, None, BACK)
    path.rename(half.aside)
    assert (await ACTION.revert(given, before, None, BACK)).result is Restored.NOTHING
    assert thing.read() == bad


async def test_a_folder_that_cannot_take_its_place_is_put_back(tmp_path, shelf, request, monkeypatch):
    thing = of("folder", request, tmp_path)
    _, bad = await damaged(thing, shelf)
    real = Path.rename

    def failing(self, target):
        if ".stopgap-" in self.name:
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    given = params(thing, shelf)
    with pytest.raises(PermanentError, match="nothing was exchanged"):
        await ACTION.run(given, await ACTION.observe(given, RESTORE), RESTORE)
    assert thing.read() == bad
    assert left_over(thing) == []


# --- copies that others made ---


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["sqlite", "file"])
async def test_what_a_nightly_job_copied_is_put_back(kind, packed, request, tmp_path, shelf):
    thing = of(kind, request, tmp_path)
    shelf.mkdir()
    good = thing.read()
    body = Path(thing.locator.partition("://")[2])
    if kind == "sqlite":
        with closing(sqlite3.connect(body)) as base:
            base.execute("VACUUM INTO ?", (str(shelf / "nightly"),))
    else:
        shutil.copy(body, shelf / "nightly")
    if packed:
        (shelf / "nightly").write_bytes(gzip.compress((shelf / "nightly").read_bytes()))
    thing.write("bob")
    source = {"folder": str(shelf), "match": "nightly", "without_manifest": True}
    given = params(thing, shelf, **{"from": source})
    await ACTION.run(given, await ACTION.observe(given, RESTORE), RESTORE)
    assert thing.read() == good


async def test_an_archive_that_leaves_its_folder_is_refused(tmp_path, shelf, request):
    thing = of("folder", request, tmp_path)
    shelf.mkdir()
    old = thing.read()
    source = {"folder": str(shelf), "match": "*.tar", "without_manifest": True}
    for wrong in ("etc/../../pwned", "etc/link/pwned", "/pwned", "two/x"):
        with tarfile.open(shelf / "evil.tar", "w") as tar:
            link = tarfile.TarInfo("etc/link")
            link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
            tar.addfile(link)
            member = tarfile.TarInfo(wrong)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
        given = params(thing, shelf, **{"from": source})
        with pytest.raises(PermanentError):
            await ACTION.run(given, await ACTION.observe(given, RESTORE), RESTORE)
    assert thing.read() == old
    assert not list(tmp_path.rglob("pwned"))
    assert left_over(thing) == []


@pytest.mark.parametrize("kind", ["through a link", "a hard link", "a hard link to a link"])
async def test_an_archive_reaches_nothing_beside_its_folder(tmp_path, shelf, request, kind):
    thing = of("folder", request, tmp_path)
    shelf.mkdir()
    beside = tmp_path / "live" / "precious"
    beside.write_text("theirs")
    beside.chmod(0o640)
    link, member = tarfile.TarInfo("etc/link"), tarfile.TarInfo("etc/link/precious")
    link.type, link.linkname = tarfile.SYMTYPE, ".."
    if kind != "through a link":
        link.linkname = "../precious"
        member = tarfile.TarInfo("etc/hard")
        member.type, member.linkname = tarfile.LNKTYPE, "etc/link" if "to" in kind else "etc/../precious"
        member.mode = 0o666
    with tarfile.open(shelf / "evil.tar", "w") as tar:
        tar.addfile(link)
        tar.addfile(member)
    given = params(
        thing, shelf, **{"from": {"folder": str(shelf), "match": "*.tar", "without_manifest": True}}
    )
    with pytest.raises(PermanentError, match="leads out of it"):
        await ACTION.run(given, await ACTION.observe(given, RESTORE), RESTORE)
    seen = beside.stat()
    assert (beside.read_text(), seen.st_nlink, stat.S_IMODE(seen.st_mode)) == ("theirs", 1, 0o640)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"to": "redis://x"}, "cannot be copied"),
        ({"from": "backups"}, "not an absolute path"),
        ({"from": {"folder": "/var/backups", "match": "../x"}}, "match pattern"),
        ({"from": {"folder": "/var/backups", "without_manifest": True}}, "add match"),
        ({"from": {"folder": "/var/backups", "newest": True}}, "not permitted"),
        ({"max_age": "old"}, "not a duration"),
    ],
)
def test_what_is_wrong_does_not_load(given, said):
    with pytest.raises(ValidationError, match=said):
        Restore.params(**{"from": "/var/backups/x", "to": "sqlite:///srv/x.db", **given})


def test_nobody_holds_a_file_that_is_not_there(tmp_path):
    assert holders.of([tmp_path / "missing"]) == ""
