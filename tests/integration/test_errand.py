"""Blocking work has a thread of its own, is given up in time, and never begins or goes on where nobody waits for it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from stopgap import errand
from stopgap.backends.file import whole
from stopgap.errors import TemporaryError

SOON = timedelta(seconds=5)


@pytest.fixture
def go():
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize(
    "run", [lambda: errand.run(lambda job: "done", SOON), lambda: whole(lambda: "done", SOON)]
)
async def test_a_resolver_that_hangs_keeps_no_file_waiting(run, go):
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    looking_up = loop.run_in_executor(None, go.wait)
    assert await run() == "done"
    go.set()
    await looking_up


async def test_what_work_raises_is_told(go):
    with pytest.raises(ZeroDivisionError):
        await errand.run(lambda job: 1 // 0, SOON)


async def test_work_ends_at_its_pause_when_its_time_is_over(go):
    ended = []

    def work(job):
        try:
            while True:
                go.wait(0.01)
                job.pause()
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError):
        await errand.run(work, timedelta(seconds=0.05))
    assert ended


async def test_threads_that_hang_are_counted(monkeypatch, go):
    monkeypatch.setattr(errand, "PATIENCE", 0.01)
    monkeypatch.setattr(errand, "_places", threading.BoundedSemaphore(1))
    with pytest.raises(TimeoutError):
        await errand.run(lambda job: go.wait(), timedelta(seconds=0.01))
    with pytest.raises(TemporaryError, match="no more"):
        await errand.run(lambda job: None, SOON)


async def test_work_that_was_called_off_before_it_began_is_not_begun(monkeypatch):
    begun = []
    start = threading.Thread.start
    late = []
    monkeypatch.setattr(
        threading.Thread,
        "start",
        lambda thread: late.append(thread) if thread.name == "errand" else start(thread),
    )
    doing = asyncio.create_task(errand.run(lambda job: begun.append(True), SOON))
    await asyncio.sleep(0)
    doing.cancel()
    await asyncio.sleep(0)
    start(late[0])
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert not begun


async def test_without_room_for_a_thread_nothing_is_begun(monkeypatch):
    def full(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    with pytest.raises(TemporaryError, match="no room"):
        await errand.run(lambda job: None, SOON)


async def test_who_gives_up_twice_still_waits_until_the_work_has_left(go):
    doing = asyncio.create_task(errand.run(lambda job: go.wait(), SOON))
    await asyncio.sleep(0.05)
    for _ in range(3):
        doing.cancel()
        await asyncio.sleep(0.01)
    assert not doing.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await doing
