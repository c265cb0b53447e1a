"""What rarely happens between a decision and its act: refusals, conflicts and stops at each border."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.test_engine_guards import GENEROUS, HOUR, hosts, per_host
from tests.virtual import virtually
from tests.world import World, probe, rule, step

from stopgap.asker import Asker
from stopgap.errors import PermanentError, StoreError
from stopgap.incident import EventKind as K, Phase
from stopgap.journal import Conflict
from stopgap.rate import Rate
from stopgap.rule import AtOnce, Mode, OnFailure, RungSpec
from stopgap.turns import Turns


@virtually
async def test_without_anything_that_measures_a_population_is_unknown():
    found = await Asker(None, 1).extent("count(up)")
    assert found.flaw == "nothing is configured that could measure it"


@virtually
async def test_what_the_guards_refuse_is_told_although_no_turn_is_free():
    limits = replace(GENEROUS, budget=Rate(1, HOUR))
    world = await World((per_host(limits=limits),)).start()
    world.engine.performer.bound(AtOnce(actions=1))
    world.switch.takes = 20.0
    await world.fire(*hosts(1))
    await world.settle()
    await world.fire(*hosts(2))
    await world.settle()
    reasons = sorted(state.reason for state in world.engine.incidents.values())
    assert reasons == ["", "budget_rule"]


@virtually
async def test_a_turn_that_came_to_somebody_who_was_cancelled_goes_on_to_the_next():
    turns = Turns(1)

    async def take() -> None:
        async with turns.take():
            await asyncio.sleep(10)

    first, second, third = (asyncio.create_task(take()) for _ in range(3))
    await asyncio.sleep(1)
    turns._leave()  # the turn of the second comes in the very moment in which it is cancelled
    second.cancel()
    await asyncio.sleep(1)
    assert not third.done()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert second.cancelled()


@virtually
async def test_a_shadow_whose_guards_cannot_be_asked_says_so(monkeypatch):
    world = await World((rule(mode=Mode.SHADOW),)).start()

    async def away(_: Any) -> Any:
        raise StoreError("disk on fire")

    monkeypatch.setattr(world.journal, "ledger", away)
    await world.fire()
    await world.settle()
    (told,) = [e.detail for e in world.journal.timelines[world.incident.id] if e.kind is K.SHADOW_PLANNED]
    assert told["refusal"].startswith("store_unavailable")


@pytest.mark.parametrize("conflicts", [1, 9])
@virtually
async def test_a_start_that_meets_conflicts_tries_again_a_few_times(monkeypatch, conflicts):
    world = await World().start()
    append, left = world.journal.append, [conflicts]

    async def busy(what: Any) -> Any:
        if what.request is not None and what.request.starts and left[0]:
            left[0] -= 1
            return Conflict(what.expect)
        return await append(what)

    monkeypatch.setattr(world.journal, "append", busy)
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_what_another_takes_before_the_commit_refuses_the_start(monkeypatch):
    world = await World().start()
    append = world.journal.append

    async def late(what: Any) -> Any:
        if what.request is not None and what.request.starts:
            world.journal.held["target:app"] = "INC-other"
        return await append(what)

    monkeypatch.setattr(world.journal, "append", late)
    await world.fire()
    await world.settle()
    assert not world.incident.rungs
    assert world.incident.reason == "target_busy"


@virtually
async def test_an_undo_that_is_gone_is_a_failed_revert():
    world = await World().start()
    await world.fire()
    await world.settle()
    world.journal.undos.clear()
    await world.orders.revert(world.incident.id, "ann", "now")
    await world.passes(minutes=1)
    assert world.incident.stuck
    (failed,) = [e.detail for e in world.journal.timelines[world.incident.id] if e.kind is K.REVERT_FAILED]
    assert failed["why"] == "its undo is not in the store"


@virtually
async def test_a_storm_that_is_over_before_its_summary_is_told_without_numbers():
    storm = replace(
        GENEROUS.storm, targets=1, below=1, window=GENEROUS.cooldown + HOUR / 3600, calm=HOUR / 3600
    )
    limits = replace(GENEROUS, storm=storm)
    world = await World(
        (per_host(limits=limits, ladder=(replace(per_host().ladder[0], verify=(probe("x"),)),)),)
    ).start()
    await world.fire(*hosts(3))
    await world.passes(seconds=10)
    told = [e for e in world.journal.timelines["control"] if e.kind is K.STORM_BEGAN]
    assert len(told) == 1
    assert "targets" not in told[0].detail


@virtually
async def test_nothing_is_begun_for_an_incident_that_is_gone_or_a_daemon_that_stops(monkeypatch):
    world = await World().start()
    starter = world.engine.performer.starter
    present, gone = starter.present, [True]
    monkeypatch.setattr(starter, "present", lambda name: None if gone and gone.pop() else present(name))
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED  # asked again, and begun then
    assert world.engine._present("INC-0") is None
    world.engine._stopping = True
    assert world.engine._present(world.incident.id) is None


@virtually
async def test_a_later_step_that_cannot_be_observed_fails_its_rung():
    two = RungSpec("two", do=(step(name="one"), step(name="two")))
    world = await World((rule(ladder=(two,)),)).start()
    observe = world.switch.observe

    async def blind(params: Any, moment: Any) -> Any:
        if params.name == "two":
            raise PermanentError("permission denied")
        return await observe(params, moment)

    world.switch.observe = blind
    await world.fire()
    await world.settle()
    assert "rung_failed" in world.words
    assert world.switch.values["one"] is None


@virtually
async def test_what_a_kept_rung_had_set_over_is_put_back_once_a_person_takes_all_back():
    below = RungSpec("below", do=(step("b", name="other"), step("low")), go_on=True)
    above = RungSpec("above", do=(step("high"),), on_resolve=OnFailure.KEEP)
    world = await World((rule(ladder=(below, above)),)).start()
    await world.fire()
    await world.settle()
    await world.resolve()
    await world.passes(minutes=4)
    real = world.switch.revert

    async def once(params, before, receipt, moment):
        if params.name == "other":
            world.switch.revert = real
            raise PermanentError("no way back")
        return await real(params, before, receipt, moment)

    world.switch.revert = once
    await world.passes(minutes=2)
    assert world.incident.stuck
    assert world.incident.drifted == ("mode is high, left alone",)
    await world.orders.revert(world.incident.id, "ann", "all of it")
    await world.settle()
    assert world.switch.values["mode"] == "normal"
