"""The store and its disk: private, claimed once, migrated, refused when damaged, and honest when the disk fails."""

import asyncio
import itertools
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.journal_examples import HandClock, acting, closing, event, listen, open_one, sighting

from stopgap.clock import SystemClock
from stopgap.errors import StoreError
from stopgap.incident import EventKind as K
from stopgap.journal import Append
from stopgap.store import DATABASE, LOCK, dialect, open_store, receiving, sqlite, writer

ROOT = Path(__file__).resolve().parents[2]
PRELUDE = """
    import asyncio, resource, sys
    from pathlib import Path
    from stopgap.clock import SystemClock
    from stopgap.errors import StoreError
    from stopgap.store import open_store, writer
    from tests.journal_examples import HandClock, sighting
    directory, clock = Path(sys.argv[1]), HandClock()
"""


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
async def store(tmp_path, clock):
    store = await open_store(tmp_path, clock)
    yield store
    await store.close()


def child(script: str, directory: Path, **more) -> subprocess.Popen:
    code = textwrap.dedent(PRELUDE) + textwrap.dedent(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(directory)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **more)


def run(script: str, directory: Path) -> list[str]:
    process = child(script, directory)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.splitlines()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- private, and claimed once ---


async def test_directory_database_log_and_lock_are_for_their_owner_alone(tmp_path, clock):
    directory = tmp_path / "new" / "stopgap"
    before = os.umask(0)
    try:
        store = await open_store(directory, clock)
        await store.receive([sighting(clock)])
        modes = {path.name: mode(path) for path in directory.iterdir()}
        await store.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys((DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", LOCK), 0o600)
    assert mode(directory) == 0o700


async def test_files_that_were_open_to_others_are_tightened(tmp_path, clock):
    await (await open_store(tmp_path, clock)).close()
    for path in (tmp_path, *tmp_path.iterdir()):
        path.chmod(0o777)
    await (await open_store(tmp_path, clock)).close()
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}
    assert mode(tmp_path) == 0o700


async def test_a_directory_that_holds_what_is_not_ours_keeps_its_mode(tmp_path, clock):
    (tmp_path / "theirs").touch()
    tmp_path.chmod(0o755)
    await (await open_store(tmp_path, clock)).close()
    assert mode(tmp_path) == 0o755


async def test_a_second_process_is_refused_and_told_who_is_there(tmp_path, store, clock):
    script = """
        try:
            asyncio.run(open_store(directory, clock))
        except StoreError as error:
            print(error)
    """
    (told,) = await asyncio.to_thread(run, script, tmp_path)
    assert f"in use by another stopgap (pid {os.getpid()})" in told
    with pytest.raises(StoreError, match="in use"):
        await open_store(tmp_path, clock)


async def test_the_claim_ends_when_the_store_closes_or_cannot_open(tmp_path, clock):
    (tmp_path / DATABASE).write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(StoreError, match="not a database"):
        await open_store(tmp_path, clock)
    (tmp_path / DATABASE).unlink()
    for _ in range(2):
        await (await open_store(tmp_path, clock)).close()


@pytest.mark.parametrize(
    ("directory", "why"),
    [
        ("file", "file is a file; give"),
        ("file/stopgap", "file/stopgap cannot be made: Not a directory; give"),
        ("dangling", "dangling is no directory; give"),
        ("/proc/stopgap", "/proc/stopgap cannot be made: No such file or directory; give"),
        ("ours", "cannot use .*/ours: Is a directory; give"),
    ],
)
async def test_a_directory_that_cannot_be_is_refused_with_a_cure(tmp_path, clock, directory, why):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "ours" / LOCK).mkdir(parents=True)
    with pytest.raises(StoreError, match=f"{why}.*a directory of its own, such as --data"):
        await open_store(tmp_path / directory, clock)


# --- damage ---


async def test_a_damaged_database_is_refused_with_a_cure(tmp_path, clock):
    store = await open_store(tmp_path, clock)
    await store.receive([sighting(clock, str(i), target=str(i)) for i in range(500)])
    await store.close()
    path = tmp_path / DATABASE
    content = bytearray(path.read_bytes())
    content[4096 * 3 :] = os.urandom(len(content) - 4096 * 3)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"(damaged|cannot be used).*restore a backup"):
        await open_store(tmp_path, clock)


def test_a_disk_that_is_full_at_the_start_is_refused_with_a_cure(tmp_path):
    script = """
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, -1))
        try:
            asyncio.run(open_store(directory, clock))
        except StoreError as error:
            print(error)
    """
    (told,) = run(script, tmp_path)
    assert "check owner, mode and free space" in told


# --- what was acknowledged is there ---


def test_what_was_acknowledged_survives_kill_9(tmp_path):
    script = """
        async def main():
            store = await open_store(directory, clock)
            async def one(i):
                for j in range(100000):
                    await store.receive([sighting(clock, f"{i}-{j}", target=f"{i}-{j}")])
                    print(f"{i}-{j}", flush=True)
            await asyncio.gather(*map(one, range(8)))
        asyncio.run(main())
    """
    for round_ in range(3):
        directory = tmp_path / str(round_)
        process = child(script, directory)
        acknowledged = [process.stdout.readline().strip() for _ in range(150 + 37 * round_)]
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=30)
        acknowledged += rest.splitlines()[:-1]  # the last may be cut

        async def kept(directory=directory):
            store = await open_store(directory, SystemClock())
            live = await store.live()
            await store.close()
            return {events[0].detail["target"] for events in live.values()}

        assert set(filter(None, acknowledged)) <= asyncio.run(kept())


