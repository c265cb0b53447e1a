"""The engine's own life (start, stop, rule versions, faults of its work), and what people say to incidents."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.virtual import virtually
from tests.world import MOCK, START, World, alert, book, probe, rule, step

from stopgap import engine as engines, intake, orders
from stopgap.errors import PermanentError, ProbeError, TemporaryError
from stopgap.incident import EventKind, Phase
from stopgap.journal import Conflict
from stopgap.ledger import Brake, BrakeScope
from stopgap.orders import NoSuchIncident, NotPossible
from stopgap.rule import Limits, Mode, RungSpec
from stopgap.template import Template

GLOBAL = Brake(BrakeScope.GLOBAL, "", "ann", "wait", START)
MINUTE = timedelta(minutes=1)


async def held(**more: Any) -> World:
    world = await World(**more).start()
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED
    return world


def last(world: World, kind: EventKind) -> Any:
    return [e for e in world.journal.timelines[world.incident.id] if e.kind is kind][-1].detail


# --- stopping ---


@virtually
async def test_a_stop_lets_the_act_under_way_finish_and_starts_nothing_more():
    world = await World().start()
    world.switch.takes = 10
    await world.fire()
    await world.passes(seconds=1)
    await world.engine.stop()
    assert world.words[-1] == "step_succeeded"
    assert not world.kick.runs_with
    assert world.switch.values["mode"] == "mock"
    await world.passes(hours=1)
    assert world.words[-1] == "step_succeeded"


@virtually
async def test_a_stop_does_not_wait_for_ever_and_not_for_probes():
    world = await held()
    ask = world.say.ask

    async def slow(*given: Any) -> Any:
        await asyncio.sleep(8)
        return await ask(*given)

    world.say.ask = slow
    await world.passes(minutes=1, seconds=1)
    began = asyncio.get_running_loop().time()
    await world.engine.stop()
    assert asyncio.get_running_loop().time() - began < 1
    world = await World().start()
    world.switch.takes = 1000
    patient = replace(MOCK, do=(replace(step(), timeout=timedelta(hours=1)),))
    await world.engine.use(book(rule(ladder=(patient,))))
    await world.fire()
    await world.passes(seconds=1)
    began = asyncio.get_running_loop().time()
    await world.engine.stop()
    assert asyncio.get_running_loop().time() - began == pytest.approx(engines.DRAIN, abs=1)
    assert world.words[-1] == "step_started"


@virtually
async def test_a_stop_with_nothing_under_way_is_immediate():
    world = await World().start()
    await world.engine.stop()
    await world.fire()
    await world.settle()
    assert world.words == ["opened"]


# --- rule versions ---


@virtually
async def test_a_running_incident_gets_its_rule_version_back_after_a_restart():
    world = await held()
    old = world.rules[0]
    world.rules = (rule(limits=Limits(hold=timedelta(minutes=9))),)
    make = world._engine

    def remade() -> Any:
        made = make()
        made._rebuild = lambda document: old
        return made

    world._engine = remade
    await world.crash()
    assert world.engine.rule_of(world.incident) == old
    await world.resolve()
    await world.passes(minutes=7)
    assert world.outcome() == ["recovered"]


@virtually
async def test_an_incident_whose_rule_version_is_lost_is_left_alone_and_can_be_closed():
    world = await held()
    world.rules = ()
    await world.crash()
    await world.passes(hours=5)
    with pytest.raises(NotPossible):
        await world.orders.extend(world.incident.id, "ann", MINUTE, "?")
    await world.resolve()
    assert not world.incident.firing
    assert world.switch.values["mode"] == "mock"
    await world.orders.close(world.incident.id, "ann", "by hand", keep=True)
    assert world.outcome() == ["kept"]


@virtually
async def test_messages_about_a_closed_incident_reach_the_observers():
    world = await held()
    identifier = world.incident.id
    seen: list[str] = []
    world.engine.subscribe(lambda line, state: seen.append(line.event.kind))
    await world.resolve()
    await world.passes(minutes=7)
    seen.clear()
    from stopgap.incident import Event
    from stopgap.journal import Append

    await world.journal.append(Append(identifier, (Event(EventKind.NOTIFIED, START),)))
    assert seen == ["notified"]
    assert not world.engine.incidents


# --- many alerts ---


@virtually
async def test_more_alerts_than_are_remembered_are_still_told_apart():
    world = await World((rule(target=None, per=("instance",)),)).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "REMEMBERED", 10)
        await world.fire(*(alert(instance=str(i)) for i in range(25)))
        received = await world.engine.receive([alert(instance=str(i)) for i in range(25)])
    assert received.matched == {"test/mock": 25}
    assert len(world.timelines) == 25


@virtually
async def test_deciding_for_many_breathes_in_between():
    world = await World((rule(ladder=(), target=None, per=("instance",)),)).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "BREATH", -1.0)
        await world.fire(*(alert(instance=str(i)) for i in range(5)))
        await world.settle()
    assert all(words == ["opened", "handed_over"] for words in world.timelines.values())


# --- faults ---


@virtually
async def test_a_fault_in_deciding_stops_no_other_incident_and_is_tried_again():
    world = await World((rule(), rule("other", match='alertname="Other"', target="db"))).start()
    decide = engines.decide
    broken = True

    def faulty(state: Any, *given: Any) -> Any:
        if broken and state.target == "app":
            raise LookupError("ours")
        return decide(state, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "decide", faulty)
        other = replace(step("mock", name="db"))
        await world.engine.use(
            book(
                rule(),
                rule("other", match='alertname="Other"', target="db", ladder=(RungSpec("r", do=(other,)),)),
            )
        )
        await world.fire(alert(), alert("Other"))
        await world.settle()
        assert world.switch.values == {"mode": "normal", "db": "mock"}
        broken = False
        await world.passes(seconds=31)
        assert world.switch.values["mode"] == "mock"


@virtually
async def test_a_fault_in_doing_stops_no_other_incident_and_is_tried_again():
    world = await World().start()
    describe = world.switch.describe

    def faulty(params: Any) -> str:
        raise LookupError("ours")

    world.switch.describe = faulty
    await world.fire()
    await world.settle()
    assert world.switch.values["mode"] == "normal"
    world.switch.describe = describe
    await world.passes(seconds=31)
    assert world.switch.values["mode"] == "mock"


@virtually
async def test_a_probe_that_raises_could_not_look():
    world = World()

    async def raises(*_: Any) -> Any:
        raise OSError("no route")

    world.say.ask = raises
    await world.start()
    await world.fire()
    await world.passes(minutes=2)
    assert last(world, EventKind.PROBE_UNKNOWN)["why"] == "OSError: no route"
    assert "rung_held" in world.words


@virtually
async def test_a_probe_that_says_why_it_could_not_look_is_quoted():
    world = World()

    async def raises(*_: Any) -> Any:
        raise ProbeError("no Prometheus is configured")

    world.say.ask = raises
    await world.start()
    await world.fire()
    await world.passes(minutes=2)
    assert last(world, EventKind.PROBE_UNKNOWN)["why"] == "no Prometheus is configured"


@virtually
async def test_what_cannot_be_observed_is_not_acted_upon():
    world = World()

    async def blind(*_: Any) -> Any:
        raise PermanentError("no such file")

    world.switch.observe = blind
    await world.start()
    await world.fire()
    await world.settle()
    assert not world.switch.calls
    assert last(world, EventKind.STEP_FAILED)["why"] == "no such file"
    assert world.words[-1] == "handed_over"


@virtually
async def test_an_outcome_that_cannot_be_observed_is_looked_at_a_bounded_number_of_times():
    world = World()
    world.switch.after_faults.append(OSError("reset"))
    observe = world.switch.observe
    await world.start()
    await world.fire()

    async def blind(*_: Any) -> Any:
        raise TimeoutError

    while not world.switch.calls:
        await asyncio.sleep(0)
    world.switch.observe = blind
    await world.passes(minutes=10)
    assert world.incident.stuck
    assert last(world, EventKind.STEP_UNKNOWN)["why"] == "cannot be observed: no answer within its timeout"
    assert world.words.count("step_unknown") == 1 + 6
    world.switch.observe = observe


@virtually
async def test_an_act_whose_undo_is_lost_is_left_to_a_person():
    world = World()
    world.switch.after_faults.append(OSError("reset"))
    await world.start()
    world.journal.undo = forgetful
    await world.fire()
    await world.settle()
    assert last(world, EventKind.STEP_UNKNOWN)["why"] == "its undo is not in the store"
    assert world.incident.stuck
    world = await held()
    world.journal.undo = forgetful
    await world.orders.revert(world.incident.id, "ann", "now")
    await world.settle()
    assert last(world, EventKind.REVERT_FAILED)["why"] == "its undo is not in the store"
    assert world.incident.stuck


async def forgetful(*_: object) -> None:
    return None


@virtually
async def test_an_act_that_never_takes_effect_is_tried_three_times_and_fails():
    world = World()
    calls = 0

    async def dead(*_: Any) -> Any:
        nonlocal calls
        calls += 1
        raise OSError

    world.switch.run = dead
    await world.start()
    await world.fire()
    await world.passes(minutes=1)
    assert calls == 3
    assert last(world, EventKind.STEP_FAILED)["why"] == "did not take effect, tried three times"
    assert world.words[-1] == "handed_over"


async def taken_back_after_a_crash(*, blind: bool) -> World:
    world = World()
    world.switch.safe = False
    await world.start()
    world.switch.takes = 10
    await world.fire()
    await world.passes(seconds=1)
    await world.orders.revert(world.incident.id, "ann", "now")
    world.switch.takes = 0
    world.switch.blind = blind
    await world.crash()
    await world.settle()
    assert not world.switch.calls
    assert world.switch.values["mode"] == "normal"
    await world.resolve()
    await world.settle()
    return world


@virtually
async def test_what_a_crash_hid_is_not_run_again_when_a_person_takes_it_back():
    seen = await taken_back_after_a_crash(blind=False)
    assert "step_failed" in seen.words
    unclear = await taken_back_after_a_crash(blind=True)
    assert "step_unknown" in unclear.words
    assert seen.outcome() == unclear.outcome() == ["reverted"]


# --- what cannot be rendered ---


def secret(text: str = "{{ secrets.word }}") -> RungSpec:
    return RungSpec("secret", do=(replace(step(), params={"to": Template.parse(text), "name": "mode"}),))


@virtually
async def test_a_rung_that_lacks_a_value_is_skipped_before_anything_is_done():
    world = await World((rule(ladder=(secret("{{ labels.nowhere }}"), MOCK)),)).start()
    await world.fire()
    await world.settle()
    skipped = last(world, EventKind.RUNG_SKIPPED)
    assert skipped["reason"] == "unresolved_template"
    assert "labels.nowhere" in skipped["text"]
    assert world.incident.rung == 1
    assert world.switch.values["mode"] == "mock"


@virtually
async def test_a_mitigation_that_cannot_be_rendered_any_more_is_handed_over_and_says_what_it_holds():
    text = "{{ vars.to }}"
    with_vars = rule(ladder=(secret(text),), vars={"to": "mock"})
    world = await held(rules=(with_vars,))
    lost = replace(with_vars, vars={})
    world.engine._versions[with_vars.version] = lost
    await world.resolve()
    await world.passes(minutes=7)
    told = last(world, EventKind.HANDED_OVER)
    assert told["reason"] == "unresolved_template"
    assert told["undo"][0].startswith("put back switch:mode: ")
    assert world.incident.stuck


@virtually
async def test_an_unknown_outcome_or_a_probe_that_cannot_be_rendered_any_more_is_handed_over():
    with_vars = rule(ladder=(secret("{{ vars.to }}"),), vars={"to": "mock"})
    world = World((with_vars,))
    world.switch.takes = 10
    await world.start()
    await world.fire()
    await world.passes(seconds=1)
    world.rules = (replace(with_vars, vars={}),)
    await world.crash()
    await world.settle()
    assert world.incident.stuck
    asks = rule(
        recovered=(replace(probe("x"), params={"of": Template.parse("{{ vars.of }}")}),), vars={"of": "x"}
    )
    world = await held(rules=(asks,))
    world.engine._versions[asks.version] = replace(asks, vars={})
    await world.resolve()
    await world.settle()
    assert world.incident.stuck
    assert world.switch.values["mode"] == "mock"


# --- orders ---


@virtually
async def test_orders_are_refused_with_a_reason_when_they_make_no_sense():
    world = await World((rule(mode=Mode.APPROVE),)).start()
    with pytest.raises(NoSuchIncident):
        await world.orders.acknowledge("INC-0", "ann")
    await world.fire()
    await world.settle()
    identifier = world.incident.id
    with pytest.raises(NotPossible, match="holds nothing"):
        await world.orders.revert(identifier, "ann", "now")
    with pytest.raises(NotPossible, match="no mitigation"):
        await world.orders.extend(identifier, "ann", MINUTE, "more")
    await world.orders.acknowledge(identifier, "ann", "seen")
    assert world.incident.acknowledged_by == "ann"
    await world.orders.close(identifier, "ann", "noise", keep=False)
    assert world.outcome() == ["handed_over"]


@virtually
async def test_a_lease_may_be_extended_but_not_for_ever():
    world = await held()
    await world.orders.extend(world.incident.id, "ann", timedelta(hours=10), "until tonight")
    await world.passes(hours=5)
    assert "lease_ending" not in world.words
    with pytest.raises(NotPossible, match="30 days"):
        await world.orders.extend(world.incident.id, "ann", timedelta(days=30), "for ever")


@virtually
async def test_nothing_is_closed_while_it_acts_or_while_it_holds_something_that_nobody_keeps():
    world = await World().start()
    world.switch.takes = 5
    await world.fire()
    await world.passes(seconds=1)
    with pytest.raises(NotPossible, match="under way"):
        await world.orders.close(world.incident.id, "ann", "enough", keep=True)
    await world.passes(seconds=10)
    with pytest.raises(NotPossible, match="--keep"):
        await world.orders.close(world.incident.id, "ann", "enough", keep=False)


@virtually
async def test_a_second_revert_is_refused_while_the_first_is_under_way():
    world = await held()
    world.switch.takes = 0
    await world.engine.brake(GLOBAL)
    revert = world.switch.revert

    async def slow(*given: Any) -> Any:
        await asyncio.sleep(5)
        return await revert(*given)

    world.switch.revert = slow
    await world.orders.revert(world.incident.id, "ann", "now")
    with pytest.raises(NotPossible, match="already"):
        await world.orders.revert(world.incident.id, "bo", "now!")
    await world.passes(seconds=10)
    assert world.switch.values["mode"] == "normal"


@virtually
async def test_a_revert_waits_its_turn_while_another_incident_acts_on_the_target():
    world = await World((rule(), rule("other", match='alertname="Other"', ladder=(OTHER,)))).start()
    await world.fire()
    await world.settle()
    first = world.incident.id
    world.switch.takes = 5
    await world.fire(alert("Other"))
    await world.passes(seconds=1)
    with pytest.raises(NotPossible, match="target_busy"):
        await world.orders.revert(first, "ann", "now")
    await world.passes(seconds=10)
    await world.orders.revert(first, "ann", "now")
    await world.settle()
    assert world.switch.values["mode"] == "normal"


OTHER = RungSpec("other", do=(step("on", name="other"),))


@virtually
async def test_an_order_is_given_again_when_the_incident_moved_on_and_gives_up_in_the_end():
    world = await held()
    append, conflicts = world.journal.append, 2

    async def moving(what: Any) -> Any:
        nonlocal conflicts
        conflicts -= 1
        return Conflict(1) if conflicts >= 0 else await append(what)

    world.journal.append = moving
    await world.orders.acknowledge(world.incident.id, "ann")
    assert world.incident.acknowledged_by == "ann"
    conflicts = orders.ATTEMPTS
    with pytest.raises(NotPossible, match="try again"):
        await world.orders.acknowledge(world.incident.id, "bo")
    assert world.incident.acknowledged_by == "ann"


@virtually
async def test_a_retried_failure_waits_as_long_as_the_answer_asked_for():
    patient = replace(MOCK, do=(replace(step(), retries=1),))
    world = World((rule(ladder=(patient,)),))
    world.switch.faults.append(TemporaryError("busy", timedelta(seconds=40)))
    await world.start()
    await world.fire()
    await world.passes(seconds=39)
    assert not world.switch.calls
    await world.passes(seconds=2)
    assert world.switch.values["mode"] == "mock"


# --- moments that need exact timing ---


async def refired_while_taken_back(*, under: Any = None) -> World:
    world = await held()
    revert = world.switch.revert

    async def slow(*given: Any) -> Any:
        await asyncio.sleep(10)
        return await revert(*given)

    world.switch.revert = slow
    await world.resolve()
    await world.passes(minutes=5, seconds=5)
    assert world.incident.phase is Phase.REVERTING
    await world.fire()
    if under is not None:
        await world.engine.use(book(under))
    await world.passes(seconds=30)
    return world


@virtually
async def test_firing_again_during_the_revert_finishes_it_and_opens_the_next_incident_in_the_same_commit():
    world = await refired_while_taken_back()
    (first, words), (second, after) = world.timelines.items()
    assert words[-2:] == ["reverted", "closed"]
    assert world.incident.id == second
    assert world.incident.follows == first
    assert world.incident.flaps == 1
    assert after[-1] == "mitigated"
    await world.resolve()
    assert not world.incident.firing


@virtually
async def test_what_opens_after_a_reload_opens_under_the_new_rule():
    changed = rule(limits=Limits(hold=timedelta(minutes=9)))
    world = await refired_while_taken_back(under=changed)
    assert world.incident.version == changed.version


@virtually
async def test_a_reason_that_stays_the_same_is_said_once():
    world = await World((rule(), rule("other", match='alertname="Other"', ladder=(OTHER,)))).start()
    world.switch.takes = 120
    patient = replace(OTHER, do=(replace(step("on", name="other"), timeout=timedelta(minutes=5)),))
    await world.engine.use(book(rule(), rule("other", match='alertname="Other"', ladder=(patient,))))
    await world.fire(alert("Other"))
    await world.passes(seconds=1)
    await world.fire()
    await world.passes(seconds=100)
    (waiting,) = (s for s in world.engine.incidents.values() if s.rule == "test/mock")
    assert waiting.reason == "target_busy"
    assert world.timelines[waiting.id] == ["opened", "refused"]
    await world.passes(seconds=30)
    assert world.engine.incidents[waiting.id].reason != "target_busy"


@virtually
async def test_what_is_let_go_while_the_guards_still_answer_is_taken_at_once():
    world = await World((rule(), rule("other", match='alertname="Other"', ladder=(OTHER,)))).start()
    ledger = world.journal.ledger

    async def late(request: Any) -> Any:
        world.journal.ledger = ledger
        answer = await ledger(request)
        await asyncio.sleep(10)
        return answer

    world.switch.takes = 5
    await world.fire(alert("Other"))
    await world.passes(seconds=1)
    world.journal.ledger = late
    await world.fire()
    await world.passes(seconds=9)
    assert world.switch.values["mode"] == "normal"  # not even refused yet
    await world.passes(seconds=7)
    assert world.switch.values["mode"] == "mock"


@virtually
async def test_a_brake_that_comes_while_an_unknown_outcome_is_observed_stops_the_repetition():
    world = World()
    world.switch.takes = 31
    await world.start()
    observe = world.switch.observe

    async def slow(*given: Any) -> Any:
        await asyncio.sleep(2)
        return await observe(*given)

    await world.fire()
    await world.passes(seconds=20)
    world.switch.observe = slow
    await world.passes(seconds=11)
    await world.engine.brake(GLOBAL)
    world.switch.takes = 0
    await world.passes(minutes=5)
    assert not world.switch.calls
    assert world.incident.reason == "brake"
    await world.engine.release(BrakeScope.GLOBAL, "", "ann")
    await world.passes(minutes=1)
    assert world.switch.values["mode"] == "mock"


@virtually
async def test_alerts_that_are_over_before_the_move_has_begun_close_the_incident_untouched():
    world = await World().start()
    await asyncio.gather(world.fire(), world.resolve(), world.fire(), world.resolve())
    await world.settle()
    assert world.outcome() == ["self_resolved"]
    assert not world.switch.calls
