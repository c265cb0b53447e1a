"""What happened and what is decided right after it are one commit, unless something comes between them."""

from typing import Any

import pytest
from tests.virtual import virtually
from tests.world import World, alert, rule, step

from stopgap import perform
from stopgap.incident import EventKind as K, Phase
from stopgap.journal import Append
from stopgap.rule import OnFailure, RungSpec

BARE = RungSpec("bare", do=(step(),))


async def watched(**more: Any) -> tuple[World, list[list[K]]]:
    """Return a world, and the events of each append that it tries."""
    world = await World((rule(**{"ladder": (BARE,), **more}),)).start()
    appends: list[list[K]] = []
    append = world.journal.append

    async def noted(what: Append) -> Any:
        appends.append([event.kind for event in what.events])
        return await append(what)

    world.journal.append = noted  # type: ignore[method-assign]
    return world, appends


@virtually
async def test_a_step_that_completes_its_rung_and_what_that_means_are_one_commit():
    world, appends = await watched()
    await world.fire()
    await world.settle()
    assert appends[-1] == [K.STEP_SUCCEEDED, K.RUNG_HELD, K.MITIGATED]
    assert len(appends) == 2
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_what_was_taken_back_is_told_with_the_last_step_of_it_and_gives_the_target_free():
    world, appends = await watched(recovered=())
    await world.fire()
    await world.settle()
    await world.orders.revert(world.incident.id, "ann", "enough")
    await world.settle()
    assert [K.STEP_REVERTED, K.REVERTED] in appends
    assert world.switch.values["mode"] == "normal"
    assert not world.journal.held


@virtually
async def test_an_alert_that_joins_meanwhile_parts_them_and_loses_neither():
    world, appends = await watched()
    append = world.journal.append

    async def joined(what: Append) -> Any:
        if what.events[0].kind is K.STEP_SUCCEEDED:
            world.journal.append = append  # type: ignore[method-assign]
            await world.fire(alert(instance="another"))
        return await append(what)

    world.journal.append = joined  # type: ignore[method-assign]
    await world.fire()
    await world.settle()
    assert appends[-2:] == [[K.STEP_SUCCEEDED], [K.RUNG_HELD, K.MITIGATED]]
    assert world.words[-4:] == ["alert_joined", "step_succeeded", "rung_held", "mitigated"]
    assert world.switch.calls.total() == 1


@virtually
async def test_a_hand_over_waits_until_what_happened_is_on_disk():
    world, appends = await watched(ladder=(RungSpec("bare", do=(step(),), on_failure=OnFailure.KEEP),))
    world.switch.after_faults = [RuntimeError("gone")] * 9
    world.switch.blind, world.switch.safe = True, False
    await world.fire()
    await world.passes(hours=1)
    assert [K.HANDED_OVER] in appends
    assert all(len(kinds) == 1 for kinds in appends if K.HANDED_OVER in kinds)


@virtually
async def test_what_happened_is_kept_though_nothing_can_be_decided(monkeypatch: pytest.MonkeyPatch):
    def faulty(*_: object) -> Any:
        raise ZeroDivisionError

    world, appends = await watched()
    monkeypatch.setattr(perform, "decide", faulty)
    await world.fire()
    await world.settle()
    assert appends[-2:] == [[K.STEP_SUCCEEDED], [K.RUNG_HELD, K.MITIGATED]]
    assert world.switch.calls.total() == 1


@virtually
async def test_a_daemon_that_stops_keeps_what_happened_and_decides_nothing():
    world, appends = await watched()
    world.switch.takes = 5
    await world.fire()
    await world.passes(seconds=1)
    await world.engine.stop()
    assert appends[-1] == [K.STEP_SUCCEEDED]
