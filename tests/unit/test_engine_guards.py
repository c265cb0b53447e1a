"""Guards on the whole way from alert to act: what they refuse is told with its reason, waits, and is taken up again."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from tests.virtual import virtually
from tests.world import GENEROUS, MOCK, World, alert, book, probe, rule, step

from stopgap.incident import EventKind as K, Phase
from stopgap.probe import Verdict
from stopgap.rate import Rate
from stopgap.rule import AtOnce, BlastRadius, Limits, Mode, Rule, RungSpec, Windows
from stopgap.template import compile_tree
from stopgap.terms import Terms
from stopgap.window import parse_window

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def per_host(name: str = "mock", *, alertname: str = "Down", **more: Any) -> Rule:
    """Return a rule that sets a switch of each host."""
    params, _ = compile_tree({"to": "mock", "name": "mode of {{ target }}"})
    ladder = (RungSpec("mock", do=(replace(step(), params=params),)),)
    given = {"target": None, "per": ("host",), "ladder": ladder, "limits": GENEROUS, **more}
    return rule(name, match=f'alertname="{alertname}"', **given)


def hosts(count: int, **labels: str):
    return [alert(job="api", host=f"h{i}", **labels) for i in range(count)]


def reasons(world: World) -> list[str]:
    return sorted(state.reason for state in world.engine.incidents.values())


def acted(world: World) -> int:
    return sum(1 for state in world.engine.incidents.values() if state.rungs)


# --- budgets ---


@virtually
async def test_fifty_incidents_at_once_take_no_more_than_the_budgets():
    limits = replace(GENEROUS, budget=Rate(5, HOUR), budget_global=Rate(8, HOUR))
    rules = (per_host("a", limits=limits), per_host("b", alertname="Slow", limits=limits))
    world = await World(rules).start()
    slow = [alert("Slow", job="web", host=f"w{i}") for i in range(25)]
    await world.fire(*hosts(25), *slow)
    await world.settle()
    assert acted(world) == len(world.journal.permits) == 8
    assert max(sum(p.rule == r.id for p in world.journal.permits) for r in rules) == 5
    await world.passes(minutes=59)
    assert len(world.journal.permits) == 8
    await world.passes(minutes=2)
    assert len(world.journal.permits) == 16


@virtually
async def test_what_is_left_of_a_budget_goes_to_the_most_severe_and_then_to_the_oldest():
    limits = replace(GENEROUS, budget=Rate(3, HOUR))
    world = await World((per_host(limits=limits),)).start()
    world.switch.takes = 0.2
    await world.fire(
        *(alert(job="api", host=f"i{i}", severity="info") for i in range(4)),
        *(alert(job="api", host=f"c{i}", severity="critical") for i in range(2)),
        *(alert(job="api", host=f"w{i}", severity="warning") for i in range(4)),
    )
    await world.passes(minutes=1)
    assert sorted(permit.target for permit in world.journal.permits) == ["api/c0", "api/c1", "api/w0"]


@virtually
async def test_who_is_about_to_start_counts_and_leaves_the_budget_when_nothing_came_of_it():
    skips = per_host(limits=replace(GENEROUS, budget=Rate(1, HOUR)))
    skips = replace(skips, ladder=(replace(skips.ladder[0], only_if=(probe("first"),)),))
    world = await World((skips,)).start()
    world.say.verdicts["first"], world.say.takes = Verdict.UNHEALTHY, 0.1
    await world.fire(*hosts(2))
    await world.settle()
    assert reasons(world) == ["budget_rule", "ladder_exhausted"]
    world.say.verdicts["first"] = Verdict.HEALTHY
    await world.passes(seconds=6)
    assert acted(world) == 1


@virtually
async def test_a_reload_frees_an_incident_that_an_old_limit_kept_waiting_in_the_middle_of_its_ladder():
    tight = Limits(budget=Rate(1, HOUR), hold=MINUTE)
    failing = RungSpec("first", do=(step(name="one"),), verify=(probe("never"),))
    world = await World((rule(ladder=(failing, MOCK), limits=tight),)).start()
    world.say.verdicts["never"] = Verdict.UNHEALTHY
    await world.fire()
    await world.passes(minutes=2)
    assert world.incident.reason == "budget_rule"
    wider = replace(tight, budget=Rate(2, HOUR), hold=HOUR)
    await world.engine.use(book(rule(ladder=(failing, MOCK), limits=wider)))
    await world.passes(seconds=31)
    assert world.incident.phase is Phase.MITIGATED
    assert world.engine.rule_of(world.incident).limits == replace(wider, hold=MINUTE)


# --- one failure after the other ---


@virtually
async def test_two_incidents_that_did_not_hold_open_the_circuit_until_a_person_acknowledges():
    world = await World((rule(limits=replace(GENEROUS, circuit=Limits().circuit)),)).start()
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    for _ in range(2):
        await world.fire()
        await world.passes(minutes=3)
        assert world.incident.handed_over
        await world.resolve()
        await world.settle()
    await world.fire()
    await world.passes(minutes=5)
    assert world.incident.reason == "circuit_open"
    assert not world.incident.rungs
    world.say.verdicts["ready"] = Verdict.HEALTHY
    await world.orders.acknowledge(world.incident.id, "ann", "looked at it")
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED


# --- targets and resources across rules ---


@virtually
async def test_a_rule_yields_to_another_on_the_same_target():
    second = rule("second", yield_to=("test/mock",), ladder=(RungSpec("s", do=(step(name="other"),)),))
    world = await World((second, rule())).start()
    await world.fire()
    await world.settle()
    by_rule = {state.rule: state for state in world.engine.incidents.values()}
    assert by_rule["test/mock"].phase is Phase.MITIGATED
    assert by_rule["test/second"].reason == "yielded"
    await world.orders.close(by_rule["test/mock"].id, "ann", "gone", keep=True)
    await world.settle()
    assert world.switch.values["other"] == "mock"


@virtually
async def test_nobody_touches_a_protected_target_and_a_person_hears_of_it():
    world = await World((rule(limits=Limits(protected=("a?p",))),)).start()
    await world.fire()
    await world.settle()
    assert world.incident.handed_over
    assert world.incident.reason == "protected_target"
    assert not world.switch.calls


@virtually
async def test_no_more_than_its_share_of_a_population_is_held_across_rules():
    limits = replace(GENEROUS, blast_radius=BlastRadius("count(up)", Fraction(1, 4)))
    rules = (per_host("a", limits=limits), per_host("b", alertname="Slow", limits=limits))
    world = await World(rules).start()
    world.sizes["count(up)"] = 9
    await world.fire(*hosts(4), *(alert("Slow", job="api", host=f"s{i}") for i in range(4)))
    await world.settle()
    assert acted(world) == 2
    assert set(reasons(world)) == {"", "blast_radius"}
    held = [state for state in world.engine.incidents.values() if state.rungs]
    await world.orders.revert(held[0].id, "ann", "enough")
    await world.settle()
    assert acted(world) == 3


@pytest.mark.parametrize("edited", [False, True])
@virtually
async def test_what_is_held_under_a_rule_that_a_reload_takes_away_or_edits_still_counts(edited):
    limits = replace(GENEROUS, blast_radius=BlastRadius("count(up)", 1))
    one, other = per_host("a", limits=limits), per_host("b", alertname="Slow", limits=limits)
    world = await World((one, other)).start()
    world.sizes |= {"count(up)": 10, "count(down)": 10}
    await world.fire(*hosts(1))
    await world.settle()
    elsewhere = per_host("a", limits=replace(limits, blast_radius=BlastRadius("count(down)", 1)))
    await world.engine.use(book(elsewhere, other) if edited else book(other))
    await world.fire(alert("Slow", job="api", host="s"))
    await world.settle()
    assert acted(world) == 1
    assert reasons(world) == ["", "blast_radius"]


@virtually
async def test_a_population_that_cannot_be_measured_is_left_alone_until_it_can():
    world = await World((rule(limits=Limits(blast_radius=BlastRadius("count(up)", 1))),)).start()
    await world.fire()
    await world.settle()
    assert world.incident.reason == "blast_radius"
    world.sizes["count(up)"] = 2
    await world.passes(seconds=31)
    assert world.incident.phase is Phase.MITIGATED


# --- windows ---


@virtually
async def test_outside_its_window_an_incident_waits_and_starts_when_it_opens():
    windows = Windows(allow=(parse_window("10:00-11:00"),))
    world = await World((rule(limits=Limits(windows=windows)),)).start()
    await world.fire()
    await world.passes(minutes=59)
    assert world.incident.reason == "outside_window"
    await world.passes(minutes=1, seconds=1)
    assert world.incident.phase is Phase.MITIGATED


# --- the store ---


@virtually
async def test_a_guard_that_cannot_be_asked_refuses(monkeypatch):
    world = await World().start()
    ledger = world.journal.ledger

    async def away(_):
        from stopgap.errors import StoreError

        raise StoreError("disk on fire")

    monkeypatch.setattr(world.journal, "ledger", away)
    await world.fire()
    await world.settle()
    assert world.incident.reason == "store_unavailable"
    assert not world.switch.calls
    monkeypatch.setattr(world.journal, "ledger", ledger)
    await world.passes(seconds=5)
    assert world.incident.phase is Phase.MITIGATED


# --- ladders ---


def two_rungs(**first: Any) -> Rule:
    return rule(ladder=(RungSpec("first", do=(step(name="one"),), **first), MOCK))


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [(Verdict.UNHEALTHY, "precondition_failed"), (Verdict.UNKNOWN, "precondition_unknown")],
)
@virtually
async def test_a_rung_whose_precondition_is_not_met_is_skipped(verdict, reason):
    world = await World((two_rungs(only_if=(probe("sky"), probe("backup"))),)).start()
    world.say.verdicts["backup"] = verdict
    await world.fire()
    await world.settle()
    (skipped,) = [e for e in world.journal.timelines[world.incident.id] if e.kind is K.RUNG_SKIPPED]
    assert skipped.detail["reason"] == reason
    assert skipped.detail["text"] == f"{verdict}: backup is {verdict}"
    assert "one" not in world.switch.values
    assert world.switch.values["mode"] == "mock"


@virtually
async def test_a_precondition_is_asked_right_before_the_act_and_its_answer_is_a_line():
    world = await World((two_rungs(only_if=(probe("backup"),)),)).start()
    await world.fire()
    await world.settle()
    words = world.words
    assert words.index("probe_healthy") < words.index("permitted") < words.index("step_started")


@virtually
async def test_a_rung_that_goes_on_stays_while_the_ladder_climbs_and_is_taken_back_last():
    world = await World((two_rungs(go_on=True),)).start()
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED
    assert world.switch.values == {"mode": "mock", "one": "mock"}
    await world.resolve()
    await world.passes(minutes=6)
    assert world.outcome() == ["recovered"]
    assert [entry for entry in world.switch.log if "=" in entry] == [
        "one=mock",
        "mode=mock",
        "mode=normal",
        "one=None",
    ]


@virtually
async def test_a_rung_that_runs_once_is_not_run_again_by_a_flap():
    world = await World((two_rungs(once=True),)).start()
    await world.fire()
    await world.settle()
    assert world.switch.values["one"] == "mock"
    await world.resolve()
    await world.passes(minutes=6)
    await world.fire()
    await world.settle()
    assert world.incident.follows
    assert world.incident.used == {"first"}
    assert world.switch.values == {"mode": "mock", "one": None}


# --- shadow, probation ---


@virtually
async def test_shadow_writes_the_whole_ladder_and_counts_among_shadows_only():
    ladder = (replace(MOCK, only_if=(probe("backup"),)), replace(MOCK, name="second", approval=HOUR))
    shadowed = rule("careful", mode=Mode.SHADOW, ladder=ladder, limits=Limits(budget=Rate(1, HOUR)))
    world = await World((shadowed,)).start()
    world.say.verdicts["backup"] = Verdict.UNHEALTHY
    await world.fire()
    await world.settle()
    (planned,) = [e.detail for e in world.journal.timelines[world.incident.id] if e.kind is K.SHADOW_PLANNED]
    assert planned["rung"] == 1
    assert planned["because"] == "the rule's mode"
    assert planned["ladder"][0]["skipped"] == "precondition_failed: unhealthy: backup is unhealthy"
    assert planned["ladder"][1]["approval"] == "a person must approve"
    assert planned["probes"] == {"verify/0": "healthy: ready is healthy"}
    assert "refusal" not in planned
    await world.resolve()
    await world.settle()
    await world.fire()
    await world.settle()
    told = [e.detail for e in world.journal.timelines[world.incident.id] if e.kind is K.SHADOW_PLANNED]
    assert told[0]["refusal"].startswith("cooldown: acted ")
    assert not world.switch.calls


@virtually
async def test_shadow_says_when_no_rung_could_be_tried():
    world = await World((two_rungs(only_if=(probe("backup"),)),), Terms(Mode.SHADOW)).start()
    world.say.verdicts["backup"] = Verdict.UNKNOWN
    only = rule(ladder=(RungSpec("first", do=(step(),), only_if=(probe("backup"),)),))
    await world.engine.use(book(only))
    await world.fire()
    await world.settle()
    (planned,) = [e.detail for e in world.journal.timelines[world.incident.id] if e.kind is K.SHADOW_PLANNED]
    assert planned["ladder"][0]["skipped"] == "precondition_unknown: unknown: backup is unknown"
    assert planned["because"] == "the daemon's --mode"
    assert not world.journal.permits


@virtually
async def test_a_new_rule_is_on_probation_and_an_old_one_is_not():
    world = await World((rule(),), Terms(probation=24 * HOUR)).start()
    await world.fire()
    await world.settle()
    assert world.incident.mode == "shadow"
    (planned,) = [e.detail for e in world.journal.timelines[world.incident.id] if e.kind is K.SHADOW_PLANNED]
    assert planned["because"] == "the rule is on probation"
    await world.resolve()
    await world.passes(hours=24)
    await world.crash()
    await world.engine.use(book(rule(), rule("new", match='alertname="New"')))
    await world.fire(alert(), alert("New"))
    await world.settle()
    modes = {state.rule: state.mode for state in world.engine.incidents.values()}
    assert modes == {"test/mock": "auto", "test/new": "shadow"}


# --- bounds ---


@virtually
async def test_acts_are_bounded_and_served_in_turn_target_by_target():
    limits = GENEROUS
    steps = (replace(per_host().ladder[0].do[0]), replace(per_host().ladder[0].do[0]))
    long = per_host(limits=limits, ladder=(RungSpec("two steps", do=steps),))
    world = World((long,))
    world.engine.rulebook = replace(world.engine.rulebook, at_once=AtOnce(actions=2))
    world.engine.performer.bound(AtOnce(actions=2))
    world.switch.takes = 10.0
    await world.start()
    await world.fire(*hosts(4))
    await world.passes(seconds=25)
    begun = [state for state in world.engine.incidents.values() if state.rungs]
    assert len(begun) == 4  # the second step of the first two came after the first step of all
    assert len(world.switch.log) == 4
    assert sorted(set(world.switch.log)) == sorted(world.switch.log)


@virtually
async def test_a_reload_changes_how_much_is_done_at_once():
    world = await World((per_host(),)).start()
    await world.engine.use(replace(world.engine.rulebook, at_once=AtOnce(actions=1, probes=1)))
    world.switch.takes = 10.0
    await world.fire(*hosts(2))
    await world.passes(seconds=15)
    assert len(world.switch.log) == 1
