"""Explaining alerts and incidents: which rules take them, what would come next, and that asking changes nothing."""

from dataclasses import replace
from typing import Any

from tests.unit.test_engine_guards import HOUR, hosts, per_host, two_rungs
from tests.unit.test_explain_reasons import ASKS, about_alert, about_incident, explainer, fired, started
from tests.virtual import virtually
from tests.world import GENEROUS, MOCK, START, World, alert, book, probe, rule, step

from stopgap import explain
from stopgap.alert import Alert
from stopgap.explain import alert_with
from stopgap.explanation import Course, Doing, Explanation
from stopgap.guard import Reason
from stopgap.incident import EventKind as K
from stopgap.ledger import Brake, BrakeScope
from stopgap.probe import Verdict
from stopgap.rate import Rate
from stopgap.rule import BlastRadius, Escalation, Mode, RungSpec
from stopgap.template import compile_tree
from stopgap.terms import Terms


async def course(world: World, *alerts: Any) -> Course:
    (found,) = (await about_alert(world, *alerts)).courses
    return found


async def standing(world: World) -> Course:
    (found,) = (await about_incident(world)).courses
    return found


def written(world: World) -> tuple[int, int, dict[str, int]]:
    lines = sum(map(len, world.journal.timelines.values()))
    return lines, len(world.journal.permits), dict(world.switch.calls)


# --- which rules ---


@virtually
async def test_of_every_rule_that_does_not_take_an_alert_the_first_failed_matcher_is_named_nearest_first():
    far = rule("far", match='alertname="Up", env="prod", job="web"')
    near = rule("near", match='alertname="Down", env="prod"')
    world = await started(far, near, rule("bare", match='zone=~"a|b"'), rule())
    told = await about_alert(world, alert(env="dev"))
    (sight,) = told.alerts
    assert (sight.taken_by, sight.missed_count, told.rules) == (("test/mock",), 3, 4)
    misses = {one.rule: (one.matcher, one.label, one.value) for one in sight.missed}
    assert misses == {
        "test/near": ('env="prod"', "env", "dev"),
        "test/bare": ('zone=~"a|b"', "zone", None),
        "test/far": ('alertname="Up"', "alertname", "Down"),
    }
    assert [one.rule for one in sight.missed][-1] == "test/far"


@virtually
async def test_no_more_misses_are_listed_than_asked_for_but_all_are_counted():
    world = await started(*(rule(f"r{i}", match=f'alertname="A{i}"') for i in range(600)))
    told = await explainer(world).alerts((alert(),), nearest=3)
    assert (len(told.alerts[0].missed), told.alerts[0].missed_count) == (3, 600)
    assert told.courses == ()


@virtually
async def test_a_rule_that_is_done_with_an_alert_is_named_and_nothing_opens():
    world = await fired()
    await world.orders.close(world.incident.id, "ann", "known", keep=True)
    told = await about_alert(world)
    assert (told.alerts[0].taken_by, told.alerts[0].served_by) == ((), ("test/mock",))
    assert told.courses == ()


@virtually
async def test_alerts_of_one_rule_and_target_are_one_course_with_the_labels_that_they_share():
    params, _ = compile_tree({"to": "{{ labels.zone }}"})
    world = await started(rule(ladder=(RungSpec("zone", do=(replace(step(), params=params),)),)))
    told = await about_alert(world, alert(zone="a"), alert(zone="b"))
    (found,) = told.courses
    assert found.ladder[0].skipped is not None
    assert found.ladder[0].skipped.reason == "unresolved_template"
    assert found.next.do is Doing.HAND_OVER
    assert found.next.reason == "ladder_exhausted"


@virtually
async def test_courses_are_bounded(monkeypatch):
    monkeypatch.setattr(explain, "MOST_COURSES", 2)
    told = await about_alert(await started(per_host()), *hosts(3))
    assert (len(told.courses), told.course_count) == (2, 3)


