"""The pruner goes round every hour, a little at a time, lets others go first, and mistrusts a clock that jumped."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from structlog.testing import capture_logs
from tests.journal_examples import HandClock
from tests.virtual import virtually

from stopgap.clock import LoopClock, SteadyClock
from stopgap.errors import StoreError
from stopgap.matcher import MatcherIndex
from stopgap.pruner import EVERY, LONGEST, PATIENCE, PAUSE, SETTLE, SHARE, Pruner
from stopgap.retention import DOCUMENTS, Dropped, Due
from stopgap.rule import Rule
from stopgap.rulebook import Rulebook

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
RULE = Rule("pack", "rule", "in-force", ())


class Attic:
    """An archive of so many old incidents, which notes when what is done to it."""

    def __init__(self, incidents: int = 0, *, chunk: int = 3, page: int = 5) -> None:
        self.left = [Due(f"INC-{n}", 1, (n, n)) for n in range(incidents)]
        self.chunk, self.page = chunk, page
        self.control = 0
        self.versions: list[str] = []
        self.waiting = 0
        self.takes = 0.0  # seconds
        self.away = False
        self.asked: list[datetime] = []
        self.drops: list[tuple[float, int]] = []

    async def due(self, before, after):
        if self.away:
            raise StoreError("the disk is away")
        self.asked.append(before)
        behind = after.place if after is not None else (-1, 0)
        return [one for one in self.left if one.place > behind][: self.page]

    async def drop(self, due, before):
        await asyncio.sleep(self.takes)
        some = due[: self.chunk]
        self.drops.append((asyncio.get_running_loop().time(), len(some)))
        self.left = [one for one in self.left if one not in some]
        return Dropped(len(some), 10 * len(some), tuple(due[self.chunk :]))

    async def drop_control(self, before):
        some = min(self.control, self.chunk)
        self.control -= some
        return some

    async def unnamed(self):
        return list(self.versions)

    async def forget(self, versions, in_force):
        assert len(versions) <= DOCUMENTS
        gone = [one for one in versions if one not in in_force]
        self.versions = [one for one in self.versions if one not in gone]
        return len(gone)

    async def oldest(self):
        return START if self.left else None


def pruner(archive: Attic, clock=None, retention: timedelta = 90 * DAY, **more) -> Pruner:
    book = Rulebook({RULE.id: RULE}, MatcherIndex([((), RULE)]))
    return Pruner(archive, clock or LoopClock(START), lambda: book, retention, **more)


@virtually
async def test_a_round_throws_away_all_that_is_due_in_chunks_with_pauses_between():
    archive = Attic(12)
    archive.control, archive.versions = 4, [f"v{n}" for n in range(2 * DOCUMENTS + 1)] + ["in-force"]
    done = await pruner(archive).round()
    assert (done.incidents, done.lines, done.control, done.documents) == (12, 120, 4, 2 * DOCUMENTS + 1)
    assert (archive.left, archive.control, archive.versions) == ([], 0, ["in-force"])
    assert [count for _, count in archive.drops] == [3, 2, 3, 2, 2]
    times = [at for at, _ in archive.drops]
    assert all(later - at >= PAUSE * 0.99 for at, later in pairwise(times))


@virtually
async def test_nothing_younger_than_the_retention_is_asked_for():
    archive = Attic()
    done = await pruner(archive, HandClock(START)).round()
    assert archive.asked == [START - 90 * DAY] == [done.before]


@virtually
async def test_a_retention_of_nothing_keeps_everything_and_only_looks_how_old_it_is():
    told = []
    archive = Attic(3)
    archive.control, archive.versions = 4, ["old"]
    await pruner(archive, retention=timedelta(), on_round=lambda *round_: told.append(round_)).round()
    assert (len(archive.left), archive.control, archive.versions) == (3, 4, ["old"])
    assert told == [(0, START)]


@virtually
async def test_documents_are_looked_at_only_when_an_incident_went():
    archive = Attic()
    archive.versions = ["old"]
    await pruner(archive).round()
    assert archive.versions == ["old"]


@virtually
async def test_a_chunk_waits_while_others_wait_but_not_for_ever():
    archive = Attic(3)
    archive.waiting = 7
    await pruner(archive).round()
    assert archive.left == []
    assert archive.drops[0][0] == pytest.approx(PAUSE * (PATIENCE + 1))


@pytest.mark.parametrize(("takes", "pause"), [(0.0001, PAUSE), (0.002, 0.2), (0.02, 2.0), (9.0, LONGEST)])
@virtually
async def test_the_longer_a_chunk_takes_the_rarer_it_is(takes, pause):
    archive = Attic(15)
    archive.takes = takes
    await pruner(archive).round()
    _, *times = [at for at, _ in archive.drops]
    assert [later - at - takes for at, later in pairwise(times)] == pytest.approx([pause] * 4)
    assert takes / (takes + pause) <= SHARE or pause == LONGEST


@virtually
async def test_it_begins_when_the_start_is_over_and_comes_back_every_hour():
    archive = Attic()
    one = pruner(archive)
    one.begin()
    await asyncio.sleep(SETTLE - 1)
    assert archive.asked == []
    await asyncio.sleep(2)
    assert len(archive.asked) == 1
    await asyncio.sleep(2 * EVERY)
    assert len(archive.asked) == 3
    await one.stop()
    await asyncio.sleep(EVERY)
    assert len(archive.asked) == 3


@virtually
async def test_it_may_be_stopped_before_it_began():
    await pruner(Attic()).stop()


@virtually
async def test_a_round_that_fails_is_said_and_the_next_one_comes():
    archive = Attic(3)
    archive.away = True
    one = pruner(archive)
    with capture_logs() as logs:
        one.begin()
        await asyncio.sleep(SETTLE + 1)
        archive.away = False
        await asyncio.sleep(EVERY)
    assert [(line["event"], line.get("why")) for line in logs] == [
        ("pruning_failed", "the disk is away"),
        ("pruned", None),
    ]
    assert archive.left == []
    await one.stop()


@virtually
async def test_a_round_that_goes_wrong_is_said_and_the_next_one_comes():
    archive = Attic(3)
    one = pruner(archive)
    archive.away, due = True, archive.due

    async def surprising(before, after):
        if archive.away:
            raise LookupError("a defect")
        return await due(before, after)

    archive.due = surprising
    with capture_logs() as logs:
        one.begin()
        await asyncio.sleep(SETTLE + 1)
        archive.away = False
        await asyncio.sleep(EVERY)
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("pruning_fault", "error"),
        ("pruned", "info"),
    ]
    assert archive.left == []
    await one.stop()


class Jumping(LoopClock):
    """A wall clock that somebody sets."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@virtually
