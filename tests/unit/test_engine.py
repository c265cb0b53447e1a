"""The life of an incident, from alert to closed, on virtual time."""

import asyncio
from datetime import timedelta

import pytest
from tests.virtual import virtually
from tests.world import MOCK, START, World, alert, probe, rule, step

from stopgap.errors import PermanentError, TemporaryError
from stopgap.incident import EventKind as K, Incident, Phase
from stopgap.journal import Line
from stopgap.ledger import Brake, BrakeScope
from stopgap.orders import NotPossible
from stopgap.probe import Verdict
from stopgap.rule import Limits, Mode, OnFailure, RungSpec
from stopgap.terms import Terms


async def held() -> World:
    world = await World().start()
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED
    return world


@virtually
async def test_an_alert_is_mitigated_verified_and_taken_back_when_its_cause_is_gone():
    world = await held()
    assert world.switch.values["mode"] == "mock"
    assert world.kick.runs_with == ["mock"]
    await world.resolve()
    await world.passes(minutes=7)
    assert world.words == [
        "opened", "permitted", "rung_started", "observed", "step_started", "step_succeeded",
        "observed", "step_started", "step_succeeded", "probe_healthy", "rung_held", "mitigated",
        "alert_resolved", "resolved", "probe_healthy", "revert_started", "step_started", "step_reverted",
        "observed", "step_started", "step_succeeded", "reverted", "closed",
    ]  # fmt: skip
    assert world.outcome() == ["recovered"]
    assert world.switch.values["mode"] == "normal"
    assert world.kick.runs_with == ["mock", "normal"]
    assert not world.journal.held
    assert not world.engine.incidents


@virtually
async def test_an_alert_that_resolves_because_it_is_masked_is_not_reverted_while_the_cause_stays():
    world = await held()
    world.say.verdicts["cause"] = Verdict.UNHEALTHY
    await world.resolve()
    await world.passes(minutes=10)
    assert world.incident.phase is Phase.RECOVERING
    assert world.switch.values["mode"] == "mock"
    world.say.verdicts["cause"] = Verdict.UNKNOWN
    await world.passes(minutes=30)
    assert world.switch.values["mode"] == "mock"
    world.say.verdicts["cause"] = Verdict.HEALTHY
    await world.passes(minutes=7)
    assert world.switch.values["mode"] == "normal"
    assert world.outcome() == ["recovered"]


@virtually
async def test_fifty_copies_at_once_and_a_repeat_give_one_incident_and_one_action():
    world = await World().start()
    await asyncio.gather(*(world.fire() for _ in range(50)))
    await world.settle()
    await world.fire()
    await world.fire(alert())
    await world.settle()
    assert len(world.timelines) == 1
    assert world.words.count("opened") == 1
    assert max(world.switch.calls.values()) == 1
    assert len(world.switch.calls) == 1


@virtually
async def test_two_alerts_on_one_target_are_one_incident_that_ends_when_both_are_over():
    world = await World().start()
    first, second = alert(instance="a"), alert(instance="b")
    await world.fire(first)
    await world.settle()
    await world.fire(second)
    await world.resolve(first)
    await world.passes(minutes=10)
    assert world.incident.phase is Phase.MITIGATED
    await world.resolve(second)
    await world.passes(minutes=7)
    assert world.outcome() == ["recovered"]


@virtually
async def test_a_rung_that_does_not_help_is_taken_back_and_handed_over():
    world = await World().start()
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    await world.fire()
    await world.passes(minutes=2)
    assert world.switch.values["mode"] == "normal"
    assert world.kick.runs_with == ["mock", "normal"]
    assert world.incident.handed_over
    assert world.incident.reason == "ladder_exhausted"
    await world.resolve()
    await world.settle()
    assert world.outcome() == ["handed_over"]


@virtually
async def test_a_second_rung_is_tried_after_the_first_did_not_help():
    second = RungSpec("other", do=(step("backup", name="url"),), verify=(probe("other"),))
    world = await World((rule(ladder=(MOCK, second)),)).start()
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    await world.fire()
    await world.passes(minutes=2)
    assert world.incident.phase is Phase.MITIGATED
    assert world.switch.values == {"mode": "normal", "url": "backup"}


@virtually
async def test_a_failed_rung_may_be_kept():
    world = await World((rule(ladder=(RungSpec("m", MOCK.do, (), MOCK.verify, OnFailure.KEEP),)),)).start()
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    await world.fire()
    await world.passes(minutes=2)
    assert world.switch.values["mode"] == "mock"
    assert world.incident.handed_over
    await world.resolve()
    await world.passes(minutes=7)
    assert world.switch.values["mode"] == "normal"


