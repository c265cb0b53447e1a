"""Approvals on the whole way: a rung that asks waits for a person's yes, and the yes counts for what was shown and nothing else."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.virtual import virtually
from tests.world import MOCK, World, book, rule, step

from stopgap.errors import PermanentError
from stopgap.incident import EventKind as K, Phase
from stopgap.ledger import Brake, BrakeScope
from stopgap.orders import NotPossible
from stopgap.rule import Mode, RungSpec
from stopgap.terms import Terms

TEN = timedelta(minutes=10)
ASKS = rule(ladder=(replace(MOCK, approval=TEN),))


async def asking(*rules, **more: Any) -> World:
    world = await World(rules or (ASKS,), **more).start()
    await world.fire()
    await world.settle()
    return world


def last(world: World, kind: K) -> dict[str, Any]:
    return [e.detail for e in world.journal.timelines[world.incident.id] if e.kind is kind][-1]


@virtually
async def test_a_rung_that_asks_does_nothing_before_a_person_said_yes():
    world = await asking()
    assert world.incident.phase is Phase.WAITING
    assert world.incident.reason == "approval_pending"
    assert not world.switch.calls
    assert not world.journal.permits
    told = last(world, K.APPROVAL_REQUESTED)
    assert told["steps"] == ["switch: mode to mock", "kick: mode to on"]
    assert told["verify"] == ["ready"]
    await world.orders.approve(world.incident.id, "ann", "go")
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED
    assert last(world, K.PERMITTED)["approved_by"] == "ann"


@virtually
async def test_the_mode_asks_for_every_rung():
    world = await asking(rule(), terms=Terms(Mode.APPROVE))
    assert world.incident.reason == "mode_approve"
    assert last(world, K.APPROVAL_REQUESTED)["text"] == "the mode asks for an approval"


@virtually
async def test_nobody_answers_and_that_means_no():
    world = await asking()
    await world.passes(minutes=11)
    assert world.incident.handed_over
    assert world.incident.reason == "approval_expired"
    assert not world.switch.calls
    with pytest.raises(NotPossible):
        await world.orders.approve(world.incident.id, "ann")


@virtually
async def test_a_no_hands_over_and_says_whose():
    world = await asking()
    await world.orders.deny(world.incident.id, "ann", "not at night")
    await world.settle()
    assert world.incident.handed_over
    assert last(world, K.HANDED_OVER)["text"] == "ann said no: not at night"


@virtually
async def test_a_yes_does_not_count_for_what_has_changed_since():
    world = await asking()
    world.switch.values["mode"] = "something else"
    await world.orders.approve(world.incident.id, "ann")
    await world.settle()
    assert world.words[-3:] == ["approved", "refused", "approval_requested"]
    assert last(world, K.REFUSED)["reason"] == "stale_plan"
    told = last(world, K.APPROVAL_REQUESTED)
    assert (
        told["text"]
        == "the rung asks for an approval again: what it found has changed since a person said yes"
    )
    assert told["undo"] == ["put mode back to something else"]
    assert world.incident.reason == "approval_pending"
    assert not world.switch.calls
    await world.orders.approve(world.incident.id, "ann", "now then")
    await world.settle()
    assert world.switch.values["mode"] == "mock"


@virtually
async def test_a_yes_survives_a_crash_and_counts_for_the_same_plan():
    world = await asking()
    await world.crash()
    await world.orders.approve(world.incident.id, "ann")
    await world.crash()
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_a_yes_that_was_kept_waiting_too_long_is_asked_for_again():
    world = await asking()
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "bob", "migration", world.clock.now()))
    await world.orders.approve(world.incident.id, "ann")
    await world.passes(minutes=11)
    await world.engine.release(BrakeScope.GLOBAL, "", "bob")
    await world.settle()
    assert world.words.count("approval_requested") == 2
    assert not world.switch.calls


@virtually
async def test_what_cannot_be_observed_cannot_be_approved():
    world = World((rule(ladder=(replace(MOCK, approval=TEN), RungSpec("next", do=(step(name="x"),)))),))

    async def blind(*_: Any) -> Any:
        if not world.switch.values.get("seen"):
            world.switch.values["seen"] = "once"
            raise PermanentError("permission denied")
        return None

    world.switch.observe = blind
    await world.start()
    await world.fire()
    await world.settle()
    skipped = last(world, K.RUNG_SKIPPED)
    assert skipped["reason"] == "precondition_unknown"
    assert "permission denied" in skipped["text"]
    assert world.incident.rung == 1


@virtually
async def test_each_rung_asks_for_itself():
    ladder = (replace(MOCK, approval=TEN, go_on=True), replace(MOCK, name="second", approval=TEN))
    world = await asking(rule(ladder=ladder))
    await world.orders.approve(world.incident.id, "ann")
    await world.settle()
    assert world.incident.rung == 1
    assert world.incident.reason == "approval_pending"


@virtually
async def test_a_pending_request_ends_with_its_alerts():
    world = await asking()
    await world.resolve()
    await world.settle()
    assert world.outcome() == ["self_resolved"]


@virtually
async def test_a_rule_that_is_removed_while_it_waits_is_handed_over():
    world = await asking()
    await world.engine.use(book())
    await world.settle()
    assert world.incident.reason == "rule_removed"
