"""A jump of the wall clock is journaled; the daemon follows when no incident is live, and never while one is."""

import asyncio
from collections.abc import Callable

from tests.unit.test_clock import HOUR, START, Hands
from tests.virtual import virtually

from stopgap.errors import StoreError
from stopgap.incident import Event, EventKind as K
from stopgap.timekeeper import MOST_UNTOLD, STORE_AGAIN, Timekeeper


class Desk:
    """Surroundings of a timekeeper: whether an incident is live, a journal that can be away."""

    def __init__(self) -> None:
        self.hands = Hands()
        self.idle = False
        self.away = False
        self.lines: list[Event] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.keeper = Timekeeper(self.hands.clock, lambda: self.idle, self.journal)

    async def journal(self, event: Event) -> None:
        self.meanwhile()
        if self.away:
            raise StoreError("disk full")
        self.lines.append(event)

    def jumps(self, seconds: float) -> None:
        self.hands.set(seconds)
        self.keeper.look()

    @property
    def told(self) -> list[tuple[K, float, float]]:
        return [(line.kind, line.detail["seconds"], line.detail["offset"]) for line in self.lines]


@virtually
async def test_while_an_incident_is_live_a_jump_is_journaled_and_time_goes_on():
    desk = Desk()
    desk.keeper.look()
    desk.jumps(HOUR)
    desk.keeper.look()
    await asyncio.sleep(60)
    assert desk.told == [(K.CLOCK_JUMPED, HOUR, HOUR)]
    assert desk.lines[0].at == START
    assert "jumped by +3600.0 s" in desk.lines[0].detail["text"]
    assert desk.keeper.offset == HOUR
    desk.jumps(-HOUR)
    await asyncio.sleep(60)
    assert desk.told[1:] == [(K.CLOCK_JUMPED, -HOUR, 0.0)]


@virtually
async def test_when_the_last_incident_is_closed_the_wall_clock_is_taken_over():
    desk = Desk()
    desk.jumps(-HOUR)
    desk.idle = True
    desk.keeper.look()
    desk.keeper.look()
    await asyncio.sleep(60)
    assert desk.told == [(K.CLOCK_JUMPED, -HOUR, -HOUR), (K.CLOCK_FOLLOWED, -HOUR, 0.0)]
    assert desk.keeper.offset == 0.0


@virtually
async def test_a_jump_that_the_store_does_not_take_is_told_later():
    desk = Desk()
    desk.away = True
    desk.jumps(HOUR)
    await asyncio.sleep(3 * STORE_AGAIN)
    assert not desk.lines
    desk.away = False
    await asyncio.sleep(STORE_AGAIN)
    assert desk.told == [(K.CLOCK_JUMPED, HOUR, HOUR)]


@virtually
async def test_a_clock_that_runs_wild_fills_neither_memory_nor_disk():
    desk = Desk()
    for _ in range(100):
        desk.jumps(HOUR)
        await asyncio.sleep(0.25)
    assert len(desk.lines) <= 26
    await asyncio.sleep(600)
    assert len(desk.lines) <= 26 + MOST_UNTOLD


@virtually
async def test_a_line_that_is_dropped_while_it_is_written_drops_no_other():
    desk = Desk()

    def wild() -> None:
        desk.meanwhile = lambda: None
        for _ in range(MOST_UNTOLD):
            desk.jumps(HOUR)

    desk.meanwhile = wild
    desk.jumps(HOUR)
    await asyncio.sleep(600)
    assert [line.detail["offset"] for line in desk.lines] == [HOUR * n for n in range(1, MOST_UNTOLD + 2)]


@virtually
async def test_stopping_says_no_more():
    desk = Desk()
    await desk.keeper.stop()
    desk.jumps(HOUR)
    await desk.keeper.stop()
    await asyncio.sleep(60)
    assert not desk.lines
