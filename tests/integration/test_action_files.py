"""Clean-ups take what was meant and nothing else: no link is followed, no bound passed, nobody's other file lost."""

import asyncio
import dataclasses
import gzip
import json
import os
import subprocess
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.disks import fill, small_disk

from stopgap import errand
from stopgap.action import Moment, Restored, Settled
from stopgap.actions import Files
from stopgap.actions.size import parse_size, print_size
from stopgap.errors import PermanentError
from stopgap.sweep import deeds, folder as folders

NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=20), rule="bookgen/disk", target="disk")
BACK = dataclasses.replace(NOW, key="INC-1/0/0/revert/1")  # as the engine asks for it
DAY = 86400
FILES = Files(None)


@pytest.fixture
def logs(tmp_path):
    root = tmp_path / "logs"
    root.mkdir()
    return root


def put(path, size=10, days=10.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    stamp = time.time() - days * DAY
    os.utime(path, (stamp, stamp))
    return path


def params(logs, **more):
    return Files.params(**{"under": str(logs), "match": "*", "older_than": "7d", **more})


def stored(value):
    return json.loads(json.dumps(value))


async def clear(logs, moment=NOW, **more):
    """Observe and run, and return both."""
    given = params(logs, **more)
    before = stored(await FILES.observe(given, moment))
    return before, stored(await FILES.run(given, before, moment))


def names(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


# --- what is taken ---


async def test_only_what_matches_and_is_old_goes(logs):
    for name in ("a.gz", "b.log.1", "deep/er/c.gz", "keep.log", "deep/keep.txt", ".hidden.gz"):
        put(logs / name)
    put(logs / "young.gz", days=1)
    before, receipt = await clear(logs, match=["*.gz", "*.log.[0-9]*"])
    assert names(logs) == [".hidden.gz", "deep/keep.txt", "keep.log", "young.gz"]
    assert before["files"] == receipt["files"] == 3
    assert before["bytes"] == receipt["bytes"] > 0
    assert sorted(receipt["names"]) == ["a.gz", "b.log.1", "deep/er/c.gz"]


async def test_the_newest_of_each_folder_stay(logs):
    for place in ("hotel", "shop"):
        for days in (8, 9, 10, 11):
            put(logs / place / f"{days}.dump", days=days)
    await clear(logs, keep_newest=3)
    assert names(logs) == [f"{place}/{days}.dump" for place in ("hotel", "shop") for days in (10, 8, 9)]


async def test_bounds_stop_it_with_the_oldest_gone_first(logs):
    for days in range(10, 20):
        put(logs / f"{days}", days=days)
    _, receipt = await clear(logs, max_files=3)
    assert names(logs) == [str(days) for days in range(10, 17)]
    assert receipt["beyond"] == 7
    size = (logs / "10").stat().st_blocks * 512
    _, receipt = await clear(logs, max_bytes=2 * size + 1)
    assert receipt["files"] == 2
    assert receipt["bytes"] == 2 * size


async def test_a_bound_can_refuse_instead(logs):
    for i in range(5):
        put(logs / f"{i}")
    with pytest.raises(PermanentError, match=r"would delete 5 files .* nothing was done"):
        await clear(logs, max_files=4, beyond="refuse")
    assert len(names(logs)) == 5


async def test_a_repetition_with_the_same_key_stays_within_the_bounds_of_one(logs):
    for i in range(10):
        put(logs / f"{i}")
    given = params(logs, max_files=4)
    before = stored(await FILES.observe(given, NOW))
    await FILES.run(given, before, NOW)
    left = names(logs)
    await FILES.run(given, before, NOW)
    assert names(logs) == left
    assert len(left) == 6


async def test_what_is_only_half_done_is_finished_within_the_bounds(logs):
    for i in range(10):
        put(logs / f"{i}")
    given = params(logs, max_files=4)
    before = stored(await FILES.observe(given, NOW))
    (logs / "0").unlink()
    assert FILES.settled(given, before, await FILES.observe(given, NOW)) is Settled.UNCLEAR
    assert FILES.idempotent(given)
    await FILES.run(given, before, NOW)
    assert len(names(logs)) == 6


async def test_an_unknown_outcome_is_settled_by_counting(logs):
    put(logs / "a")
    given = params(logs)
    before = stored(await FILES.observe(given, NOW))
    assert FILES.settled(given, before, await FILES.observe(given, NOW)) is Settled.NOT_DONE
    await FILES.run(given, before, NOW)
    assert FILES.settled(given, before, await FILES.observe(given, NOW)) is Settled.DONE


async def test_folders_that_deleting_empties_go_too_if_wanted(logs):
    put(logs / "bio1" / "inner" / "a.txt")
    put(logs / "bio2" / "a.txt")
    put(logs / "bio2" / "young.txt", days=0)
    (logs / "was-empty").mkdir()
    _, receipt = await clear(logs, empty_folders=True)
    assert sorted(path.name for path in logs.iterdir()) == ["bio2", "was-empty"]
    assert receipt["folders"] == 2


async def test_nothing_to_clear_is_no_failure(logs):
    _, receipt = await clear(logs)
    assert receipt["files"] == 0


# --- what is left alone ---


async def test_links_are_neither_followed_nor_taken(logs, tmp_path):
    outside = put(tmp_path / "outside" / "precious.gz")
    (logs / "dir").symlink_to(outside.parent)
    (logs / "file.gz").symlink_to(outside)
    os.mkfifo(logs / "pipe.gz")
    _, receipt = await clear(logs, older_than="0", match="*.gz")
    assert receipt["files"] == 0
    assert outside.exists()
    assert (logs / "file.gz").is_symlink()


async def test_a_link_on_the_way_is_refused(logs, tmp_path):
    put(logs / "sub" / "a.gz")
    (tmp_path / "link").symlink_to(logs)
    for under in (tmp_path / "link", tmp_path / "link" / "sub"):
        with pytest.raises(PermanentError, match="link: is a link: write the path that it leads to"):
            await clear(under)
    with pytest.raises(PermanentError, match="missing: no such file"):
        await clear(tmp_path / "missing")
    assert names(logs) == ["sub/a.gz"]


async def test_hostile_names_are_names(logs):
    hostile = [
        "new\nline.gz",
        "-rf.gz",
        "$(x);rm.gz",
        "\x1b[31m.gz",
        " .gz",
        "ü€.gz",
        "{{ x }}.gz",
        "a" * 252 + ".gz",
    ]
    for name in hostile:
        put(logs / name)
    bad = os.fsencode(logs) + b"/\xff\xfe.gz"
    os.close(os.open(bad, os.O_CREAT | os.O_WRONLY))
    os.utime(bad, (0, 0))
    _, receipt = await clear(logs, match="*.gz")
    assert names(logs) == []
    assert receipt["files"] == len(hostile) + 1
    assert all(name.isprintable() and len(name) <= 200 for name in receipt["names"])
    json.dumps(receipt).encode("ascii")


async def test_the_daemons_own_data_and_what_is_not_for_clearing_are_never_entered(logs):
    for name in ("data/stopgap.db", "data/x.gz", "data/sub/y.gz", ".git/z.gz", ".ssh/id.gz", "a.gz"):
        put(logs / name)
    await clear(logs)
    assert names(logs) == [".git/z.gz", ".ssh/id.gz", "data/stopgap.db", "data/sub/y.gz", "data/x.gz"]
    with pytest.raises(PermanentError, match="daemon's own data"):
        await clear(logs / "data")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
async def test_another_mount_is_not_entered_even_one_of_the_same_device(logs, tmp_path):
    outside = put(tmp_path / "outside" / "precious.gz")
    (logs / "bound").mkdir()
    put(logs / "a.gz")
    subprocess.run(["mount", "--bind", outside.parent, logs / "bound"], check=True, timeout=20)
    try:
        _, receipt = await clear(logs)
    finally:
        subprocess.run(["umount", logs / "bound"], check=True, timeout=20)
    assert receipt["files"] == 1
    assert outside.exists()


async def test_a_file_that_becomes_a_link_meanwhile_is_left_alone(logs, tmp_path):
    outside = put(tmp_path / "precious")
    old = put(logs / "a.log")
    found = folders.Found((), "a.log", old.stat().st_ino, old.stat().st_mtime_ns, 10, 0)
    old.unlink()
    old.symlink_to(outside)
    with folders.opened(str(logs)) as root:
        assert not deeds.delete(root, found)
        for deed in (deeds.truncate, lambda *a: deeds.compress(*a, errand.Errand())):
            with pytest.raises(OSError):
                deed(root, found)
        assert not deeds.move(root, found, root, errand.Errand())
    assert outside.read_bytes() == b"x" * 10


async def test_a_log_with_another_name_is_not_emptied_there_too(logs, tmp_path):
    precious = put(tmp_path / "precious")
    (logs / "a.log").hardlink_to(precious)
    put(logs / "b.log")
    _, receipt = await clear(logs, do="truncate")
    assert precious.read_bytes() == b"x" * 10
    assert (logs / "b.log").read_bytes() == b""
    assert (receipt["files"], receipt["failed"]) == (1, 1)
    assert "another name" in receipt["why"]


async def test_a_file_that_a_dead_try_left_in_both_places_is_moved_on_and_back(logs, archive):
    old = put(logs / "a")
    given = params(logs, do={"move": {"to": str(archive)}})
    before = stored(await FILES.observe(given, NOW))
    (archive / before["folder"]).mkdir()
    (archive / before["folder"] / "a").hardlink_to(old)
    await FILES.run(given, before, NOW)
    assert names(logs) == []
    old.hardlink_to(archive / before["folder"] / "a")
    assert (await FILES.revert(given, before, None, BACK)).result is Restored.REVERTED
    assert names(logs) == ["a"]


async def test_a_folder_that_becomes_a_link_meanwhile_is_not_entered(logs, tmp_path, monkeypatch):
    outside = put(tmp_path / "outside" / "a.gz")
    put(logs / "sub" / "a.gz")
    given = params(logs)
    before = await FILES.observe(given, NOW)
    list_folder = folders._listed

    def swapping(descriptor, parts):
        found = list_folder(descriptor, parts)
        if parts == ("sub",):  # listed: now somebody puts a link in its place
            (logs / "sub").rename(tmp_path / "gone")
            (logs / "sub").symlink_to(outside.parent)
        return found

    monkeypatch.setattr(folders, "_listed", swapping)
    with pytest.raises(PermanentError, match="nothing was cleared"):
        await FILES.run(given, before, NOW)
    assert outside.exists()


async def test_a_file_that_was_written_to_meanwhile_stays(logs):
    old = put(logs / "a.log")
    found = folders.Found((), "a.log", old.stat().st_ino, old.stat().st_mtime_ns, 10, 0)
    old.write_bytes(b"somebody writes again")
    with folders.opened(str(logs)) as root:
        assert not deeds.delete(root, found)
    assert old.exists()


# --- emptying and compressing ---


async def test_emptying_keeps_the_inode_of_an_open_log(logs):
    path = put(logs / "laravel.log", size=5000, days=0)
    inode = path.stat().st_ino
    with path.open("ab") as writer:
        _, receipt = await clear(logs, older_than=None, do="truncate")
        assert path.stat().st_size == 0
        writer.write(b"goes on")
    assert path.stat().st_ino == inode
    assert path.read_bytes() == b"goes on"
    assert receipt["files"] == 1


async def test_compressing_keeps_the_content_the_times_and_the_mode(logs):
    path = put(logs / "a.log", size=50_000)
    put(logs / "b.gz")
    path.chmod(0o640)
    stamp = path.stat().st_mtime_ns
    _, receipt = await clear(logs, do="compress")
    packed = logs / "a.log.gz"
    assert names(logs) == ["a.log.gz", "b.gz"]
    assert gzip.decompress(packed.read_bytes()) == b"x" * 50_000
    assert packed.stat().st_mtime_ns == stamp
    assert packed.stat().st_mode & 0o777 == 0o640
    assert receipt["files"] == 1


async def test_compressing_never_replaces_a_file(logs):
    put(logs / "a.log", size=500)
    put(logs / "a.log.gz")
    with pytest.raises(PermanentError, match=r"a\.log: file exists"):
        await clear(logs, do="compress")
    assert names(logs) == ["a.log", "a.log.gz"]


# --- moving away and back ---


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


async def test_what_is_moved_away_comes_back(logs, archive):
    for name in ("a", "deep/er/b", "deep/c"):
        put(logs / name)
    put(logs / "young", days=0)
    given = params(logs, do={"move": {"to": str(archive)}})
    old = {name: (logs / name).stat().st_mtime_ns for name in names(logs)}
    before = stored(await FILES.observe(given, NOW))
    assert FILES.settled(given, before, before) is Settled.NOT_DONE
    receipt = stored(await FILES.run(given, before, NOW))
    assert receipt["files"] == 3
    assert names(logs) == ["young"]
    assert names(archive / before["folder"]) == ["a", "deep/c", "deep/er/b"]
    now = await FILES.observe(given, NOW)
    assert FILES.settled(given, before, now) is Settled.UNCLEAR
    assert FILES.settled_revert(given, before, await FILES.observe(given, BACK)) is Settled.NOT_DONE
    assert str(archive) in FILES.undo_by_hand(given, before)
    answer = await FILES.revert(given, before, None, BACK)
    assert answer.result is Restored.REVERTED
    assert {name: (logs / name).stat().st_mtime_ns for name in names(logs)} == old
    assert list(archive.iterdir()) == []
    assert (await FILES.revert(given, before, receipt, BACK)).result is Restored.NOTHING


async def test_moving_never_replaces_a_file_there_or_back(logs, archive):
    put(logs / "a")
    put(logs / "b")
    given = params(logs, do={"move": {"to": str(archive)}})
    before = stored(await FILES.observe(given, NOW))
    await FILES.run(given, before, NOW)
    (logs / "a").write_text("a new log")
    answer = await FILES.revert(given, before, None, BACK)
    assert answer.result is Restored.DRIFTED
    assert answer.partly
    assert "a: file exists" in answer.detail
    assert (logs / "a").read_text() == "a new log"
    assert (archive / before["folder"] / "a").exists()


async def test_moving_goes_to_another_disk_and_back(logs, tmp_path):
    with small_disk(tmp_path / "other", 1024) as other:
        put(logs / "sub" / "a", size=100_000)
        given = params(logs, do={"move": {"to": str(other)}})
        before = stored(await FILES.observe(given, NOW))
        await FILES.run(given, before, NOW)
        assert names(logs) == []
        assert (other / before["folder"] / "sub" / "a").stat().st_size == 100_000
        await FILES.revert(given, before, None, BACK)
        assert names(logs) == ["sub/a"]


async def test_an_approval_for_moving_does_not_go_stale_by_a_new_log(logs, archive):
    given = params(logs, do={"move": {"to": str(archive)}})
    before = await FILES.observe(given, NOW)
    put(logs / "a")
    assert await FILES.observe(given, NOW) == before


# --- a full disk ---


async def test_a_full_disk_is_cleared(tmp_path):
    with small_disk(tmp_path / "disk", 256) as disk:
        old = put(disk / "old.gz", size=64 * 1024)
        fill(disk)
        _, receipt = await clear(disk, match="*.gz")
        assert not old.exists()
        assert receipt["bytes"] >= 64 * 1024
        _, receipt = await clear(disk, match="filler", older_than=None, do="truncate")
        assert (disk / "filler").stat().st_size == 0
        (disk / "again").write_bytes(b"x" * 100_000)


async def test_compressing_on_a_full_disk_says_so_and_leaves_nothing(tmp_path):
    with small_disk(tmp_path / "disk", 256) as disk:
        log = disk / "a.log"
        log.write_bytes(os.urandom(128 * 1024))
        os.utime(log, (0, 0))
        fill(disk)
        with pytest.raises(PermanentError, match=r"a\.log: (no space left|file too large)"):
            await clear(disk, match="a.log", do="compress")
        assert names(disk) == ["a.log", "filler"]
        assert log.stat().st_size == 128 * 1024


# --- cut short, rehearsed, refused ---


async def test_a_cancelled_clean_up_ends_between_two_files(logs, monkeypatch):
    for i in range(50):
        put(logs / f"{i:02}")
    given = params(logs)
    before = await FILES.observe(given, NOW)
    begun, real = threading.Event(), deeds.delete

    def slow(folder, file):
        begun.set()
        time.sleep(0.01)
        return real(folder, file)

    monkeypatch.setattr(deeds, "delete", slow)
    task = asyncio.create_task(FILES.run(given, before, NOW))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    left = names(logs)
    assert 0 < len(left) < 50
    await asyncio.sleep(0.05)
    assert names(logs) == left


async def test_a_cancelled_compression_leaves_no_half_file(logs, monkeypatch):
    put(logs / "a.log", size=8_000_000)
    given = params(logs, do="compress")
    before = await FILES.observe(given, NOW)
    begun, real = threading.Event(), deeds._pour

    def telling(source, target, job):
        begun.set()
        time.sleep(0.05)
        real(source, target, job)

    monkeypatch.setattr(deeds, "_pour", telling)
    task = asyncio.create_task(FILES.run(given, before, NOW))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert names(logs) == ["a.log"]


async def test_a_rehearsal_lists_and_changes_nothing(logs):
    for i in range(31):
        put(logs / f"{i}", size=4096)
    assert await FILES.rehearse(params(logs), NOW) == "would free 127 kB in 31 files"
    assert len(names(logs)) == 31


async def test_a_rehearsal_says_who_may_not():
    with tempfile.TemporaryDirectory(dir="/tmp") as home:  # pytest's own are for the tester alone
        logs = Path(home)
        put(logs / "a")
        logs.chmod(0o555)
        if os.geteuid() == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(PermanentError, match="permission denied"):
                await FILES.rehearse(params(logs), NOW)
        finally:
            os.seteuid(os.getuid())
            logs.chmod(0o755)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        *(
            ({"under": path}, "is protected")
            for path in (
                "/",
                "/etc",
                "/etc/nginx",
                "/usr",
                "/usr/share/doc",
                "/bin",
                "/home",
                "/home" + "/ann",
                "/var",
                "/var/lib",
                "/var/lib/mysql/hotel",
                "/var/lib/stopgap",
                "//etc//",
                "/proc/self/cwd",
            )
        ),
        ({"under": "logs"}, "not an absolute path"),
        ({"under": "/var/log/../../etc"}, "holds '.' or '..'"),
        ({"under": "/var/log/a\nb"}, "not an absolute path"),
        ({"match": []}, "at least 1"),
        ({"match": "../x"}, "match pattern"),
        ({"older_than": None}, "would delete everything"),
        ({"do": {"move": {"to": "/etc"}}}, "is protected"),
        ({"do": {"move": {"to": "/var/log/app/old"}}}, "is itself below"),
        ({"do": {"move": {"to": "/mnt/x"}}, "max_files": 20_000}, "at most 10000"),
        ({"do": "truncate", "empty_folders": True}, "delete only"),
        ({"do": "shred"}, "delete"),
        ({"max_bytes": "much"}, "not a size"),
        ({"max_files": 0}, "greater than"),
    ],
)
def test_what_is_wrong_does_not_load(given, said):
    with pytest.raises(ValidationError, match=said):
        params("/var/log/app", **given)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), (12, 12), ("1.5GB", 1_500_000_000), ("2GiB", 2**31), ("500 kB", 500_000), ("3B", 3)],
)
def test_a_size_is_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1234, "1.2 kB"),
        (999_999, "1.0 MB"),
        (1.2e9, "1.2 GB"),
        (5e16, "50000 TB"),
    ],
)
def test_a_size_is_written(size, text):
    assert print_size(size) == text
