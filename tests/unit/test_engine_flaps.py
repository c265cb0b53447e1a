"""Flaps: what is taken back and fires again soon after begins with what held, under the rules as they are now."""

import asyncio

from tests.virtual import virtually
from tests.world import GENEROUS, World, book, rule

from stopgap.incident import Phase


@virtually
async def test_a_flap_opens_nothing_under_a_rule_that_does_not_take_the_alert_any_more():
    world = await World((rule(limits=GENEROUS),)).start()
    await world.fire()
    await world.settle()
    await world.resolve()
    await world.passes(minutes=4)
    world.switch.takes = 1
    narrowed = rule(match='alertname="Down",team="b"', limits=GENEROUS)
    await world.engine.use(book(narrowed))
    revert = world.switch.revert

    async def slowly(*given):
        await asyncio.sleep(20)
        return await revert(*given)

    world.switch.revert = slowly
    while world.incident.phase is not Phase.REVERTING:
        await world.passes(seconds=1)
    await world.fire()
    await world.passes(minutes=5)
    acted = [n for n, words in world.timelines.items() if "rung_started" in words]
    assert len(acted) == 1, world.timelines