async def test_everything_is_there_after_a_restart(tmp_path, clock):
    store = await open_store(tmp_path, clock)
    incident = await open_one(store, clock)
    await store.append(Append(incident, (event(clock, K.ACKNOWLEDGED),), undo={"0/0/do": 7}))
    timeline = await store.timeline(incident)
    await store.close()
    store = await open_store(tmp_path, clock)
    assert await store.live() == {incident: timeline}
    assert (await store.undo(incident, "0/0/do")).before == 7
    await store.close()


async def test_closing_works_off_what_waits_and_then_refuses(tmp_path, clock):
    store = await open_store(tmp_path, clock)
    waiting = [asyncio.ensure_future(store.receive([sighting(clock, str(i))])) for i in range(100)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*waiting)
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.receive([sighting(clock)])
    with pytest.raises(StoreError, match="closed"):
        await store.live()
    store = await open_store(tmp_path, clock)
    ((_, events),) = (await store.live()).items()
    assert len(events) == 100
    await store.close()


async def test_a_caller_that_goes_away_does_not_take_the_commit_with_it(store, clock):
    lines = listen(store)
    task = asyncio.ensure_future(store.receive([sighting(clock)]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.remember({"v1": 1})
    assert [line.event.kind for line in lines] == [K.OPENED]
    assert len(await store.live()) == 1


async def test_closing_works_off_more_than_one_batch(tmp_path, clock):
    store = await open_store(tmp_path, clock)
    count = 2 * writer.BATCH + 7
    waiting = [asyncio.ensure_future(store.control(event(clock, K.RELOADED, n=i))) for i in range(count)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*waiting)


# --- group commit ---


async def test_many_callers_share_a_commit_and_a_repeat_commits_nothing(tmp_path, store, clock):
    batches = []
    store.on_batch = lambda size, seconds: batches.append((size, seconds))
    everyone = [[sighting(clock, str(i), target=str(i))] for i in range(300)]
    await asyncio.gather(*map(store.receive, everyone))
    assert sum(size for size, _ in batches) == 300
    assert len(batches) < 30
    assert all(seconds > 0 for _, seconds in batches)
    log = (tmp_path / f"{DATABASE}-wal").stat().st_size
    batches.clear()
    await asyncio.gather(*map(store.receive, everyone))
    assert batches == []
    assert (tmp_path / f"{DATABASE}-wal").stat().st_size == log


async def test_lines_are_observed_in_commit_order_before_their_caller_goes_on(store, clock):
    seen, lines = [], listen(store)

    async def caller(i):
        incident = await open_of(i)
        seen.append((incident, any(line.incident == incident for line in lines)))

    async def open_of(i):
        await store.receive([sighting(clock, str(i), target=str(i))])
        return next(
            line.incident
            for line in lines
            if line.event.kind is K.OPENED and line.event.detail["target"] == str(i)
        )

    await asyncio.gather(*map(caller, range(50)))
    assert all(told for _, told in seen)
    assert [line.incident for line in lines] == list(await store.live())


async def test_an_observer_that_fails_keeps_nothing_from_the_others(store, clock, caplog):
    def broken(_):
        raise RuntimeError("broken observer")

    store.subscribe(broken)
    lines = listen(store)
    await store.receive([sighting(clock)])
    assert len(lines) == 1


async def test_a_full_queue_refuses_at_once(tmp_path, clock):
    store = await open_store(tmp_path, clock, queue=3)
    blocker = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    waiting = [asyncio.ensure_future(store.receive([sighting(clock)]))]
    while not waiting[-1].done():
        await asyncio.sleep(0)
        assert len(waiting) < 1000
        waiting.append(asyncio.ensure_future(store.receive([sighting(clock)])))
        await asyncio.sleep(0)
    with pytest.raises(StoreError, match="full"):
        await waiting.pop()
    assert store.queue_length <= 3
    blocker.execute("ROLLBACK")
    blocker.close()
    await asyncio.gather(*waiting)
    assert store.queue_length == 0
    await store.close()


async def test_a_sighting_that_no_column_can_hold_fails_alone(store, clock):
    bad, good = sighting(clock, "bad", target="\ud800"), sighting(clock, "good")
    answers = await asyncio.gather(store.receive([bad]), store.receive([good]), return_exceptions=True)
    assert isinstance(answers[0], UnicodeError)
    assert answers[1] is None
    assert store.healthy
    assert len(await store.live()) == 1


async def test_names_that_no_column_can_hold_fail_alone(store, clock):
    one = await open_one(store, clock)
    spoilt = (
        store.append(closing(clock, one, used=("\ud800",))),
        store.append(acting(clock, one, yield_to=("\ud800",))),
        store.append(acting(clock, one, population=("\ud800",))),
        store.meet(["\ud800"], clock.now()),
    )
    answers = await asyncio.gather(*spoilt, store.meet(["good"], clock.now()), return_exceptions=True)
    assert [isinstance(answer, TypeError | UnicodeError) for answer in answers] == [True] * 4 + [False]
    assert store.healthy
    assert len(await store.timeline(one)) == 1


async def test_a_rule_that_is_known_is_not_written_again(store, clock):
    await store.meet(["pack/rule"], clock.now())
    batches = []
    store.on_batch = lambda size, _: batches.append(size)
    await store.meet(["pack/rule"], clock.now())
    assert batches == []
    await store.meet(["pack/rule", "pack/other"], clock.now())
    assert batches == [1]


async def test_an_identifier_that_exists_or_was_just_drawn_is_drawn_again(store, clock, monkeypatch):
    draws = iter(["INC-1", "INC-1", "INC-2", "INC-1", "INC-2", "INC-3"])
    monkeypatch.setattr(receiving, "identifier", lambda _: next(draws))
    await store.receive([sighting(clock)])
    await store.receive([sighting(clock, "b", target="b"), sighting(clock, "c", target="c")])
    assert list(await store.live()) == ["INC-1", "INC-3", "INC-2"]


async def test_identifiers_that_exist_are_drawn_again_among_more_than_one_look_up_takes(
    store, clock, monkeypatch
):
    draws = itertools.chain(["INC-0"], (f"INC-{n}" for n in range(700)))
    monkeypatch.setattr(receiving, "identifier", lambda _: next(draws))
    await store.receive([sighting(clock)])
    await store.receive([sighting(clock, f"f{n}", target=f"t{n}") for n in range(dialect.CHUNK)])
    assert len(await store.live()) == dialect.CHUNK + 1


# --- a disk that fails ---


async def test_a_failed_batch_fails_all_its_callers_names_no_secret_and_the_next_one_works(
    tmp_path, store, clock
):
    incident = await open_one(store, clock)
    lines = listen(store)
    operator = sqlite3.connect(tmp_path / DATABASE)
    operator.execute("ALTER TABLE undo RENAME TO lost")
    spoilt = Append(incident, (event(clock, K.STEP_STARTED),), undo={"0/0/do": "hunter2"})
    innocent = Append(incident, (event(clock, K.ACKNOWLEDGED),))
    answers = await asyncio.gather(store.append(innocent), store.append(spoilt), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreError, StoreError]
    assert lines == []
    assert not store.healthy
    assert store.error == "the journal cannot be written: no such table: undo"
    assert "hunter2" not in store.error + str(answers)
    with pytest.raises(StoreError, match="cannot be read"):
        await store.undo(incident, "0/0/do")
    operator.execute("ALTER TABLE lost RENAME TO undo")
    operator.close()
    assert isinstance(await store.append(spoilt), tuple)
    assert (store.healthy, store.error) == (True, "")
    assert (await store.undo(incident, "0/0/do")).before == "hunter2"


async def test_a_database_that_stays_locked_is_said_and_works_again_when_it_is_free(
    tmp_path, clock, monkeypatch
):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.05)
    store = await open_store(tmp_path, clock)
    blocker = sqlite3.connect(tmp_path / DATABASE, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    answers = await asyncio.gather(
        *[store.receive([sighting(clock)]) for _ in range(9)], return_exceptions=True
    )
    assert {str(answer) for answer in answers} == {"the journal cannot be written: database is locked"}
    assert not store.healthy
    blocker.execute("ROLLBACK")
    blocker.close()
    await store.receive([sighting(clock)])
    assert store.healthy
    await store.close()


def test_a_full_disk_is_said_and_the_store_recovers_by_itself(tmp_path):
    script = """
        writer.AILING = 0.05
        async def main():
            store = await open_store(directory, clock)
            await store.receive([sighting(clock, "before")])
            used = (directory / "stopgap.db-wal").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (used, -1))
            try:
                await store.receive([sighting(clock, "lost")])
            except StoreError as error:
                print(store.healthy, bool(store.error), len((await store.live()).popitem()[1]))
            await asyncio.sleep(0.3)
            print(store.healthy)
            resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
            async with asyncio.timeout(10):
                while not store.healthy:
                    await asyncio.sleep(0.02)
            await store.receive([sighting(clock, "lost")])
            print(store.healthy, len((await store.live()).popitem()[1]))
            await store.close()
        asyncio.run(main())
    """
    said = [line for line in run(script, tmp_path) if line.startswith(("True", "False"))]
    assert said == ["False True 1", "False", "True 2"]


async def test_readers_cannot_write(tmp_path, store):
    engine = sqlite.reading(tmp_path / DATABASE, 1)
    with engine.connect() as connection, pytest.raises(Exception, match="readonly"):
        connection.execute(text("DELETE FROM journal"))
    engine.dispose()


def test_the_writer_waits_for_the_disk_at_each_commit(tmp_path):
    engine = sqlite.writing(tmp_path / "x.db")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    engine.dispose()
    assert writer.BATCH <= 500
