"""What pruning throws away, what it keeps, and that nobody waits for it: on SQLite and on PostgreSQL."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select
from tests.journal_examples import (
    HandClock,
    acting,
    closing,
    event,
    open_one,
    opened_journal,
    sighting,
)

from stopgap.guard import Refusal
from stopgap.incident import EventKind as K, Outcome
from stopgap.journal import CONTROL, Append
from stopgap.rate import Rate
from stopgap.retention import Due
from stopgap.rule import Circuit, Limits
from stopgap.store import Store, pruning, schema

WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)
FREE = Limits(budget=Rate(999, HOUR), budget_global=Rate(999, HOUR), circuit=Circuit(Rate(99, HOUR)))


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture(params=["store", "postgres"])
async def store(request, tmp_path, clock):
    shared = request.getfixturevalue("postgres").database() if request.param == "postgres" else None
    async with opened_journal(request.param, tmp_path, clock, shared) as journal:
        yield journal


async def over(store: Store, clock: HandClock, target: str, notes: int = 0, **more) -> str:
    """Let an incident open, act and close; its timeline has four lines more than notes."""
    name = await open_one(store, clock, target, target=target, version=more.pop("version", "v1"))
    act = acting(clock, name, f"env:{target}", target=target, limits=FREE)
    act = Append(act.incident, act.events, request=act.request, undo={"0/0/do": {"MODE": "normal"}})
    answer = await store.append(act)
    assert not isinstance(answer, Refusal), answer
    if notes:
        await store.append(Append(name, tuple(event(clock, K.NOTE_ADDED, text="x") for _ in range(notes))))
    await store.append(closing(clock, name, more.pop("outcome", Outcome.RECOVERED), **more))
    return name


async def prune(store: Store, clock: HandClock, keep: timedelta = WEEK) -> list[int]:
    """Throw away all that is due; returns how many incidents each chunk took."""
    before, after, chunks = clock.now() - keep, None, []
    while page := await store.pruning.due(before, after):
        after, rest = page[-1], tuple(page)
        while rest:
            dropped = await store.pruning.drop(rest, before)
            assert dropped.incidents <= pruning.INCIDENTS
            assert dropped.lines <= pruning.LINES or dropped.incidents == 1
            chunks.append(dropped.incidents)
            rest = dropped.rest
    return chunks


async def counted(store: Store) -> dict[str, int]:
    """Count the rows of what belongs to incidents."""

    def ask(connection):
        tables = (schema.incident, schema.journal, schema.undo, schema.permit, schema.episode, schema.held)
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables
        }

    return await store._read(ask)


async def kept(store: Store) -> set[str]:
    closed = await store.closed(rule=None, target=None, before=None, limit=1000)
    return {row.id for row in closed} | set(await store.live())


async def test_a_closed_incident_goes_with_all_that_belongs_to_it_once_it_is_old(store: Store, clock):
    await over(store, clock, "a")
    clock.move(days=7)
    assert await prune(store, clock) == []  # not older than that yet
    young = await over(store, clock, "b")
    clock.move(seconds=1)
    assert await store.pruning.oldest() == clock.now() - WEEK - timedelta(seconds=1)
    assert await prune(store, clock) == [1]
    assert await kept(store) == {young}
    assert await counted(store) == {
        "incident": 1,
        "journal": 4,
        "undo": 1,
        "permit": 1,
        "episode": 0,
        "held": 0,
    }
    assert await store.pruning.oldest() == clock.now() - timedelta(seconds=1)


async def test_an_incident_that_is_live_or_closed_late_stays_however_long_ago_it_opened(store: Store, clock):
    live = await open_one(store, clock, "a", target="a")
    late = await open_one(store, clock, "b", target="b")
    clock.move(days=300)
    await store.append(closing(clock, late))
    assert await prune(store, clock) == []
    assert await kept(store) == {live, late}


async def test_what_serves_an_alert_that_still_fires_stays_until_that_is_over(store: Store, clock):
    served = await over(store, clock, "a", serve=True)
    clock.move(days=300)
    assert await prune(store, clock) == []
    assert await store.served() == {("pack/rule", "a")}
    await store.receive([sighting(clock, "a", target="a", firing=False)])
    assert await prune(store, clock) == [1]
    assert served not in await kept(store)


async def test_what_a_live_incident_follows_stays_and_what_that_one_follows_goes(store: Store, clock):
    first = await over(store, clock, "a", reverted_at=clock.now())
    second = await over(store, clock, "a", reverted_at=clock.now())
    live = await open_one(store, clock, "a", target="a")
    (opened, *_) = await store.timeline(live)
    assert opened.detail["follows"] == second
    clock.move(days=300)
    assert await prune(store, clock) == [1]
    assert await kept(store) == {second, live}
    assert first != second


async def test_a_permit_that_is_younger_than_the_end_of_its_incident_keeps_it(store: Store, clock):
    start = clock.now()
    name = await open_one(store, clock, "a", target="a")
    clock.move(days=3)
    await store.append(acting(clock, name, target="a", shadow=True))
    clock.at = start  # set back
    await store.append(closing(clock, name))
    clock.at = start + timedelta(days=8)
    assert await prune(store, clock) == []
    clock.move(days=3)
    assert await prune(store, clock) == [1]


async def test_a_chunk_holds_few_incidents_and_few_lines(store: Store, clock):
    for n in range(pruning.INCIDENTS + 5):
        await over(store, clock, f"small-{n}")
    for n in range(4):
        clock.move(seconds=1)
        await over(store, clock, f"large-{n}", notes=2 * pruning.LINES // 3 - 4)
    clock.move(days=8)
    assert await prune(store, clock) == [pruning.INCIDENTS, 5 + 1, 1, 1, 1]
    assert set((await counted(store)).values()) == {0}


async def test_a_timeline_of_many_chunks_goes_from_its_end_and_its_incident_last(store: Store, clock):
    name = await over(store, clock, "a", notes=3 * pruning.LINES)
    clock.move(days=8)
    before = clock.now() - WEEK
    (due,) = await store.pruning.due(before, None)
    assert due.lines == 3 * pruning.LINES + 4
    rest = (due,)
    for chunk in range(1, 4):
        dropped = await store.pruning.drop(rest, before)
        assert (dropped.incidents, dropped.lines, dropped.rest) == (0, pruning.LINES, (due,))
        left = await store.timeline(name)
        assert [one.seq for one in left] == list(range(1, due.lines - chunk * pruning.LINES + 1))
    dropped = await store.pruning.drop(rest, before)
    assert (dropped.incidents, dropped.lines, dropped.rest) == (1, 4, ())
    assert set((await counted(store)).values()) == {0}


async def test_what_others_do_passes_between_two_chunks(store: Store, clock):
    for n in range(3 * pruning.INCIDENTS):
        await over(store, clock, f"t{n}")
    clock.move(days=8)
    before = clock.now() - WEEK
    rest = tuple(await store.pruning.due(before, None))
    order = []

    async def chunks() -> None:
        left = rest
        while left:
            left = (await store.pruning.drop(left, before)).rest
            order.append("chunk")

    async def alert() -> None:
        await asyncio.sleep(0)  # the first chunk is on its way
        await store.receive([sighting(clock, "new", target="new")])
        order.append("alert")

    await asyncio.gather(chunks(), alert())
    assert sorted(order) == ["alert", "chunk", "chunk", "chunk"]
    assert order.index("alert") <= 1


async def test_the_writer_looks_again_at_what_was_found(store: Store, clock):
    live = await open_one(store, clock, "a", target="a")
    served = await over(store, clock, "b", serve=True)
    clock.move(days=300)
    found = (Due(live, 1, (0, 1)), Due(served, 4, (0, 2)), Due("INC-gone", 999, (0, 3)))
    dropped = await store.pruning.drop(found, clock.now())
    assert (dropped.incidents, dropped.lines) == (0, 0)
    assert await kept(store) == {live, served}
    assert len(await store.timeline(live)) == 1


async def test_old_lines_of_control_go_and_the_last_one_keeps_the_count(store: Store, clock):
    for _ in range(pruning.LINES + 10):
        await store.control(event(clock, K.RELOADED))
    clock.move(days=8)
    before = clock.now() - WEEK
    counts = [await store.pruning.drop_control(before) for _ in range(3)]
    assert counts == [pruning.LINES, 9, 0]
    await store.control(event(clock, K.RELOADED))
    assert [line.seq for line in await store.timeline(CONTROL)] == [pruning.LINES + 10, pruning.LINES + 11]
    assert [await store.pruning.drop_control(before) for _ in range(2)] == [1, 0]


async def test_a_rule_version_goes_when_no_incident_names_it_and_it_is_not_in_force(store: Store, clock):
    documents = {name: {"name": name} for name in ("named", "in-force", "gone")}
    await store.remember(documents)
    await over(store, clock, "a", version="named")
    for n in range(pruning.LOADS):
        await store.remember({f"load-{n}": {}})
    unnamed = await store.pruning.unnamed()
    assert sorted(unnamed) == ["gone", "in-force", "load-0", "load-1", "load-2"]
    assert await store.pruning.forget(unnamed, {"in-force"}) == 1
    assert [await store.document(name) for name in documents] == [
        {"name": "named"},
        {"name": "in-force"},
        None,
    ]


async def test_a_rule_version_that_comes_into_force_meanwhile_stays(store: Store, clock):
    await store.remember({"back": {"name": "back"}})
    for n in range(pruning.LOADS):
        await store.remember({f"load-{n}": {}})
    unnamed = await store.pruning.unnamed()
    forgetting = asyncio.create_task(store.pruning.forget(unnamed, ()))
    await store.remember({"back": {"name": "back"}})  # whichever of the two the writer does first
    await forgetting
    assert await store.document("back") == {"name": "back"}


async def test_a_message_about_a_pruned_incident_is_refused_and_breaks_nothing(store: Store, clock):
    name = await over(store, clock, "a")
    clock.move(days=8)
    assert await prune(store, clock) == [1]
    await store.append(Append(name, (event(clock, K.NOTIFIED, contact="x"),)))
    assert await store.timeline(name) == ()
    assert store.healthy
