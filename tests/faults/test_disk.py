"""The disk is full, read-only or slow: what was acknowledged is there, what was not was 503, and it goes on by itself."""

import asyncio
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.disks import fill, small_disk
from tests.faults.daemon import Daemon, alert, running, until

RULES = """
rules:
  - name: tell
    match: alertname="Down"
    target: "{{ labels.n }}"
    ladder: []
"""


@contextmanager
def full(daemon: Daemon, data: Path) -> Iterator[None]:
    """Leave no room: on the disk where it is one of its own, else in every file."""
    if os.path.ismount(data):
        filler = fill(data)
        yield
        filler.unlink()
        return
    limit = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (4096, limit[1]))
    yield
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, limit)


@contextmanager
def read_only(daemon: Daemon, _: Path) -> Iterator[None]:
    """Let SQLite refuse to write: a mount that is in use cannot be made read-only from outside, as a kernel does after errors."""
    daemon.shake("readonly", 1)
    yield
    daemon.shake("readonly", 0)


async def ready(daemon: Daemon) -> int:
    async with daemon.http.get("/-/ready") as answer:
        return answer.status


async def send(daemon: Daemon, name: str, count: int) -> dict[str, int]:
    """Post so many alerts, and return the answers by target."""
    return {f"{name}-{n}": await daemon.post(alert("Down", n=f"{name}-{n}")) for n in range(count)}


async def fare(daemon: Daemon, name: str) -> dict[str, int]:
    """Send until it is refused, and see that it is told."""
    answers: dict[str, int] = {}
    for number in range(200):
        answers |= await send(daemon, f"{name}-{number}", 1)
        if 503 in answers.values():
            break
    assert set(answers.values()) <= {200, 503}
    assert 503 in answers.values()
    assert await ready(daemon) == 503
    assert await daemon.metric("dependency_up", dependency="store") == 0
    assert await daemon.metric("notifications_total", code="503") > 0
    assert "cannot be written" in daemon.logged("journal_fault")[-1]["why"]
    return answers


async def test_a_disk_that_is_full_or_read_only_is_said_and_nothing_acknowledged_is_lost(tmp_path: Path):
    with small_disk(tmp_path / "data", 4096) as data:
        async with running(tmp_path, RULES) as daemon:
            answers = await send(daemon, "before", 3)
            before = daemon.rss
            for count, (name, fault) in enumerate({"full": full, "readonly": read_only}.items(), 1):
                with fault(daemon, data):
                    answers |= await fare(daemon, name)
                    lines = len(daemon.log().splitlines())
                    await asyncio.sleep(2)
                    assert len(daemon.log().splitlines()) - lines < 10  # it says it once
                await until(lambda n=count: len(daemon.logged("journal_recovered")) == n)

                async def recovered() -> bool:
                    return await ready(daemon) == 200

                await until(recovered)
                answers |= await send(daemon, f"after-{name}", 3)
            targets = {one["target"] for one in await daemon.incidents()}
            assert not [name for name, status in answers.items() if status == 200 and name not in targets]
            assert daemon.rss - before < 40
            await a_disk_that_is_read_only_at_the_start_is_refused(daemon, data)


async def a_disk_that_is_read_only_at_the_start_is_refused(daemon: Daemon, data: Path) -> None:
    if os.path.ismount(data):
        await daemon.stop()
        subprocess.run(["mount", "-o", "remount,ro", data], check=True, timeout=20)
        with pytest.raises(AssertionError):
            await daemon.start()
        assert daemon.process is not None
        assert daemon.process.returncode == 2
        why = daemon.logged("cannot_start")[0]["why"]
        assert "read-only" in why.lower() or "readonly" in why.lower(), why


async def test_a_slow_disk_costs_time_and_neither_room_nor_the_loop(tmp_path: Path):
    async with running(tmp_path, RULES) as daemon:
        for seconds in (0.005, 0.05):
            daemon.shake("fsync", seconds)
            before = await daemon.metric("journal_commit_seconds_count")
            names = [f"{seconds}-{n}" for n in range(100)]
            answers = await asyncio.gather(*(daemon.post(alert("Down", n=name)) for name in names))
            assert answers == [200] * len(names)
            assert await daemon.metric("journal_commit_seconds_count") - before < len(
                names
            )  # they are shared
        daemon.shake("fsync", 4)
        waiting = asyncio.create_task(daemon.post(alert("Down", n="slow")))
        await asyncio.sleep(0.2)
        assert await daemon.metric("journal_commit_seconds_count") > 0
        assert not waiting.done()  # the API does not wait with it
        daemon.shake("fsync", 0)
        assert await waiting == 200
        targets = {one["target"] for one in await daemon.incidents()}
        assert {"slow", "0.05-99"} <= targets