# --- what would come next ---


@virtually
async def test_a_new_incident_would_start_its_first_rung_and_nothing_is_written():
    world = await started()
    before = written(world)
    told = await course(world)
    assert told.standing is told.incident is None
    assert (told.next.do, told.next.text) == (Doing.START, "start rung 'mock mode' now")
    assert (told.mode, told.because) == (Mode.AUTO, "the rule's mode")
    (rung,) = told.ladder
    assert rung.steps == ("switch: mode to mock", "kick: mode to on")
    assert rung.holds == ("switch:mode",)
    assert [one.question for one in rung.verify] == ["ready"]
    assert all(one.allows for one in told.guards)
    assert len(told.guards) == 12
    assert [one.question for one in told.lease.recovered] == ["cause"]
    assert (told.lease.hold_seconds, told.lease.max_hold_seconds) == (300, 4 * 3600)
    await world.settle()
    assert written(world) == before
    assert world.engine.incidents == {}


@virtually
async def test_a_rung_that_would_be_skipped_is_passed_by_and_the_guards_speak_of_the_next():
    world = await started(two_rungs(only_if=(probe("backup"),)))
    world.say.verdicts["backup"] = Verdict.UNHEALTHY
    told = await course(world)
    assert (told.next.text, told.guarded) == ("start rung 'mock mode' now", 1)
    (asked,) = told.ladder[0].only_if
    assert (asked.question, asked.verdict, asked.why) == ("backup", "unhealthy", "backup is unhealthy")


@virtually
async def test_without_asking_preconditions_are_neither_asked_nor_taken_for_met():
    world = await started(two_rungs(only_if=(probe("backup"),)))
    (told,) = (await explainer(world, asks=False).alerts((alert(),))).courses
    assert told.next.text == "start rung 'first' now, if its preconditions hold: they were not asked"
    assert told.ladder[0].only_if[0].verdict == ""
    assert not world.say.asked


@virtually
async def test_a_shadow_says_which_rung_it_would_write_down_and_what_would_refuse_it():
    world = await started(rule(limits=replace(GENEROUS, budget=Rate(0, HOUR))), terms=Terms(Mode.SHADOW))
    told = await course(world)
    assert told.next.do is Doing.SHADOW
    assert told.next.text.startswith(
        "only write down that budget_rule keeps rung 'mock mode' from starting: shadow"
    )
    await world.engine.use(book(rule()))
    told = await course(world)
    assert (
        told.next.text == "only write down that it would start rung 'mock mode': shadow, the daemon's --mode"
    )
    await world.engine.use(book(two_rungs(once=False, only_if=(probe("backup"),))))
    world.say.verdicts["backup"] = Verdict.UNKNOWN
    assert "rung 'mock mode'" in (await course(world)).next.text
    only = rule(ladder=(replace(MOCK, only_if=(probe("backup"),)),))
    await world.engine.use(book(only))
    assert (await course(world)).next.text.startswith("only write down that no rung can be tried")


@virtually
async def test_the_mode_says_what_makes_it_so():
    world = await started(rule(), terms=Terms(probation=24 * HOUR))
    assert (await course(world)).because == "the rule is on probation until 2026-11-22 09:00:00Z"
    world = await fired(terms=Terms(Mode.SHADOW))
    world.terms = Terms()
    await world.crash()
    assert (await standing(world)).because == "it opened in this mode"


@virtually
async def test_a_brake_comes_first_and_the_guards_are_asked_all_the_same():
    world = await started()
    now = world.clock.now()
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "bob", "migration", now))
    told = await course(world)
    assert (told.next.do, told.next.text, told.next.reason) == (Doing.WAIT, "wait: brake", "brake")
    assert [one.reason for one in told.guards if not one.allows] == ["brake"]