@virtually
async def test_a_step_is_tried_again_after_a_temporary_failure_only_as_often_as_the_rule_allows():
    world = await World((rule(ladder=(RungSpec("m", (step(retries=1),), (), MOCK.verify),)),)).start()
    world.switch.faults = [TemporaryError("busy")]
    await world.fire()
    await world.passes(seconds=5)
    assert world.incident.phase is Phase.MITIGATED
    assert [key for key in world.switch.calls if key.endswith("/2")]
    other = await World((rule(ladder=(RungSpec("m", (step(retries=1),), (), MOCK.verify),)),)).start()
    other.switch.faults = [TemporaryError("busy"), TemporaryError("busy"), PermanentError("never reached")]
    await other.fire()
    await other.passes(seconds=30)
    assert other.incident.handed_over
    assert other.switch.values["mode"] == "normal"


@virtually
async def test_a_later_step_does_not_run_after_a_failed_one():
    rung = RungSpec("m", (step("a", name="one"), step("b", name="two")), (), MOCK.verify)
    world = await World((rule(ladder=(rung,)),)).start()
    world.switch.faults = [PermanentError("no")]
    await world.fire()
    await world.passes(minutes=1)
    assert world.switch.values == {"mode": "normal"}
    assert world.incident.handed_over


@virtually
async def test_an_unknown_outcome_is_observed_and_not_repeated_when_it_took_effect():
    world = await World().start()
    world.switch.after_faults = [RuntimeError("connection lost after sending")]
    await world.fire()
    await world.passes(seconds=20)
    assert world.incident.phase is Phase.MITIGATED
    assert sum(world.switch.calls.values()) == 1
    assert "step_unknown" in world.words


@virtually
async def test_an_unclear_outcome_that_may_not_be_repeated_is_handed_over_with_the_manual_undo():
    world = await World().start()
    world.switch.after_faults = [RuntimeError("lost")]
    world.switch.blind, world.switch.safe = True, False
    await world.fire()
    await world.passes(minutes=2)
    state = world.incident
    assert state.stuck
    assert state.reason == "unknown_outcome"
    assert sum(world.switch.calls.values()) == 1
    (handed,) = [e for e in world.journal.timelines[state.id] if e.kind == "handed_over"]
    assert handed.detail["undo"][0] == "put mode back to normal"
    await world.resolve()
    await world.passes(hours=1)
    assert world.incident.stuck
    world.switch.blind = False
    await world.orders.revert(state.id, "ann", "looked: it was set")
    await world.settle()
    assert world.switch.values["mode"] == "normal"
    assert world.outcome() == ["reverted"]


@virtually
async def test_a_repetition_that_fails_says_nothing_of_the_try_before_whose_undo_stays():
    ladder = (RungSpec("m", (step(retries=2),), (), MOCK.verify),)
    world = await World((rule(ladder=ladder),)).start()
    world.switch.after_faults = [RuntimeError("lost")]
    world.switch.blind = True

    once = iter([TemporaryError("busy")])

    def keep_it_busy(line: Line, _: Incident) -> None:
        if line.event.kind is K.STEP_UNKNOWN:
            world.switch.faults.extend(list(once))

    world.engine.subscribe(keep_it_busy)
    await world.fire()
    await world.passes(minutes=2)
    assert (world.incident.stuck, world.incident.reason) == (True, "unknown_outcome")
    world.switch.blind = False
    await world.orders.revert(world.incident.id, "ann", "looked: it was set")
    await world.settle()
    assert world.switch.values["mode"] == "normal"


@virtually
async def test_a_timeout_while_alive_is_an_unknown_outcome():
    world = await World().start()
    world.switch.takes = 100
    await world.fire()
    await world.passes(seconds=29)
    world.switch.takes = 0
    await world.passes(seconds=20)
    assert "step_unknown" in world.words
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_a_drifted_value_is_left_alone_and_said():
    world = await held()
    world.switch.values["mode"] = "by hand"
    await world.resolve()
    await world.passes(minutes=7)
    assert world.switch.values["mode"] == "by hand"
    assert "drifted" in world.words
    assert world.kick.runs_with == ["mock"]
    assert world.outcome() == ["recovered"]


@virtually
async def test_a_failed_revert_stops_and_waits_for_a_person():
    world = await held()
    world.switch.faults = [PermanentError("disk gone")]
    await world.resolve()
    await world.passes(hours=1)
    assert world.incident.stuck
    assert world.incident.reason == "revert_failed"
    await world.orders.revert(world.incident.id, "ann", "disk is back")
    await world.settle()
    assert world.switch.values["mode"] == "normal"
    assert world.outcome() == ["reverted"]


