"""Flaps: what is taken back and fires again soon after begins with what held, under the rules as they are now."""

import asyncio
from dataclasses import replace

from tests.virtual import virtually
from tests.world import GENEROUS, World, book, probe, rule, step

from stopgap.incident import Phase
from stopgap.probe import Verdict
from stopgap.rule import Rule, RungSpec

A = RungSpec("gentle", do=(step(name="a"),), verify=(probe("first"),))
B = RungSpec("held", do=(step(name="b"),))
NEW = RungSpec("drastic", do=(step(name="new"),))


async def flap(world: World, reload: Rule | None = None) -> None:
    """Let what holds be taken back, and the alert fire again at once."""
    await world.resolve()
    await world.passes(minutes=6)
    assert not world.engine.incidents
    if reload is not None:
        await world.engine.use(book(reload))
    await world.fire()
    await world.settle()


# --- which rung comes first ---


@virtually
async def test_a_flap_after_a_reload_starts_at_the_rung_that_held_not_at_another_of_its_number():
    world = await World((rule(ladder=(A, B), limits=GENEROUS),)).start()
    world.say.verdicts["first"] = Verdict.UNHEALTHY
    await world.fire()
    await world.passes(minutes=3)
    assert world.incident.held == (1,)
    await flap(world, rule(ladder=(A, NEW, B), limits=GENEROUS))
    assert world.incident.held == (2,)
    assert "new=mock" not in world.switch.log


@virtually
async def test_a_flap_after_a_reload_that_made_the_ladder_shorter_still_tries_it():
    world = await World((rule(ladder=(A, B), limits=GENEROUS),)).start()
    world.say.verdicts["first"] = Verdict.UNHEALTHY
    await world.fire()
    await world.passes(minutes=3)
    await flap(world, rule(ladder=(B,), limits=GENEROUS))
    assert world.incident.rungs, world.incident.reason


@virtually
async def test_a_flap_after_a_reload_that_took_away_the_rung_that_held_starts_with_the_first():
    world = await World((rule(ladder=(A, B), limits=GENEROUS),)).start()
    world.say.verdicts["first"] = Verdict.UNHEALTHY
    await world.fire()
    await world.passes(minutes=3)
    world.say.verdicts["first"] = Verdict.HEALTHY
    await flap(world, rule(ladder=(A, NEW), limits=GENEROUS))
    assert world.incident.follows
    assert world.incident.held == (0,)


@virtually
async def test_a_flap_applies_again_what_goes_on_before_the_rung_that_held():
    page = RungSpec("stop the writers", do=(step(name="page"),), go_on=True)
    world = await World((rule(ladder=(page, B), limits=GENEROUS),)).start()
    await world.fire()
    await world.settle()
    assert world.incident.held == (0, 1)
    await flap(world)
    assert world.incident.held == (0, 1)


@virtually
async def test_a_flap_starts_no_rung_that_goes_on_below_one_that_failed():
    page = RungSpec("page", do=(step(name="page"),), go_on=True)
    again = replace(page, name="page again", do=(step(name="again"),))
    last = RungSpec("last", do=(step(name="c"),))
    bad = RungSpec("bad", do=(step(name="a"),), verify=(probe("first"),))
    world = await World((rule(ladder=(page, bad, again, last), limits=GENEROUS),)).start()
    world.say.verdicts["first"] = Verdict.UNHEALTHY
    await world.fire()
    await world.passes(minutes=3)
    assert world.incident.held == (0, 2, 3)
    await flap(world)
    assert world.incident.held == (2, 3)


# --- whether there is one ---


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