@virtually
async def test_a_flap_is_seen_as_one_with_its_doubled_hold_and_the_third_is_held():
    world = await fired(rule(limits=GENEROUS))
    for flap in (1, 2, 3):
        await world.resolve()
        await world.passes(minutes=5 * 2 ** (flap - 1) + 1)
        told = await course(world)
        assert told.follows == list(world.journal.rows)[-1]
        assert (told.flaps, told.lease.hold_seconds) == (flap, 300 * 2**flap)
        await world.fire()
        await world.settle()
    assert (await standing(world)).lease.flaw == "flap 3 within six hours"


@virtually
async def test_what_was_closed_without_being_taken_back_is_followed_by_nothing():
    world = await fired(ASKS)
    await world.resolve()
    await world.settle()
    assert (await course(world)).follows == ""


@virtually
async def test_a_population_is_measured():
    world = await started(rule(limits=replace(GENEROUS, blast_radius=BlastRadius("count(up)", 1))))
    world.sizes["count(up)"] = 9
    told = {one.reason: one for one in (await course(world)).guards}
    assert told["blast_radius"].text == "0 of 1 targets held or acted upon (1 of 9)"


# --- live incidents ---


@virtually
async def test_an_alert_that_a_live_incident_takes_joins_it():
    world = await fired()
    told = await course(world, alert(env="other"))
    assert told.incident == world.incident.id
    assert told.standing is not None
    assert told.standing.phase == "mitigated"
    assert told.next.do is Doing.HOLD
    assert [(one.name, one.resources) for one in told.standing.held] == [("mock mode", ("switch:mode",))]
    assert len(world.incident.alerts) == 1
    assert (await course(world)).incident == world.incident.id


@virtually
async def test_an_alert_that_fires_again_brings_a_recovering_incident_back():
    world = await fired()
    await world.resolve()
    await world.settle()
    assert (await standing(world)).next.text.startswith(
        "hold it until the cause is gone for 5m, and look again"
    )
    assert (await course(world, replace(alert(), firing=False))).standing.phase == "mitigated"  # type: ignore[union-attr]


@virtually
async def test_an_incident_says_where_it_stands_since_when_why_and_when_it_is_asked_again():
    world = await started(per_host(limits=replace(GENEROUS, budget=Rate(1, HOUR))))
    await world.fire(*hosts(2))
    await world.passes(minutes=5)
    waiting = next(state for state in world.engine.incidents.values() if state.reason)
    found = await explainer(world).incident(waiting.id)
    assert found is not None
    (told,) = found.courses
    assert told.standing is not None
    assert (told.standing.phase, told.standing.reason) == ("waiting", "budget_rule")
    assert told.standing.text.startswith("1 of 1 used in 1h, ")
    assert told.next.text == "wait: budget_rule, asked again 10:00:00Z (in 55m)"
    refusing = [one.text for one in told.guards if not one.allows]
    assert refusing == ["1 of 1 used in 1h, next free in 55m"]


@virtually
async def test_what_was_refused_is_known_after_a_restart_from_the_timeline_alone():
    world = await fired(ASKS)
    await world.crash()
    told = await standing(world)
    assert told.standing is not None
    assert (told.standing.reason, told.standing.text) == ("approval_pending", "the rung asks for an approval")
    assert told.standing.approval_until is not None
    assert told.next.until == told.standing.approval_until


@virtually
async def test_while_a_step_runs_it_is_finished_first():
    world = await started()
    world.switch.takes = 20
    await world.fire()
    await world.settle()
    assert (await standing(world)).next.text == "finish the step that is under way"


@virtually
async def test_a_yes_that_still_counts_is_named():
    world = await fired(ASKS)
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "bob", "migration", world.clock.now()))
    await world.orders.approve(world.incident.id, "ann", "go")
    await world.settle()
    await world.journal.release(BrakeScope.GLOBAL, "", "bob", world.clock.now())
    world.engine.performer.release((Reason.BRAKE,))
    world.engine.brakes = ()
    told = await standing(world)
    assert (told.next.text, told.next.why) == ("start rung 'mock mode' now: ann said yes", "go")


