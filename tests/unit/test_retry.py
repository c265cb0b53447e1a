"""Retry: a person gives what was handed over back to automation, with keys that no act before had."""

from datetime import timedelta

import pytest
from tests.virtual import virtually
from tests.world import GENEROUS, World, probe, rule, step

from stopgap.errors import PermanentError
from stopgap.incident import Phase
from stopgap.orders import NotPossible
from stopgap.probe import Verdict
from stopgap.rule import OnFailure, RungSpec

ONE = RungSpec("one", do=(step(),), verify=(probe("ready"),))


async def failed(*ladder: RungSpec, **more) -> World:
    made = await World((rule(ladder=ladder or (ONE,), limits=GENEROUS, **more),)).start()
    made.say.verdicts["ready"] = Verdict.UNHEALTHY
    await made.fire()
    await made.passes(minutes=2)
    assert made.incident.handed_over
    return made


@virtually
async def test_the_last_rung_is_tried_again_with_new_keys_and_helps():
    world = await failed()
    world.say.verdicts["ready"] = Verdict.HEALTHY
    await world.orders.retry(world.incident.id, "ann", "the disk is back")
    await world.settle()
    assert (world.incident.phase, world.incident.handed_over) == (Phase.MITIGATED, False)
    assert world.switch.log == ["mode=mock", "mode=normal", "mode=mock"]
    assert world.switch.calls == {"0/0/do/1": 1, "0/0/revert/1": 1, "0/0/do/2": 1}


@virtually
async def test_what_was_tried_again_is_taken_back_when_the_cause_is_gone():
    world = await failed()
    world.say.verdicts["ready"] = Verdict.HEALTHY
    await world.orders.retry(world.incident.id, "ann", "again")
    await world.settle()
    await world.resolve()
    await world.passes(minutes=7)
    assert world.switch.values["mode"] == "normal"
    assert world.switch.calls["0/0/revert/2"] == 1
    assert world.outcome() == ["recovered"]


@virtually
async def test_a_retry_that_does_not_help_either_is_handed_over_again():
    world = await failed()
    await world.orders.retry(world.incident.id, "ann", "again")
    await world.passes(minutes=2)
    assert world.incident.handed_over
    assert world.words.count("handed_over") == 2
    assert world.switch.values["mode"] == "normal"


@virtually
async def test_a_rung_that_runs_once_runs_again_for_a_person():
    world = await failed(RungSpec("one", do=(step(),), verify=(probe("ready"),), once=True))
    world.say.verdicts["ready"] = Verdict.HEALTHY
    await world.orders.retry(world.incident.id, "ann", "again")
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_a_rung_that_was_denied_is_asked_for_again():
    asks = RungSpec("one", do=(step(),), verify=(probe("ready"),), approval=timedelta(minutes=10))
    world = await World((rule(ladder=(asks,), limits=GENEROUS),)).start()
    await world.fire()
    await world.settle()
    await world.orders.deny(world.incident.id, "bob", "not now")
    await world.settle()
    assert world.incident.handed_over
    await world.orders.retry(world.incident.id, "ann", "bob agrees now")
    await world.settle()
    assert world.words.count("approval_requested") == 2
    await world.orders.approve(world.incident.id, "bob")
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_an_unclear_act_is_done_once_more_under_its_key():
    world = await World((rule(ladder=(ONE,), limits=GENEROUS),)).start()
    world.switch.safe, world.switch.blind = False, True
    world.switch.after_faults = [OSError("connection lost")]
    await world.fire()
    await world.passes(minutes=5)
    assert world.incident.stuck
    await world.orders.retry(world.incident.id, "ann", "I looked: it is not done")
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED
    assert world.switch.calls == {"0/0/do/1": 2}


