"""What the engine does when something around it fails or happens at the worst moment, on virtual time."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.virtual import virtually
from tests.world import GENEROUS, START, Kick, World, alert, book, rule, step

from stopgap.action import Danger
from stopgap.decide import decide
from stopgap.errors import PermanentError, StoreError
from stopgap.incident import EventKind, Phase
from stopgap.ledger import Brake, BrakeScope
from stopgap.rule import Limits, RungSpec

GLOBAL = Brake(BrakeScope.GLOBAL, "", "ann", "wait", START)


async def held(**more: Any) -> World:
    world = await World(**more).start()
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED
    return world


def broken(text: str) -> Any:
    async def read(*_: object) -> Any:
        raise StoreError(text)

    return read


# --- brakes ---


@virtually
async def test_a_brake_counts_at_once_even_if_the_store_cannot_be_read_after_it():
    world = World()
    await world.start()
    world.journal.brakes = broken("no reader")
    observed = 0
    observe = world.switch.observe

    async def counting(*given: Any) -> Any:
        nonlocal observed
        observed += 1
        return await observe(*given)

    world.switch.observe = counting
    await world.engine.brake(GLOBAL)
    await world.fire()
    await world.settle()
    assert world.incident.reason == "brake"
    assert observed == 0
    assert await world.engine.release(BrakeScope.GLOBAL, "", "ann")
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_a_second_brake_of_the_same_name_replaces_the_first_and_others_stay():
    world = await World().start()
    other = replace(GLOBAL, scope=BrakeScope.RULE, name="test/mock")
    await world.engine.brake(GLOBAL)
    await world.engine.brake(other)
    await world.engine.brake(replace(GLOBAL, why="still"))
    assert sorted(world.engine.brakes, key=lambda b: b.scope) == [replace(GLOBAL, why="still"), other]
    assert not await world.engine.release(BrakeScope.TARGET, "app", "ann")
    assert await world.engine.release(BrakeScope.GLOBAL, "", "ann")
    assert world.engine.brakes == (other,)
    assert await world.journal.brakes() == (other,)


@virtually
async def test_a_brake_that_comes_while_a_step_is_observed_stops_it_before_it_acts():
    world = await World().start()
    observe = world.switch.observe

    async def slow(*given: Any) -> Any:
        await asyncio.sleep(5)
        return await observe(*given)

    world.switch.observe = slow
    await world.fire()
    await world.passes(seconds=1)
    await world.engine.brake(GLOBAL)
    await world.passes(minutes=10)
    assert not world.switch.calls
    assert world.incident.reason == "brake"
    assert world.words.count("refused") == 1


# --- reload ---


@virtually
async def test_an_incident_opened_under_rules_that_are_just_being_replaced_is_acted_upon():
    """A large notification is still being worked off when a reload swaps the rules."""
    world = await World().start()
    alerts = [alert(), *(alert("Other", instance=str(i)) for i in range(1000))]
    receiving = asyncio.create_task(world.engine.receive(alerts))
    await asyncio.sleep(0)
    changed = rule(limits=Limits(hold=timedelta(minutes=9)))
    assert changed.version != world.rules[0].version
    await world.engine.use(book(changed))
    await receiving
    await world.settle()
    assert world.incident.version == world.rules[0].version
    assert world.incident.phase is Phase.MITIGATED


# --- alerts of rules that are gone ---


@virtually
async def test_an_alert_is_over_even_if_the_rule_version_of_its_incident_is_lost():
    world = await held()
    world.rules = (rule(limits=Limits(hold=timedelta(minutes=9))),)
    await world.crash()
    assert world.engine.rule_of(world.incident) is None
    await world.resolve()
    assert not world.incident.firing


@virtually
async def test_a_served_alert_that_ends_while_its_rule_is_away_opens_again_when_the_rule_is_back():
    world = await held()
    await world.orders.close(world.incident.id, "ann", "leave it", keep=True)
    await world.engine.use(book())
    await world.resolve()
    await world.engine.use(book(*world.rules))
    await world.fire()
    assert len(world.timelines) == 2


# --- faults ---


@virtually
async def test_an_observer_that_fails_keeps_nothing_from_the_others_and_from_the_incident():
    world = World()
    told: list[str] = []

    def fails(line: Any, state: Any) -> None:
        raise LookupError("no such label")

    world.engine.subscribe(fails)
    world.engine.subscribe(lambda line, state: told.append(line.event.kind))
    await world.start()
    try:
        await world.fire()
    except LookupError:
        pytest.fail("an observer's fault reached the webhook")
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED
    assert told == world.words


@virtually
async def test_an_act_that_is_cancelled_from_within_is_an_unknown_outcome_and_is_looked_into():
    world = World()
    world.switch.takes = 5
    world.switch.after_faults.append(asyncio.CancelledError())
    await world.start()
    await world.fire()
    await world.passes(minutes=2)
    assert world.incident.phase is Phase.MITIGATED
    assert set(world.switch.calls.values()) == {1}


@virtually
async def test_a_hand_over_is_said_even_if_the_manual_undo_cannot_be():
    two = RungSpec("two", do=(step(), step("on", name="cache")), verify=())
    world = World((rule(ladder=(two,)),))

    def no_words(params: Any, before: Any) -> str:
        raise KeyError("value")

    world.switch.undo_by_hand = no_words
    await world.start()
    await world.fire()
    await world.settle()
    world.switch.faults.append(PermanentError("cannot be taken back"))
    await world.resolve()
    await world.passes(minutes=7)
    assert world.incident.stuck
    (told,) = (e for e in world.journal.timelines[world.incident.id] if e.kind is EventKind.HANDED_OVER)
    assert any("switch:mode" in line for line in told.detail["undo"])


# --- waiting steps ---

WAIT = RungSpec("wait", do=(step(),), activate=(step("on", action="pause"),))


class Pause(Kick):
    """A step that waits for a minute, or until there is no more reason to."""

    name = "pause"
    danger = Danger.NONE

    async def run(self, params: Any, before: Any, moment: Any) -> Any:
        began = asyncio.get_running_loop().time()
        with suppress(TimeoutError):
            await asyncio.wait_for(moment.hurry.wait() if moment.hurry else asyncio.sleep(60), 60)
        self.log.append(f"{asyncio.get_running_loop().time() - began:.0f}s")


async def pausing(**more: Any) -> tuple[World, Pause]:
    patient = replace(WAIT, activate=(replace(step("on", action="pause"), timeout=timedelta(minutes=2)),))
    given = {"rules": (rule(ladder=(patient,)),), **more}
    world, pause = World(**given), Pause()
    world.catalog.actions["pause"] = pause
    return await world.start(), pause


@virtually
async def test_waits_are_cut_short_when_the_alerts_are_over_but_not_those_that_follow_a_revert():
    world, pause = await pausing()
    await world.fire()
    await world.passes(seconds=10)
    await world.resolve()
    await world.passes(minutes=10)
    assert pause.log == ["10s", "60s"]


@virtually
async def test_a_persons_revert_cuts_a_wait_short():
    world, pause = await pausing()
    await world.fire()
    await world.passes(seconds=10)
    await world.orders.revert(world.incident.id, "ann", "now")
    await world.settle()
    assert pause.log == ["10s"]
    assert world.switch.values["mode"] == "normal"


@virtually
async def test_steps_that_only_wait_do_not_keep_others_from_acting():
    world, pause = await pausing(
        rules=(
            rule(
                "slow",
                match='alertname="Slow"',
                target=None,
                per=("instance",),
                ladder=(
                    RungSpec("wait", do=(replace(step("on", action="pause"), timeout=timedelta(minutes=2)),)),
                ),
                limits=GENEROUS,
            ),
            rule(limits=GENEROUS),
        )
    )
    await world.fire(*(alert("Slow", instance=str(i)) for i in range(20)))
    await world.passes(seconds=1)
    await world.fire()
    await world.passes(seconds=1)
    assert world.switch.values["mode"] == "mock"
    assert not pause.log


@virtually
async def test_an_action_that_raises_what_nobody_expected_is_given_up_after_three_times():
    world = await World().start()

    def broken(params: Any) -> Any:
        raise RuntimeError("a third party's mistake")

    world.switch.describe = broken
    await world.fire()
    await world.passes(seconds=59)
    assert not world.incident.handed_over
    await world.passes(seconds=31)
    assert world.incident.reason == "fault"
    assert world.incident.stuck


@virtually
async def test_a_decision_that_faults_is_given_up_too(monkeypatch):
    world = await World().start()

    def faulty(*_: Any) -> Any:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("stopgap.engine.decide", faulty)
    await world.fire()
    await world.passes(seconds=61)
    assert world.incident.reason == "fault"


@virtually
async def test_a_fault_while_a_decision_that_faults_is_told_leaves_no_incident_behind(monkeypatch):
    world = await World().start()
    broken = [True]

    def faulty(*given: Any) -> Any:
        if broken:
            raise RuntimeError("a fault of ours")
        return decide(*given)

    async def worse(*_: Any) -> Any:
        raise RuntimeError("and another one")

    monkeypatch.setattr("stopgap.engine.decide", faulty)
    monkeypatch.setattr("stopgap.faults.Faults.surprised", worse)
    await world.fire()
    await world.passes(seconds=1)
    broken.clear()
    await world.passes(seconds=61)
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_a_fault_that_the_store_does_not_take_is_told_later(monkeypatch):
    world = await World().start()
    world.switch.describe = None
    append, full = world.journal.append, [True]

    async def failing(what: Any) -> Any:
        if full and what.events[0].kind is EventKind.HANDED_OVER:
            full.pop()
            raise StoreError("full")
        return await append(what)

    monkeypatch.setattr(world.journal, "append", failing)
    await world.fire()
    await world.passes(minutes=3)
    assert world.incident.reason == "fault"


@virtually
async def test_one_that_went_well_again_starts_counting_anew():
    world = await World().start()
    describe, broken = world.switch.describe, [1, 2]

    def at_first(params: Any) -> Any:
        if broken:
            broken.pop()
            raise RuntimeError("not yet")
        return describe(params)

    world.switch.describe = at_first
    await world.fire()
    await world.passes(minutes=2)
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_a_mitigation_whose_rule_is_lost_is_handed_over_with_what_it_holds():
    world = await World().start()
    await world.fire()
    await world.settle()
    world.rules = (rule(summary="another"),)
    await world.crash()
    await world.settle()
    (told,) = [
        e.detail for e in world.journal.timelines[world.incident.id] if e.kind is EventKind.HANDED_OVER
    ]
    assert told["reason"] == "rule_lost"
    assert told["undo"] == ["put back switch:mode"]
    await world.crash()
    await world.settle()
    assert world.words.count("handed_over") == 1
