"""How many more rungs each rule may start now: from the permits of before, and those of now."""

from dataclasses import replace
from datetime import timedelta

from tests.unit.test_engine_guards import hosts, per_host
from tests.virtual import virtually
from tests.world import GENEROUS, World

from stopgap.headroom import Headroom
from stopgap.rate import Rate


@virtually
async def test_headroom_shrinks_with_each_permit_and_grows_with_time():
    limited = per_host(limits=replace(GENEROUS, budget=Rate(3, timedelta(hours=1))))
    world = await World((limited, per_host("other", alertname="Other"))).start()
    room = Headroom(world.journal, world.clock)
    await room.use((limited,))
    world.engine.subscribe(room.observe)
    assert room.left() == {"test/mock": 3}
    await world.fire(*hosts(2))
    await world.settle()
    assert room.left() == {"test/mock": 1}
    again = Headroom(world.journal, world.clock)
    await again.use((limited,))
    assert again.left() == {"test/mock": 1}
    await world.passes(hours=1)
    assert room.left() == {"test/mock": 3}


@virtually
async def test_a_rule_without_a_budget_has_no_headroom():
    none = per_host(limits=replace(GENEROUS, budget=Rate(0, timedelta(hours=1))))
    world = await World((none,)).start()
    room = Headroom(world.journal, world.clock)
    await room.use((none,))
    assert room.left() == {"test/mock": 0}
