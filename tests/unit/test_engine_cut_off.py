"""An engine that may not act any more cuts off what is under way, and begins no act where that is not allowed."""

import asyncio
from contextlib import contextmanager
from typing import Any

import pytest
from tests.virtual import virtually
from tests.world import World

from stopgap import engine as engines
from stopgap.errors import StoreError


@virtually
async def test_acts_that_are_cut_off_end_at_once_and_have_no_result():
    world = await World().start()
    world.switch.takes = 10
    await world.fire()
    await world.passes(seconds=1)
    began = asyncio.get_running_loop().time()
    await world.engine.stop(0.0)
    assert asyncio.get_running_loop().time() == began
    assert world.words[-1] == "step_started"
    assert world.switch.values["mode"] == "normal"
    await world.engine.stop()  # the second time there is nothing


@virtually
async def test_an_act_that_does_not_end_when_it_is_cut_off_is_cut_off_once_more():
    world = await World().start()
    said: list[str] = []

    async def stubborn(*_: Any) -> Any:
        for word in ("asked", "told"):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                said.append(word)
        raise asyncio.CancelledError

    world.switch.run = stubborn
    await world.fire()
    await world.passes(seconds=1)
    began = asyncio.get_running_loop().time()
    await world.engine.stop(0.0)
    assert asyncio.get_running_loop().time() - began == pytest.approx(engines.CUT_OFF)
    assert said == ["asked", "told"]


@virtually
async def test_an_act_is_not_begun_where_another_daemon_may_lead_and_what_became_of_it_is_asked():
    world = await World().start()
    calls: list[int] = []

    @contextmanager
    def acting() -> Any:
        calls.append(world.switch.calls.total())
        if len(calls) == 1:
            raise StoreError("not certain")
        yield

    world.journal.acting = acting
    await world.fire()
    await world.passes(seconds=5)
    assert calls[:2] == [0, 0]
    assert (
        world.words.count("step_started") == 3
    )  # the first step twice, by the same key; then its activation
    assert world.switch.calls["0/0/do/1"] == 1
    assert world.words.count("step_succeeded") == 2
