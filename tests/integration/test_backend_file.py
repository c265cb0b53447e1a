"""A settings file is replaced in one step, with all that belongs to it, or not at all."""

import asyncio
import fcntl
import os
import stat
import threading
from datetime import timedelta

import pytest

from stopgap.backends import file as files, locate
from stopgap.backends.capability import Entry, Flags
from stopgap.errors import PermanentError, TemporaryError

LONG = timedelta(seconds=10)


def place(path) -> Flags:
    return locate(f"env://{path}", Flags)


async def set_to(path, **settings):
    changes = {key: Entry(value) for key, value in settings.items()}
    return await place(path).change(list(changes), lambda _: changes, LONG)


@pytest.fixture
def env(tmp_path):
    path = tmp_path / "app.env"
    path.write_text("A=1\nB=2\n")
    return path


async def test_many_keys_are_one_replacement(env):
    inode = env.stat().st_ino
    found = await set_to(env, A="x", C="y")
    assert env.read_text() == "A=x\nB=2\nC=y\n"
    assert {key: entry.value for key, entry in found.items()} == {"A": "x", "C": "y"}
    assert env.stat().st_ino != inode
    assert list(env.parent.iterdir()) == [env]


async def test_nothing_to_change_leaves_the_file_alone(env):
    before = env.stat()
    await set_to(env, A="1")
    assert env.stat() == before or env.stat().st_ino == before.st_ino


async def test_mode_and_owner_are_kept(env):
    env.chmod(0o640)
    owner = (12345, 23456) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(env, *owner)
    await set_to(env, A="x")
    seen = env.stat()
    assert stat.S_IMODE(seen.st_mode) == 0o640
    assert (seen.st_uid, seen.st_gid) == owner


async def test_a_link_stays_a_link_to_the_changed_file(env, tmp_path):
    link = tmp_path / "release" / "link.env"
    link.parent.mkdir()
    link.symlink_to("../app.env")
    await set_to(link, A="x")
    assert link.is_symlink()
    assert env.read_text() == "A=x\nB=2\n"


async def test_what_cannot_be_kept_is_refused(env, tmp_path):
    os.link(env, tmp_path / "other.env")
    with pytest.raises(PermanentError, match="hard links"):
        await set_to(env, A="x")
    assert env.read_text() == "A=1\nB=2\n"


async def test_what_is_no_ordinary_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "big").write_bytes(b"#" * (1024 * 1024 + 1))
    for name in ("pipe", "loop", "big", "missing", "missing/too"):
        with pytest.raises(PermanentError, match=name.split("/")[0]):
            await set_to(tmp_path / name, A="x")
    with pytest.raises(PermanentError):
        await set_to(tmp_path, A="x")


async def test_bytes_that_are_not_utf8_survive(env):
    env.write_bytes(b"A=1\nB=\xff\xfe\n")
    await set_to(env, A="x")
    assert env.read_bytes() == b"A=x\nB=\xff\xfe\n"


async def test_a_plan_that_raises_writes_nothing(env):
    def plan(now):
        raise TemporaryError("no")

    with pytest.raises(TemporaryError):
        await place(env).change(["A"], plan, LONG)
    assert env.read_text() == "A=1\nB=2\n"


async def test_a_failure_on_the_way_leaves_the_old_file_and_no_other(env, monkeypatch):
    def broken(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(PermanentError, match="No space left"):
        await set_to(env, A="x")
    assert env.read_text() == "A=1\nB=2\n"
    assert list(env.parent.iterdir()) == [env]


async def test_a_leftover_of_a_killed_process_is_no_obstacle(env):
    (env.parent / ".app.env.stopgap").write_text("half")
    await set_to(env, A="x")
    assert list(env.parent.iterdir()) == [env]


async def test_a_leftover_of_a_killed_process_goes_though_nothing_has_to_be_changed(env):
    (env.parent / ".app.env.stopgap").write_text("half")
    await set_to(env, A="1")
    assert list(env.parent.iterdir()) == [env]


async def test_two_writers_take_turns(env):
    def add(now):
        return {"A": Entry(str(int(now["A"].value or 0) + 1))}

    await asyncio.gather(*(place(env).change(["A"], add, LONG) for _ in range(20)))
    assert env.read_text() == "A=21\nB=2\n"


async def test_a_change_by_somebody_who_keeps_no_lock_is_not_overwritten(env):
    def meanwhile(now):
        env.write_text("A=theirs and longer\n")
        return {"A": Entry("ours")}

    with pytest.raises(TemporaryError, match="just now"):
        await place(env).change(["A"], meanwhile, LONG)
    assert env.read_text() == "A=theirs and longer\n"


async def test_a_lock_that_is_kept_is_a_temporary_error(env, monkeypatch):
    monkeypatch.setattr(files, "_LOCK_SECONDS", 0.1)
    descriptor = os.open(env.parent, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(TemporaryError, match="locked by another process"):
            await set_to(env, A="x")
    finally:
        os.close(descriptor)


async def test_a_cancelled_write_is_over_when_the_cancellation_is(env):
    begun, go_on = threading.Event(), threading.Event()

    def plan(now):
        begun.set()
        go_on.wait(5)
        return {"A": Entry("x")}

    task = asyncio.create_task(place(env).change(["A"], plan, LONG))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.sleep(0.05)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert env.read_text() == "A=x\nB=2\n"


async def test_at_the_time_limit_the_outcome_is_unknown_but_final(env):
    def plan(now):
        threading.Event().wait(0.3)
        return {"A": Entry("x")}

    with pytest.raises(TimeoutError):
        await place(env).change(["A"], plan, timedelta(milliseconds=50))
    assert env.read_text() == "A=x\nB=2\n"