@virtually
async def test_without_a_probe_of_the_cause_the_alert_itself_is_asked_about():
    world = await World((rule(recovered=()),)).start()
    await world.fire()
    await world.settle()
    await world.resolve()
    await world.passes(minutes=6)
    assert world.say.asked["Down"] >= 2
    assert world.outcome() == ["recovered"]


@virtually
async def test_what_nobody_can_prove_stays_held_and_that_is_said_once():
    world = await World((rule(recovered=()),)).start()
    world.say.verdicts["Down"] = Verdict.UNKNOWN
    await world.fire()
    await world.settle()
    await world.resolve()
    await world.passes(hours=2)
    assert world.switch.values["mode"] == "mock"
    assert [
        e.detail.get("why") for e in world.journal.timelines[world.incident.id] if e.kind is K.PROBE_UNKNOWN
    ] == [
        "Down is unknown",
        "nobody can say whether the cause is gone: held, and asked on",
    ]
    await world.passes(hours=5)
    assert world.words.count("lease_ending") == 1
    assert world.words.count("lease_expired") >= 2
    await world.orders.extend(world.incident.id, "ann", timedelta(hours=3), "waiting")
    expired = world.words.count("lease_expired")
    await world.passes(hours=2)
    assert world.words.count("lease_expired") == expired
    world.say.verdicts["Down"] = Verdict.HEALTHY
    await world.passes(minutes=7)
    assert world.outcome() == ["recovered"]


@virtually
async def test_firing_again_while_it_is_taken_back_opens_the_next_incident_as_a_flap():
    world = await held()
    world.switch.takes = 0
    await world.resolve()
    await world.passes(minutes=4)
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED
    await world.resolve()
    await world.passes(minutes=6)
    assert world.outcome() == ["recovered"]
    await world.fire()
    await world.settle()
    assert world.incident.follows
    assert world.incident.flaps == 1
    assert world.switch.values["mode"] == "mock"
    await world.resolve()
    await world.passes(minutes=8)
    assert world.incident.phase is Phase.RECOVERING
    await world.passes(minutes=5)
    assert not world.engine.incidents


@virtually
async def test_cooldown_holds_a_rule_back_that_acted_without_a_hold():
    kick = RungSpec("kick", do=(step("on", action="kick"),), verify=(probe("ready"),))
    world = await World((rule(ladder=(kick,), recovered=()),)).start()
    await world.fire()
    await world.settle()
    await world.resolve()
    await world.settle()
    assert world.outcome() == ["recovered"]
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.WAITING
    assert world.incident.reason == "cooldown"
    assert world.kick.log == ["kick"]
    await world.passes(minutes=10)
    assert world.incident.phase is Phase.MITIGATED
    assert world.kick.log == ["kick", "kick"]


@virtually
async def test_two_rules_never_act_on_one_target_at_once_and_never_hold_one_resource():
    other = rule("other", match='alertname="Down"')
    world = await World((rule(), other)).start()
    world.say.verdicts["ready"] = Verdict.UNKNOWN
    await world.fire()
    await world.settle()
    reasons = sorted(state.reason for state in world.engine.incidents.values())
    assert reasons == ["", "target_busy"]
    world.say.verdicts["ready"] = Verdict.HEALTHY
    await world.passes(seconds=10)
    assert sorted(state.reason for state in world.engine.incidents.values()) == ["", "resource_held"]
    await world.resolve()
    await world.passes(minutes=7)
    assert sorted(world.outcome()) == ["recovered", "self_resolved"]


@virtually
async def test_the_brake_stops_changes_and_reverts_and_its_release_decides_anew():
    world = await held()
    brake = Brake(BrakeScope.GLOBAL, "", "ann", "migration", START)
    await world.engine.brake(brake)
    await world.resolve()
    await world.passes(minutes=30)
    assert world.incident.reason == "brake"
    assert world.switch.values["mode"] == "mock"
    await world.crash()
    await world.passes(minutes=30)
    assert world.switch.values["mode"] == "mock"
    await world.engine.release(BrakeScope.GLOBAL, "", "ann")
    await world.passes(minutes=7)
    assert world.switch.values["mode"] == "normal"


@virtually
async def test_a_braked_incident_waits_and_closes_by_itself_when_its_alert_is_over():
    world = await World().start()
    await world.engine.brake(Brake(BrakeScope.TARGET, "app", "ann", "hands off", START))
    await world.fire()
    await world.settle()
    assert (world.incident.phase, world.incident.reason) == (Phase.WAITING, "brake")
    assert not world.switch.calls
    await world.resolve()
    await world.settle()
    assert world.outcome() == ["self_resolved"]


