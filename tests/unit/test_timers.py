"""One heap of instants for all incidents."""

import asyncio
from datetime import timedelta

from tests.virtual import virtually
from tests.world import START

from stopgap.clock import LoopClock
from stopgap.timers import Timers


@virtually
async def test_a_key_rings_once_at_its_last_instant_and_not_when_it_was_cleared():
    clock, rung = LoopClock(START), list[str]()
    timers = Timers(clock, rung.append)
    timers.set("a", START + timedelta(minutes=5))
    timers.set("b", START + timedelta(minutes=1))
    timers.set("b", START + timedelta(minutes=1))
    timers.set("c", START + timedelta(minutes=2))
    timers.set("a", START + timedelta(minutes=3))
    timers.clear("c")
    await asyncio.sleep(150)
    assert rung == ["b"]
    await asyncio.sleep(600)
    assert rung == ["b", "a"]


@virtually
async def test_instants_that_are_replaced_over_and_over_are_forgotten():
    clock, rung = LoopClock(START), list[str]()
    timers = Timers(clock, rung.append)
    for second in range(10_000):
        timers.set("a", START + timedelta(seconds=second))
    assert len(timers._heap) < 100
    await asyncio.sleep(9_998)
    assert not rung
    await asyncio.sleep(2)
    assert rung == ["a"]


class Jumping:
    """A wall clock that somebody sets."""

    def __init__(self):
        self.loop, self.ahead = LoopClock(START), timedelta()

    def now(self):
        return self.loop.now() + self.ahead


@virtually
async def test_a_wall_clock_that_jumps_ahead_is_noticed_within_a_minute():
    clock, rung = Jumping(), list[str]()
    timers = Timers(clock, rung.append)
    timers.set("a", START + timedelta(hours=1))
    clock.ahead = timedelta(hours=2)
    await asyncio.sleep(61)
    assert rung == ["a"]


@virtually
async def test_nothing_rings_after_a_stop():
    rung = list[str]()
    timers = Timers(LoopClock(START), rung.append)
    timers.stop()
    timers.set("a", START + timedelta(seconds=1))
    timers.stop()
    await asyncio.sleep(10)
    assert not rung