@virtually
async def test_a_closed_incident_tells_its_outcome_and_its_last_reasons():
    world = await fired(ASKS)
    identifier = world.incident.id
    await world.orders.deny(identifier, "ann", "not at night")
    await world.settle()
    await world.resolve()
    await world.settle()
    found = await explainer(world).incident(identifier)
    assert found is not None
    (told,) = found.courses
    assert told.standing is not None
    assert (told.standing.phase, told.standing.outcome) == ("closed", "handed_over")
    assert [(one.reason, one.text) for one in told.standing.said][-1] == (
        "approval_denied",
        "ann said no: not at night",
    )
    assert told.next.do is Doing.NOTHING


@virtually
async def test_an_incident_that_nobody_knows_is_none():
    world = await fired()
    assert await explainer(world).incident("INC-x") is None
    assert await explainer(world).incident("control") is None


@virtually
async def test_a_shadow_that_was_refused_or_found_no_rung_says_so():
    world = await fired(rule(limits=replace(GENEROUS, budget=Rate(0, HOUR))), terms=Terms(Mode.SHADOW))
    told = await standing(world)
    assert told.standing is not None
    assert told.standing.text.endswith(", but for budget_rule: 0 of 0 used in 1h")
    world = await started(rule(ladder=(replace(MOCK, only_if=(probe("backup"),)),)), terms=Terms(Mode.SHADOW))
    world.say.verdicts["backup"] = Verdict.UNHEALTHY
    await world.fire()
    await world.settle()
    told = await standing(world)
    assert told.standing is not None
    assert told.standing.text == "the daemon's --mode; no rung could be tried"


@virtually
async def test_a_store_that_is_away_keeps_nobody_from_hearing_where_a_live_incident_stands():
    world = await fired()
    world.journal.failing = "disk on fire"
    told = await standing(world)
    assert told.standing is not None
    assert (told.standing.phase, told.standing.said) == ("mitigated", ())


@virtually
async def test_an_incident_whose_rule_is_gone_for_good_is_told_all_the_same():
    world = await fired()
    world.rules = (rule("another"),)
    await world.crash()
    told = await standing(world)
    assert told.rule == "test/mock"
    assert told.standing is not None
    assert [(one.rung, one.name) for one in told.standing.held] == [(0, "0")]
    assert told.next.text == "wait for a person: the rule that it opened under cannot be built any more"


# --- who hears, what was given ---


@virtually
async def test_who_hears_of_what_and_who_would_hear_nothing():
    told_of = (Escalation(K.MITIGATED, ("oncall", "chat")), Escalation(K.HANDED_OVER, ("oncall",)))
    world = await started(rule(escalate=told_of))
    reach = {"oncall": "", "chat": "contact 'chat' has no address", "default": ""}
    found: Explanation = await explain.Explainer(
        world.engine, world.clock, lambda _, name: reach[name]
    ).alerts((alert(),))
    (told,) = found.courses
    heard = {one.when: one.contacts for one in told.audience}
    assert heard["mitigated"] == ("oncall", "chat")
    assert heard["handed_over"] == ("oncall",)
    assert heard["lease_expired"] == ("default",)
    assert told.unreachable == {"chat": "contact 'chat' has no address"}


@virtually
async def test_a_recovery_that_cannot_be_asked_about_says_why():
    params, _ = compile_tree({"of": "{{ labels.zone }}"})
    world = await started(rule(recovered=(replace(probe("x"), params=params),)))
    assert "unresolved_template" in (await course(world)).lease.flaw


def test_an_alert_made_of_labels_is_read_as_the_webhook_reads_it():
    made = alert_with({"alertname": "Down"}, START)
    assert isinstance(made, Alert)
    assert made.firing
    assert made.starts_at == START
    assert not isinstance(alert_with({}, START), Alert)