async def in_doubt() -> World:
    """Return a world whose act took effect, and nobody can tell."""
    world = await World((rule(ladder=(ONE,), limits=GENEROUS),)).start()
    world.switch.safe, world.switch.blind = False, True
    world.switch.after_faults = [OSError("connection lost")]
    await world.fire()
    await world.passes(minutes=5)
    assert (world.incident.stuck, world.switch.values["mode"]) == (True, "mock")
    world.switch.blind = False
    return world


@virtually
async def test_what_stood_there_before_an_act_in_doubt_is_put_back_after_a_retry():
    world = await in_doubt()
    await world.orders.retry(world.incident.id, "ann", "do it again")
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED
    await world.resolve()
    await world.passes(minutes=7)
    assert world.switch.values["mode"] == "normal"


@virtually
async def test_a_retry_that_did_nothing_leaves_the_act_before_it_in_doubt():
    world = await in_doubt()
    world.switch.blind, world.switch.faults = True, [PermanentError("not now")]
    await world.orders.retry(world.incident.id, "ann", "do it again")
    await world.passes(minutes=5)
    assert world.incident.stuck
    world.switch.blind = False
    await world.orders.revert(world.incident.id, "ann", "enough")
    await world.settle()
    assert world.switch.values["mode"] == "normal"


@virtually
async def test_an_unknown_verdict_is_asked_for_once_more():
    world = await World((rule(ladder=(ONE,), limits=GENEROUS),)).start()
    world.say.verdicts["ready"] = Verdict.UNKNOWN
    await world.fire()
    await world.passes(minutes=20)
    assert world.incident.handed_over
    await world.orders.retry(world.incident.id, "ann", "Prometheus is back")
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    await world.passes(minutes=2)
    assert world.switch.values["mode"] == "normal"  # it climbs again


@virtually
async def test_a_retry_survives_a_restart():
    world = await failed()
    world.say.verdicts["ready"] = Verdict.HEALTHY
    await world.orders.retry(world.incident.id, "ann", "again")
    await world.settle()
    before = world.incident
    await world.crash()
    assert world.incident.steps == before.steps
    assert world.incident.phase is Phase.MITIGATED


async def not_handed_over(world: World) -> None:
    await world.start()
    await world.fire()
    await world.settle()


@virtually
async def test_what_cannot_be_tried_again_says_why():
    world = World((rule(ladder=(ONE,), limits=GENEROUS),))
    await not_handed_over(world)
    with pytest.raises(NotPossible, match="not handed over"):
        await world.orders.retry(world.incident.id, "ann", "x")
    told = await World((rule(ladder=(), limits=GENEROUS),)).start()
    await told.fire()
    await told.settle()
    with pytest.raises(NotPossible, match="no ladder"):
        await told.orders.retry(told.incident.id, "ann", "x")
    flawed = await World((rule(ladder=(ONE,), limits=GENEROUS, target=" "),)).start()
    await flawed.fire()
    await flawed.settle()
    with pytest.raises(NotPossible, match="target cannot be rendered"):
        await flawed.orders.retry(flawed.incident.id, "ann", "x")
    kept = await failed(RungSpec("one", do=(step(),), verify=(probe("ready"),), on_failure=OnFailure.KEEP))
    with pytest.raises(NotPossible, match="still held"):
        await kept.orders.retry(kept.incident.id, "ann", "x")
    await kept.resolve()
    await kept.settle()
    with pytest.raises(NotPossible, match="its alerts are over"):
        await kept.orders.retry(kept.incident.id, "ann", "x")


@virtually
async def test_what_is_stuck_in_taking_back_is_reverted_and_not_retried():
    world = await failed()
    world.say.verdicts["ready"] = Verdict.HEALTHY
    await world.orders.retry(world.incident.id, "ann", "again")
    await world.settle()
    world.switch.faults = [PermanentError("disk gone")]
    await world.resolve()
    await world.passes(minutes=7)
    await world.fire()
    with pytest.raises(NotPossible, match="being taken back"):
        await world.orders.retry(world.incident.id, "ann", "x")
