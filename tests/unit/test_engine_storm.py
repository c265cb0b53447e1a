"""Storms on the whole way: thousands of targets at once stop new mitigations, say so once, and pass by themselves."""

import asyncio
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.unit.test_engine_guards import GENEROUS, HOUR, acted, hosts, per_host
from tests.virtual import virtually
from tests.world import MOCK, World, alert, book, probe

from stopgap.errors import StoreError
from stopgap.incident import EventKind as K, Phase
from stopgap.rate import Rate
from stopgap.rule import Limits
from stopgap.simulate.journal import MemoryJournal

LIMITS = replace(GENEROUS, storm=Limits().storm)


@virtually
async def test_a_storm_that_passed_while_the_daemon_was_down_is_told_to_be_over_and_so_is_the_next_one():
    world = await World((per_host(limits=LIMITS),)).start()
    await world.fire(*hosts(11))
    await world.passes(seconds=10)
    await world.engine.stop()
    await world.passes(hours=1)
    await world.crash()
    await world.passes(minutes=1)
    assert control(world) == ["storm_began", "storm_ended"]
    await world.fire(*(alert(job="web", host=f"w{i}") for i in range(50)))
    await world.passes(seconds=1)
    await world.crash()  # before it was told
    await world.passes(minutes=1)
    assert control(world) == ["storm_began", "storm_ended", "storm_began"]


def control(world: World) -> list[str]:
    return [event.kind.value for event in world.journal.timelines["control"]]


@virtually
async def test_ten_targets_are_acted_upon_and_the_eleventh_is_a_storm():
    world = await World((per_host(limits=LIMITS),)).start()
    for one in hosts(12):
        await world.fire(one)
        await world.settle()
    assert acted(world) == 10
    waiting = [state for state in world.engine.incidents.values() if state.reason == "storm"]
    assert len(waiting) == 2


@virtually
async def test_a_rung_that_is_being_prepared_when_a_storm_begins_does_not_start():
    world = await World((per_host(limits=LIMITS, ladder=(replace(MOCK, only_if=(probe("fit"),)),)),)).start()
    answer = world.say.ask

    async def slow(*asked: Any) -> Any:
        await asyncio.sleep(3)
        return await answer(*asked)

    world.say.ask = slow
    for one in hosts(12):
        await world.fire(one)
    await world.passes(seconds=5)
    assert acted(world) == 0
    assert {state.reason for state in world.engine.incidents.values()} == {"storm"}


@virtually
async def test_two_thousand_targets_at_once_one_message_calm_and_then_the_most_severe_first():
    limits = replace(LIMITS, budget_global=Rate(20, HOUR))
    world = await World((per_host(limits=limits),)).start()
    tracemalloc.start()
    severities = ("info", "warning", "critical")
    await world.fire(*(alert(job="api", host=f"h{i}", severity=severities[i % 3]) for i in range(2000)))
    await world.passes(minutes=5)
    assert acted(world) == 0
    assert control(world).count("storm_began") == 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 2**20
    (told,) = [e.detail for e in world.journal.timelines["control"] if e.kind is K.STORM_BEGAN]
    assert told["targets"] == 2000
    assert told["rules"] == {"test/mock": 2000}
    assert len(told["examples"]) == 10
    await world.passes(minutes=11)
    assert control(world).count("storm_ended") == 1
    began = [state for state in world.engine.incidents.values() if state.rungs]
    assert len(began) == len(world.journal.permits) == 20
    assert {state.severity for state in began} == {"P1"}
    oldest = sorted(s.id for s in world.engine.incidents.values() if s.severity == "P1")[:20]
    assert sorted(state.id for state in began) == oldest
    assert all(state.phase is Phase.WAITING for state in world.engine.incidents.values() if not state.rungs)


@virtually
async def test_a_storm_prolonged_by_others_is_still_told_once_and_survives_a_restart():
    world = await World((per_host(limits=LIMITS),)).start()
    await world.fire(*hosts(11))
    await world.passes(minutes=10)
    await world.fire(*(alert(job="web", host=f"w{i}") for i in range(5)))
    await world.crash()
    await world.passes(minutes=14)
    assert acted(world) == 0
    assert control(world).count("storm_began") == 1
    await world.passes(minutes=2)
    assert acted(world) == 16
    assert control(world).count("storm_ended") == 1
    await world.crash()
    await world.passes(minutes=1)
    assert control(world).count("storm_ended") == 1


@virtually
async def test_a_storm_that_a_crash_kept_from_being_told_is_told_after_the_restart():
    world = await World((per_host(limits=LIMITS),)).start()
    await world.fire(*hosts(11))
    await world.crash()
    await world.passes(seconds=5)
    assert control(world).count("storm_began") == 1


@virtually
async def test_a_storm_is_told_when_the_store_is_back(monkeypatch):
    world = await World((per_host(limits=LIMITS),)).start()
    told = MemoryJournal.control
    tries = []

    async def away(self, event):
        tries.append(event.kind)
        if len(tries) < 3:
            raise StoreError("full")
        await told(self, event)

    monkeypatch.setattr(MemoryJournal, "control", away)
    await world.fire(*hosts(11))
    await world.passes(minutes=1)
    assert tries == [K.STORM_BEGAN] * 3


@virtually
async def test_a_storm_that_cannot_be_written_down_keeps_its_end_from_nobody(monkeypatch):
    world = await World((per_host(limits=LIMITS),)).start()
    told = MemoryJournal.control

    async def torn(self, event):
        if event.kind is K.STORM_BEGAN:
            raise RuntimeError("a fault of ours")
        await told(self, event)

    monkeypatch.setattr(MemoryJournal, "control", torn)
    await world.fire(*hosts(11))
    await world.passes(minutes=30)
    assert control(world) == ["storm_ended"]


@virtually
async def test_other_limits_of_a_reload_judge_what_opened_before():
    world = await World((per_host(limits=GENEROUS),)).start()
    await world.fire(*hosts(11))
    await world.settle()
    assert acted(world) == 11
    await world.engine.use(book(per_host(limits=LIMITS)))
    await world.fire(alert(job="api", host="one more"))
    await world.settle()
    assert acted(world) == 11
    await world.engine.stop()


@virtually
async def test_what_holds_is_taken_back_in_a_storm():
    quick = per_host(limits=replace(LIMITS, hold=timedelta(minutes=1)))
    world = await World((quick,)).start()
    await world.fire(alert(job="api", host="first"))
    await world.settle()
    await world.fire(*hosts(15))
    await world.resolve(alert(job="api", host="first"))
    await world.passes(minutes=2)
    assert world.outcome().count("recovered") == 1