@virtually
async def test_a_persons_revert_passes_the_brake_and_ends_applying_but_not_the_incident():
    world = await held()
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "ann", "migration", START))
    await world.orders.revert(world.incident.id, "ann", "no thanks")
    await world.passes(minutes=20)
    assert world.switch.values["mode"] == "normal"
    assert not world.incident.applying
    await world.fire()
    await world.settle()
    assert world.switch.log.count("mode=mock") == 1
    await world.resolve()
    await world.settle()
    assert world.outcome() == ["reverted"]


@virtually
async def test_shadow_plans_asks_and_touches_nothing():
    world = await World(terms=Terms(Mode.SHADOW)).start()
    await world.fire()
    await world.settle()
    assert "shadow_planned" in world.words
    assert not world.switch.calls
    assert not world.journal.held
    assert [permit.shadow for permit in world.journal.permits] == [True]
    await world.resolve()
    await world.settle()
    assert world.outcome() == ["shadow"]


@virtually
async def test_a_closed_incident_with_a_firing_alert_is_served_until_that_is_over():
    world = await held()
    with pytest.raises(NotPossible, match="--keep"):
        await world.orders.close(world.incident.id, "ann", "enough", keep=False)
    await world.orders.close(world.incident.id, "ann", "enough", keep=True)
    await world.fire()
    await world.settle()
    assert not world.engine.incidents
    await world.crash()
    await world.fire()
    assert not world.engine.incidents
    await world.resolve()
    await world.fire()
    await world.settle()
    assert len(world.engine.incidents) == 1


@virtually
async def test_a_lost_mitigation_is_told_once_and_nothing_climbs():
    world = await held()
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    await world.passes(minutes=10)
    assert world.words.count("mitigation_lost") == 1
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_an_unknown_verdict_keeps_the_rung_and_hands_over_in_the_end():
    world = await World().start()
    world.say.verdicts["ready"] = Verdict.UNKNOWN
    await world.fire()
    await world.passes(minutes=2)
    assert world.incident.undecided
    assert not world.incident.handed_over
    await world.passes(minutes=12)
    assert world.incident.reason == "verdict_unknown"
    assert world.switch.values["mode"] == "mock"
    world.say.verdicts["ready"] = Verdict.HEALTHY
    await world.passes(minutes=2)
    assert world.incident.phase is Phase.MITIGATED


@virtually
async def test_a_broken_journal_stops_acting_and_its_recovery_goes_on():
    world = await World().start()
    await world.fire()
    world.journal.failing = "disk full"
    await world.passes(minutes=1)
    world.journal.failing = ""
    await world.passes(minutes=1)
    assert world.incident.phase is Phase.MITIGATED
    assert max(world.switch.calls.values()) == 1


@virtually
async def test_every_prefix_of_the_journal_recovers_to_the_same_end():
    whole = await held()
    await whole.resolve()
    await whole.passes(minutes=7)
    length = len(whole.words)
    for n in range(1, length):
        world = await World().start()

        def until(line, n=n, world=world):
            if line.event.seq == n:
                world.engine._stopping = True
                for task in world.engine._tasks.values():
                    task.cancel()

        world.journal.subscribe(until)
        await world.fire()
        await world.settle()
        if not world.engine._stopping:
            await world.resolve()
            await world.passes(minutes=7)
        if world.engine._stopping:
            await world.crash()
        await world.resolve()
        await world.passes(minutes=20)
        assert world.outcome() in (["recovered"], ["self_resolved"]), n
        assert world.switch.values["mode"] == "normal", n
        assert all(count == 1 for count in world.switch.calls.values()), n
        assert world.kick.runs_with[-1:] in ([], ["normal"]), n


@virtually
async def test_a_removed_rule_starts_nothing_new_and_takes_back_what_it_holds():
    from tests.world import book

    world = await held()
    await world.engine.use(book())
    await world.resolve()
    await world.passes(minutes=7)
    assert world.switch.values["mode"] == "normal"
    other = await World().start()
    await other.engine.brake(Brake(BrakeScope.GLOBAL, "", "ann", "wait", START))
    await other.fire()
    await other.settle()
    await other.engine.use(book())
    await other.engine.release(BrakeScope.GLOBAL, "", "ann")
    await other.settle()
    assert other.incident.reason == "rule_removed"
    assert not other.switch.calls


@virtually
async def test_hold_must_be_proven_by_an_answer_at_its_end():
    world = await World((rule(limits=Limits(hold=timedelta(minutes=5))),)).start()
    await world.fire()
    await world.settle()
    await world.resolve()
    await world.passes(minutes=4, seconds=30)
    world.say.verdicts["cause"] = Verdict.UNHEALTHY
    await world.passes(minutes=10)
    assert world.switch.values["mode"] == "mock"
