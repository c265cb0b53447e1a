"""The history in a daemon's own journal: written by the real store, read beside it."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from tests.backtesting import DAY, START, alert, told

from stopgap.backtest.history import HistoryError, Period
from stopgap.backtest.journaled import Journaled
from stopgap.clock import SystemClock
from stopgap.incident import Event, EventKind as K, Outcome
from stopgap.journal import Append, Closing, Sighting
from stopgap.store import open_store

A, B = alert(instance="a"), alert(instance="b")


def sighting(of, minutes, rule="p/one", *, firing=True, target="t"):
    stored = of.as_json()
    return Sighting(
        rule, "v", target, "P1", "auto", of.fingerprint, {k: stored[k] for k in ("labels", "annotations", "starts_at")},
        firing, START + timedelta(minutes=minutes),
    )  # fmt: skip


def over(of, minutes, rule="p/one"):
    return sighting(of, minutes, rule, firing=False)


def closed(identifier, minutes, **more):
    at = START + timedelta(minutes=minutes)
    event = Event(K.CLOSED, at, {"outcome": "recovered"})
    return Append(identifier, (event,), closing=Closing(Outcome.RECOVERED, "P1", 0, **more))


async def close(store, minutes, **more):
    (identifier,) = await store.live()
    await store.append(closed(identifier, minutes, **more))


@pytest.fixture
def written(tmp_path):
    """A directory that a story was written into, by a store that is closed again."""

    async def write(story, *, stop=True):
        store = await open_store(tmp_path / "data", SystemClock())
        await story(store)
        if stop:
            await store.close()
        return store

    return write


async def transitions(directory, period=DAY):
    history = Journaled(directory)
    found = [one async for one in history.transitions(period, lambda _: None)]
    return told(found), history.caveats


async def test_what_joined_ended_and_came_back_is_told_of_a_stopped_daemon(written, tmp_path):
    async def story(store):
        await store.receive([sighting(A, 1), sighting(B, 2)])
        await store.receive([over(A, 5)])
        await store.receive([sighting(A, 6), over(B, 7)])
        await store.receive([over(A, 8)])
        await close(store, 9)
        await store.receive([sighting(A, 20), over(A, 21)])

    await written(story)
    found, caveats = await transitions(tmp_path / "data")
    assert found == [
        (1, "+", "a"),
        (2, "+", "b"),
        (5, "-", "a"),
        (6, "+", "a"),
        (7, "-", "b"),
        (8, "-", "a"),
        (20, "+", "a"),
        (21, "-", "a"),
    ]
    assert caveats == ("the journal knows only alerts that a rule took then",)


async def test_an_alert_of_two_incidents_fires_once_and_ends_once(written, tmp_path):
    async def story(store):
        await store.receive([sighting(A, 1), sighting(A, 1, "p/two")])
        await store.receive([over(A, 5), over(A, 5, "p/two")])

    await written(story)
    assert (await transitions(tmp_path / "data"))[0] == [(1, "+", "a"), (5, "-", "a")]


async def test_what_fires_on_in_the_incident_that_follows_does_not_end(written, tmp_path):
    async def story(store):
        await store.receive([sighting(A, 1)])
        await close(store, 5, refiring=(sighting(A, 5),))
        await store.receive([over(A, 9)])

    await written(story)
    found, caveats = await transitions(tmp_path / "data")
    assert found == [(1, "+", "a"), (9, "-", "a")]
    assert len(caveats) == 1


async def test_the_end_of_what_a_person_closed_is_not_known_and_that_is_said(written, tmp_path):
    async def story(store):
        await store.receive([sighting(A, 1)])
        await close(store, 5, serve=True)
        await store.receive([over(A, 30)])

    await written(story)
    found, caveats = await transitions(tmp_path / "data")
    assert found == [(1, "+", "a"), (5, "-", "a")]
    assert caveats[1].startswith("of 1 alerts the end was not written down")


async def test_a_running_daemon_is_read_and_not_disturbed(written, tmp_path):
    async def story(store):
        await store.receive([sighting(A, 1)])

    store = await written(story, stop=False)
    try:
        assert (await transitions(tmp_path / "data"))[0] == [(1, "+", "a")]
        await store.receive([over(A, 9)])
        assert (await transitions(tmp_path / "data"))[0] == [(1, "+", "a"), (9, "-", "a")]
    finally:
        await store.close()


async def test_nothing_is_written_into_the_directory_of_a_stopped_daemon(written, tmp_path):
    async def story(store):
        await store.receive([sighting(A, 1)])

    await written(story)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "data").iterdir()}
    await transitions(tmp_path / "data", Period(START + timedelta(hours=1), DAY.until))
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "data").iterdir()} == before


async def test_what_is_no_journal_is_an_error_that_says_what_was_expected(tmp_path):
    with pytest.raises(HistoryError, match=r"holds no stopgap\.db"):
        await transitions(tmp_path)
    (tmp_path / "stopgap.db").write_bytes(b"nothing" * 1000)
    with pytest.raises(HistoryError, match="cannot be read"):
        await transitions(tmp_path)
    (tmp_path / "stopgap.db").unlink()
    with closing(sqlite3.connect(tmp_path / "stopgap.db")) as other, other:
        other.execute("CREATE TABLE journal (incident, seq, at, kind, detail)")
        other.execute("INSERT INTO journal VALUES ('INC-1', 1, 1, 'opened', '{\"alerts\": 7}')")
    other.close()
    with pytest.raises(HistoryError, match="holds a line that is none"):
        await transitions(tmp_path)