async def test_after_a_jump_of_the_clock_a_round_is_left_out():
    clock, archive = Jumping(START), Attic(3)
    one = pruner(archive, clock)
    with capture_logs() as logs:
        one.begin()
        await asyncio.sleep(SETTLE / 2)
        clock.ahead = 4000 * DAY
        await asyncio.sleep(SETTLE)
        assert archive.asked == []
        clock.ahead = timedelta()  # set right again
        await asyncio.sleep(EVERY)
        assert archive.asked == []
        await asyncio.sleep(EVERY)
    assert len(archive.asked) >= 1
    assert max(archive.asked) < START
    assert [line["event"] for line in logs] == ["pruning_postponed", "pruning_postponed", "pruned"]
    await one.stop()


@virtually
async def test_one_line_says_what_a_round_threw_away_and_none_that_it_threw_nothing():
    archive = Attic(4, chunk=2)
    archive.takes = 0.01
    with capture_logs() as logs:
        await pruner(archive, HandClock(START)).round()
        await pruner(archive, HandClock(START)).round()
    assert logs == [
        {
            "event": "pruned",
            "log_level": "info",
            "before": "2025-12-01T00:00:00+00:00",
            "incidents": 4,
            "lines": 40,
            "documents": 0,
            "seconds": 2.1,
        }
    ]


@virtually
async def test_a_clock_that_was_wrong_at_the_start_and_is_not_followed_yet_throws_nothing_away():
    time, ahead = asyncio.get_running_loop().time, [365 * 86400.0]
    clock = SteadyClock(lambda: START.timestamp() + time() + ahead[0], time)
    archive = Attic(3)
    one = pruner(archive, clock, offset=lambda: clock.offset)
    one.begin()
    ahead[0] = 0.0
    clock.look()  # an incident is live: the daemon keeps its own time
    await asyncio.sleep(SETTLE + EVERY + 1)
    assert archive.asked == []
    clock.follow()
    await asyncio.sleep(2 * EVERY)
    assert (
        archive.asked[0] == START + timedelta(seconds=SETTLE + 3 * EVERY) - 90 * DAY
    )  # after one more that was left out
    await one.stop()
