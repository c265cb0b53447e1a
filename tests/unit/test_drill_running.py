"""What becomes of an alert that Stopgap makes up itself, and what comes before it: whatever fires in earnest."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from tests.virtual import virtually
from tests.world import MOCK, START, World, alert, probe, rule, step

from stopgap.alert import DRILL
from stopgap.drill import Drills, Unfit
from stopgap.drill.running import ENDS_AT, MOST
from stopgap.errors import StoreError
from stopgap.incident import EventKind as K, Phase
from stopgap.journal import Conflict
from stopgap.ledger import Brake, BrakeScope
from stopgap.orders import NotPossible
from stopgap.probe import Verdict
from stopgap.rule import Limits, RungSpec

LABELS = {"alertname": "Down", "severity": "critical"}
KICK = RungSpec("restart", do=(step("on", action="kick"),), verify=(probe("ready"),))
CAUTION = Limits(hold=timedelta(minutes=1))


class Yard(World):
    """A world with drills, which survive a crash as the engine does."""

    async def start(self) -> "Yard":
        await super().start()
        return self.drilling()

    async def crash(self) -> None:
        await self.drills.stop()
        await super().crash()
        self.drilling()

    def drilling(self) -> "Yard":
        self.drills = Drills(self.engine, self.orders, self.clock)
        self.drills.start()
        return self

    async def drill(self, name="q3", *, minutes=10, shadow=False, **labels):
        lasts = timedelta(minutes=minutes)
        begun = await self.drills.begin(name, {**LABELS, **labels}, {}, lasts, shadow=shadow, by="ann")
        await self.settle()
        return begun

    def told(self, *kinds: K) -> list[tuple[str, str]]:
        """Return by whom each event of a kind was said."""
        lines = (event for events in self.journal.timelines.values() for event in events)
        return [(line.kind.value, str(line.detail.get("by", ""))) for line in lines if line.kind in kinds]


async def yard(*rules, **more) -> Yard:
    return await Yard(rules or (rule(limits=CAUTION),), **more).start()


# --- a drill by itself ---


@virtually
async def test_a_drill_goes_the_whole_way_of_an_alert_and_its_incident_says_what_it_is():
    world = await yard()
    begun = await world.drill(minutes=5)
    assert (world.incident.phase, world.incident.drill) == (Phase.MITIGATED, "q3")
    assert world.switch.values["mode"] == "mock"
    assert begun.ends_at == START + timedelta(minutes=5)
    (opened,) = [e for e in world.journal.timelines[world.incident.id] if e.kind is K.OPENED]
    assert opened.detail["drill"] == "q3"
    assert [d.name for d in world.drills.running] == ["q3"]
    assert [one.id for one in world.drills.incidents_of("q3")] == [world.incident.id]
    await world.passes(minutes=7)
    assert world.outcome() == ["recovered"]
    assert world.switch.values["mode"] == "normal"
    assert world.drills.running == ()
    assert world.told(K.OPENED, K.ALERT_RESOLVED) == [
        ("opened", "drill, begun by ann"),
        ("alert_resolved", "drill, its time is over"),
    ]
    assert next(iter(world.journal.rows.values())).stored.drill == "q3"


@virtually
async def test_it_ends_when_somebody_says_so_and_once():
    world = await yard()
    await world.drill()
    assert await world.drills.end("q3", "ended by ann")
    assert not await world.drills.end("q3", "ended by ann")
    await world.settle()
    assert world.incident.phase is Phase.RECOVERING
    await world.passes(minutes=15)
    assert world.outcome() == ["recovered"]
    assert world.told(K.ALERT_RESOLVED) == [("alert_resolved", "drill, ended by ann")]


@virtually
async def test_in_shadow_nothing_is_done_whatever_the_mode():
    world = await yard()
    await world.drill(shadow=True)
    assert (world.incident.mode, world.incident.because) == ("shadow", "a drill in shadow")
    assert world.switch.log == []
    assert "shadow_planned" in world.words
    with pytest.raises(NotPossible, match="it is a drill"):
        await world.orders.adopt(world.incident.id, "ann", "why not")
    await world.passes(minutes=11)
    assert world.outcome() == ["shadow"]


@virtually
async def test_no_alert_fires_longer_than_four_hours():
    world = await yard()
    begun = await world.drill(minutes=600)
    assert begun.ends_at == START + timedelta(hours=4)


@virtually
async def test_a_drill_that_no_rule_takes_or_no_alert_can_be_made_of_is_refused():
    world = await yard()
    with pytest.raises(Unfit, match="no rule takes"):
        await world.drill(alertname="Other")
    for labels in ({"": "x"}, {DRILL: "other"}, {"evil": "\ud800"}):
        with pytest.raises(Unfit, match="no alert can be made"):
            await world.drill(**labels)
    assert world.timelines == {}


@virtually
async def test_one_of_each_name_and_only_so_many_at_once():
    per_host = rule(target=None, per=("host",), limits=CAUTION)
    world = await yard(per_host)
    await world.drill("d0", shadow=True, host="h0")
    with pytest.raises(NotPossible, match="d0 runs until 09:10:00 UTC"):
        await world.drill("d0", shadow=True, host="h1")
    for i in range(1, MOST):
        await world.drill(f"d{i}", shadow=True, host=f"h{i}")
    with pytest.raises(NotPossible, match="10 drills run already"):
        await world.drill("another", host="another")


@virtually
async def test_a_brake_refuses_a_drill_by_name_and_what_it_begins_to_hold_waits_for_its_release():
    world = await yard()
    brake = Brake(BrakeScope.GLOBAL, "", "ann", "migration", START)
    await world.engine.brake(brake)
    await world.drill()
    assert (world.incident.phase, world.incident.reason) == (Phase.WAITING, "brake")
    assert world.switch.log == []
    await world.passes(minutes=11)
    assert world.outcome() == ["self_resolved"]


@virtually
async def test_a_drill_that_helped_leaves_neither_a_cooldown_nor_a_flap_behind():
    world = await yard(rule(ladder=(KICK,), limits=CAUTION))
    await world.drill(minutes=1)
    await world.passes(minutes=2)
    assert world.outcome() == ["recovered"]
    await world.fire()
    await world.settle()
    assert (world.incident.phase, world.incident.drill) == (Phase.MITIGATED, "")
    assert (world.incident.follows, world.incident.flaps) == ("", 0)


@virtually
async def test_drills_in_a_row_are_no_flaps_of_each_other_or_of_what_was_real():
    world = await yard()
    await world.fire()
    await world.settle()
    await world.resolve()
    await world.passes(minutes=2)
    for _ in range(2):
        await world.drill(minutes=1)
        assert (world.incident.follows, world.incident.flaps) == ("", 0)
        await world.passes(minutes=3)
    await world.fire()
    await world.settle()
    assert world.incident.follows == ""


@virtually
async def test_what_a_person_closed_does_not_keep_the_next_drill_away():
    world = await yard()
    await world.drill(shadow=True)
    await world.orders.close(world.incident.id, "ann", "seen enough", keep=False)
    await world.drills.end("q3", "ended by ann")
    await world.drill(shadow=True)
    await world.orders.close(world.incident.id, "ann", "seen enough", keep=False)
    await world.crash()
    assert world.drills.running == ()
    await world.drill(shadow=True)
    assert world.incident.drill == "q3"


# --- crashes and a store that fails ---


@virtually
async def test_a_drill_ends_in_time_after_a_crash_too():
    world = await yard()
    await world.drill(minutes=5)
    await world.passes(minutes=3)
    await world.crash()
    await world.settle()
    assert [d.ends_at for d in world.drills.running] == [START + timedelta(minutes=5)]
    await world.passes(minutes=4)
    assert world.outcome() == ["recovered"]


@virtually
async def test_one_whose_time_is_over_meanwhile_or_unknown_ends_at_the_start():
    per_host = rule(target=None, per=("host",), limits=CAUTION)
    world = await yard(per_host)
    await world.drill("late", minutes=1, host="a")
    await world.drill("strange", host="b")
    await world.drills.stop()
    (strange,) = [s for s in world.engine.incidents.values() if s.drill == "strange"]
    world.journal.timelines[strange.id][0].detail["alerts"][next(iter(strange.alerts))]["annotations"][
        ENDS_AT
    ] = "soon"
    await world.passes(minutes=2)
    await world.crash()
    await world.settle()
    assert world.drills.running == ()
    assert not any(state.firing for state in world.engine.incidents.values())


@virtually
async def test_a_store_that_is_away_at_its_end_hears_of_it_later():
    world = await yard()
    await world.drill(minutes=1)
    world.journal.failing = "disk full"
    await world.passes(minutes=2)
    assert world.incident.firing
    world.journal.failing = ""
    await world.passes(minutes=3)
    assert world.outcome() == ["recovered"]


@virtually
async def test_a_drill_that_the_store_did_not_take_does_not_run():
    world = await yard()
    receive = world.engine.receive

    async def fails(alerts, by="", *, careful=""):
        if alerts[0].firing:
            raise StoreError("disk full")
        await receive(alerts, by, careful=careful)

    world.engine.receive = fails
    with pytest.raises(StoreError):
        await world.drill()
    await world.settle()
    assert world.drills.running == ()


# --- real emergencies come first ---


@virtually
async def test_a_drill_does_not_begin_where_something_is_going_on():
    world = await yard(rule(limits=CAUTION), rule("other", match='alertname="Slow"', limits=CAUTION))
    await world.fire(alert("Slow"))
    await world.settle()
    with pytest.raises(NotPossible, match="is live on app"):
        await world.drill()


@virtually
async def test_a_real_alert_takes_over_what_a_drill_has_applied():
    world = await yard()
    await world.drill()
    drilled = world.incident.id
    await world.fire()
    await world.settle()
    state = world.incident
    assert (state.id, state.phase, state.drill) == (drilled, Phase.MITIGATED, "")
    assert [a.labels.get(DRILL) for a in state.alerts.values() if a.firing] == [None]
    assert world.told(K.ALERT_RESOLVED) == [("alert_resolved", "drill, a real alert fires")]
    assert "drill_overtaken" in world.words
    assert world.switch.log.count("mode=mock") == 1
    assert world.drills.running == ()
    await world.passes(minutes=20)
    assert world.incident.phase is Phase.MITIGATED, "it holds as long as the real one fires"
    await world.resolve()
    await world.passes(minutes=2)
    assert world.outcome() == ["recovered"]
    assert next(iter(world.journal.rows.values())).stored.drill == ""


@pytest.mark.parametrize("shadow", [True, False])
@virtually
async def test_a_real_alert_is_served_where_a_drill_only_thinks_or_waits(shadow):
    world = await yard()
    if not shadow:
        await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "ann", "migration", START))
    await world.drill(shadow=shadow)
    drilled = world.incident.id
    await world.fire()
    if not shadow:
        await world.engine.release(BrakeScope.GLOBAL, "", "ann")
    await world.settle()
    assert world.incident.id != drilled
    assert (world.incident.phase, world.incident.mode, world.incident.drill) == (Phase.MITIGATED, "auto", "")
    (closed,) = [e for e in world.journal.timelines[drilled] if e.kind is K.CLOSED]
    assert closed.detail["overtaken"] is True
    assert world.drills.running == ()


@virtually
async def test_a_real_alert_is_served_anew_where_a_drill_left_nothing_that_holds():
    world = await yard(rule(ladder=(KICK,), limits=CAUTION))
    await world.drill()
    assert world.incident.phase is Phase.MITIGATED
    await world.fire()
    await world.settle()
    assert (world.incident.phase, world.incident.drill) == (Phase.MITIGATED, "")
    assert world.kick.log == ["kick", "kick"]


@virtually
async def test_a_real_alert_is_served_where_a_drill_was_handed_over():
    world = await yard(rule(ladder=(replace(MOCK, verify=(probe("ready", within=timedelta(seconds=5)),)),)))
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    await world.drill()
    await world.passes(minutes=1)
    assert world.incident.handed_over
    world.say.verdicts["ready"] = Verdict.HEALTHY
    await world.fire()
    await world.passes(minutes=11)  # the drill did not hold: cooldown, as after any incident
    assert (world.incident.phase, world.incident.handed_over) == (Phase.MITIGATED, False)


@virtually
async def test_a_real_alert_that_comes_while_a_drill_begins_waits_for_that_and_takes_its_place():
    world = await yard()
    receive = world.engine.receive
    begun = asyncio.Event()

    async def slow(alerts, by="", *, careful=""):
        begun.set()
        await asyncio.sleep(1)
        return await receive(alerts, by, careful=careful)

    world.drills._ward = type("Slow", (), {"__getattr__": lambda _, name: getattr(world.engine, name)})()
    world.drills._ward.receive = slow
    drill = asyncio.create_task(world.drill(shadow=True))
    await begun.wait()
    await world.fire()
    await drill
    await world.settle()
    live = list(world.engine.incidents.values())
    assert [(state.drill, state.phase) for state in live] == [("", Phase.MITIGATED)]


@virtually
async def test_a_real_alert_that_was_first_by_a_hair_keeps_the_drill_away():
    world = await yard()
    real = asyncio.create_task(world.fire())
    with pytest.raises(NotPossible, match="comes first"):
        await asyncio.create_task(world.drill())
    await real
    await world.settle()
    assert world.drills.running == ()
    assert (world.incident.drill, world.incident.phase) == ("", Phase.MITIGATED)
    assert [a.labels.get(DRILL) for a in world.incident.alerts.values() if a.firing] == [None]


@virtually
async def test_a_drill_is_taken_back_at_once_for_a_real_alert_of_another_rule_on_its_target():
    slow = rule("slow", match='alertname="Slow"', limits=CAUTION)
    world = await yard(rule(limits=replace(CAUTION, hold=timedelta(hours=1))), slow)
    await world.drill()
    await world.fire(alert("Slow"))
    await world.passes(seconds=20)
    assert world.outcome().count("reverted") == 1
    assert (world.incident.rule, world.incident.phase) == ("test/slow", Phase.MITIGATED)
    assert world.drills.running == ()


@virtually
async def test_a_drill_gives_a_resource_free_that_a_real_incident_elsewhere_waits_for():
    elsewhere = rule("slow", match='alertname="Slow"', target="elsewhere", limits=CAUTION)
    world = await yard(rule(limits=replace(CAUTION, hold=timedelta(hours=1))), elsewhere)
    await world.drill()
    await world.fire(alert("Slow"))
    await world.passes(minutes=2)
    assert (world.incident.rule, world.incident.phase) == ("test/slow", Phase.MITIGATED)


@virtually
async def test_under_a_brake_a_drill_in_the_way_ends_and_takes_nothing_back_by_itself():
    slow = rule("slow", match='alertname="Slow"', limits=CAUTION)
    world = await yard(rule(limits=CAUTION), slow)
    await world.drill()
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "ann", "migration", world.clock.now()))
    await world.fire(alert("Slow"))
    await world.passes(minutes=5)
    assert world.drills.running == ()
    assert world.switch.values["mode"] == "mock"


@virtually
async def test_real_alerts_elsewhere_leave_a_drill_alone():
    elsewhere = rule("slow", match='alertname="Slow"', target="elsewhere", ladder=(KICK,), limits=CAUTION)
    world = await yard(rule(limits=CAUTION), elsewhere)
    await world.drill()
    await world.fire(alert("Slow"))
    await world.settle()
    assert [d.name for d in world.drills.running] == ["q3"]


@virtually
async def test_what_cannot_be_taken_back_now_is_taken_back_in_time():
    slow = rule("slow", match='alertname="Slow"', limits=CAUTION)
    world = await yard(rule(limits=CAUTION), slow)
    await world.drill()

    async def refuses(identifier, by, why):
        raise NotPossible("it keeps moving on")

    world.orders.revert = refuses
    await world.fire(alert("Slow"))
    await world.settle()
    assert world.drills.running == ()
    await world.passes(minutes=3)
    assert world.outcome().count("recovered") == 1


@virtually
async def test_a_fault_in_a_drill_is_logged_and_no_more():
    slow = rule("slow", match='alertname="Slow"', limits=CAUTION)
    world = await yard(rule(limits=CAUTION), slow)
    await world.drill()

    async def breaks(identifier, by, why):
        raise RuntimeError("surprise")

    world.orders.revert = breaks
    with capture_logs() as logged:
        await world.fire(alert("Slow"))
        await world.settle()
    assert {line["event"] for line in logged if line["log_level"] == "error"} == {"drill_fault"}
    assert world.drills.running == ()


@virtually
async def test_a_shadow_that_will_not_close_costs_no_alert_its_answer():
    world = await yard()
    await world.drill(shadow=True)
    append = world.journal.append

    async def conflicts(what):
        return Conflict(0) if what.closing is not None else await append(what)

    world.journal.append = conflicts
    with pytest.raises(StoreError, match="send it again"):
        await world.fire()
    world.journal.append = append
    await world.fire()
    await world.settle()
    assert (world.incident.drill, world.incident.phase) == ("", Phase.MITIGATED)


@virtually
async def test_an_alert_of_a_drill_in_a_real_incident_is_over_at_the_next_start():
    world = await yard()
    await world.fire()
    await world.settle()
    stray = alert(**{DRILL: "q3"})
    await world.engine.receive((stray,), by="drill, begun by ann")  # and then the process ended
    await world.crash()
    await world.settle()
    assert [a.labels.get(DRILL) for a in world.incident.alerts.values() if a.firing] == [None]


@virtually
async def test_a_crash_between_a_real_alert_and_the_word_that_it_is_one_loses_neither():
    world = await yard()
    await world.drill()
    await world.drills.stop()
    world.drills._do = lambda work: None  # as if the process ended right there
    await world.fire()
    await world.settle()
    assert world.incident.drill == "q3"
    await world.crash()
    await world.settle()
    assert world.incident.drill == ""
    assert "drill_overtaken" in world.words
    assert world.drills.running == ()
