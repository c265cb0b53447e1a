"""Between the commit of an intent and its act: the journal has told its lines, and who wrote them has yet to hear of it."""

import asyncio

import pytest
from tests.virtual import virtually
from tests.world import GENEROUS, World, rule, step

from stopgap.orders import NotPossible
from stopgap.rule import RungSpec
from stopgap.simulate.journal import MemoryJournal


class Late(MemoryJournal):
    """Answers a while after its observers heard of a commit, as the store does when it hands out a large batch."""

    answers_after = 1.0

    async def append(self, append):
        answer = await super().append(append)
        await asyncio.sleep(self.answers_after)
        return answer


def late_world(*rules):
    world = World(rules)
    world.journal.__class__ = Late
    return world


def restarting():
    return rule(limits=GENEROUS, ladder=(RungSpec("restart", do=(step("on", action="kick"),)),))


@virtually
async def test_an_incident_whose_act_is_about_to_begin_cannot_be_closed():
    world = await late_world(restarting()).start()
    await world.fire()
    await world.settle()
    assert "step_started" in world.words
    assert not world.switch.log
    with pytest.raises(NotPossible, match="under way"):
        await world.orders.close(world.incident.id, "ann", "enough", keep=True)
    await world.passes(minutes=1)
    assert "step_succeeded" in world.words


@virtually
async def test_a_stop_lets_an_act_run_whose_intent_is_on_disk():
    world = await late_world(restarting()).start()
    world.kick.blind = True
    world.kick.safe = False
    await world.fire()
    await world.settle()
    assert "step_started" in world.words
    await world.engine.stop()
    assert world.words[-1] in ("step_succeeded", "mitigated"), world.words
