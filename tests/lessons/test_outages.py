"""Outages: what automation has made worse before, in the order of the lessons; each test says what cannot happen here."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from tests.journal_examples import HandClock, event, open_one, opened_journal
from tests.lessons.scenes import acted, firing, hosts, per_host, reasons, seen
from tests.rule_files import SITE, problems, read, rule as rule_file
from tests.virtual import virtually
from tests.world import GENEROUS, MOCK, World, alert, book, probe, rule, step

from stopgap.action import Moment
from stopgap.actions import Flag, Scale
from stopgap.errors import PermanentError, TemporaryError
from stopgap.incident import EventKind as K, Phase
from stopgap.journal import Append, Conflict
from stopgap.ledger import Brake, BrakeScope
from stopgap.orders import NotPossible
from stopgap.probe import Verdict
from stopgap.rate import Rate
from stopgap.rule import BlastRadius, Limits, RungSpec
from stopgap.store import open_store
from stopgap.template import Template

HOUR, TEN = timedelta(hours=1), timedelta(minutes=10)
NOW = Moment(key="INC-1/0/0/do/1", timeout=timedelta(seconds=20))
ASKS = rule(ladder=(replace(MOCK, approval=TEN),))


@pytest.mark.parametrize(
    ("target", "labels", "reason"),
    [
        ('{{ labels.zone | default("") }}', {}, "empty_target"),
        ("{{ labels.zone }}", {}, "unresolved_template"),
        ("{{ labels.zone }}", {"zone": "*"}, "unsafe_label"),
        ("{{ labels.zone }}", {"zone": "a,b,c"}, "unsafe_label"),
    ],
)
@virtually
async def test_an_empty_or_unresolved_target_never_means_everything(target, labels, reason):
    """1. A clean-up was given an empty set of disks, and took it for all of them."""
    world = await World((rule(target=Template.parse(target)),)).start()
    await world.fire(alert(**labels))
    await world.settle()
    assert world.incident.reason == reason
    assert world.incident.handed_over
    assert not world.switch.log


@pytest.mark.parametrize("size", [0, 2])
@virtually
async def test_a_share_of_an_empty_or_tiny_population_is_never_one_of_it(size):
    """1. The same for a share: of nothing, and of too few, it is nothing."""
    world = World((rule(limits=Limits(blast_radius=BlastRadius("count(up)", Fraction(1, 3)))),))
    world.sizes["count(up)"] = size
    await world.start()
    await world.fire()
    await world.passes(minutes=5)
    assert world.incident.reason == "blast_radius"
    assert not world.switch.log


async def test_neither_a_restart_nor_a_reload_ever_releases_the_brake(tmp_path):
    """2. Autoscaling was switched off for a migration, and configuration management switched it on again in the middle."""
    world = World()
    for life in range(3):
        world.journal = await open_store(tmp_path / "state", world.clock)
        world.engine = world._engine()
        await world.engine.start()
        if life == 0:
            await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "ann", "migration", world.clock.now()))
            await world.engine.receive((alert(),))
        await world.engine.use(book(rule(summary=f"edition {life}")))
        await seen(lambda: bool(world.engine.incidents) and world.incident.reason == "brake")
        (brake,) = world.engine.brakes
        assert (brake.by, brake.why) == ("ann", "migration")
        await world.engine.stop()
        await world.journal.close()
    assert not world.switch.log


@virtually
async def test_two_failure_domains_are_never_worked_on_at_once():
    """3. Maintenance that was meant for one location took several out of service together."""
    limits = replace(GENEROUS, blast_radius=BlastRadius(3, 1))
    world = await World((per_host(limits=limits, recovered=(probe("cause"),)),)).start()
    await world.fire(*hosts(3))
    for left in (2, 1, 0):
        await world.passes(minutes=1)
        assert acted(world) == 1
        assert list(reasons(world).values()).count("blast_radius") == left
        (held,) = (state for state in world.engine.incidents.values() if state.rungs)
        await world.resolve(*(one for one in hosts(3) if held.target == f"api/{one.labels['host']}"))
        await world.passes(minutes=6)


@virtually
async def test_what_cannot_be_known_never_lets_anything_be_done():
    """4. A check that could not be made was read as a bad answer, and what it asked about was removed."""
    careful = replace(MOCK, only_if=(probe("backup"),))
    world = await firing(rule(ladder=(careful,)), backup=Verdict.UNKNOWN)
    assert world.incident.reason == "ladder_exhausted"
    measured = rule(limits=Limits(blast_radius=BlastRadius("count(up)", 1)))
    other = await firing(measured)
    assert other.incident.reason == "blast_radius"
    assert (world.switch.log, other.switch.log) == ([], [])


@virtually
async def test_a_feedback_loop_never_outruns_the_budget_of_all_rules_together():
    """4. Each removal caused the next error, and each error the next removal, everywhere."""
    limits = replace(GENEROUS, budget_global=Limits().budget_global)
    world = await World(tuple(per_host(f"r{i}", alertname=f"A{i}", limits=limits) for i in range(5))).start()
    for minute in range(12):
        await world.fire(*(alert(f"A{i}", job="api", host=f"h{i}-{minute}") for i in range(5)))
        await world.passes(minutes=1)
    assert len(world.journal.permits) == 20


@virtually
async def test_what_failed_is_never_tried_again_without_a_growing_pause():
    """4. Everybody asked again at once, and kept the thing down that was asked."""
    world = await World((rule(ladder=(RungSpec("m", (step(retries=4),)),)),)).start()
    world.switch.faults = [TemporaryError("busy") for _ in range(5)]
    await world.fire()
    await world.passes(minutes=5)
    events = world.journal.timelines[world.incident.id]
    tries = [e.at for e in events if e.kind is K.STEP_STARTED and e.detail["role"] == "do"]
    assert [round((b - a).total_seconds()) for a, b in pairwise(tries)] == [1, 2, 4, 8]


@virtually
async def test_a_delayed_plan_is_never_carried_out_on_what_has_changed_since():
    """5. An old plan was applied after a newer one, because its check was as old as the plan."""
    world = await firing(ASKS)
    world.switch.values["mode"] = "changed meanwhile"
    await world.orders.approve(world.incident.id, "ann")
    await world.settle()
    assert "stale_plan" in [e.detail.get("reason") for e in world.journal.timelines[world.incident.id]]
    assert world.incident.reason == "approval_pending"
    assert not world.switch.log


@virtually
async def test_a_precondition_is_never_answered_by_what_was_so_a_while_ago():
    """5. The same with the check itself: it is made again, right before the act."""
    ladder = (replace(MOCK, approval=TEN, only_if=(probe("backup"),)),)
    world = await firing(rule(ladder=ladder))
    world.say.verdicts["backup"] = Verdict.UNHEALTHY
    await world.passes(minutes=5)
    await world.orders.approve(world.incident.id, "ann")
    await world.settle()
    assert world.incident.reason == "ladder_exhausted"
    assert not world.switch.log


@virtually
async def test_a_plan_never_outlives_its_time():
    """5. The same with a yes that was kept waiting."""
    world = await firing(ASKS)
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "bob", "migration", world.clock.now()))
    await world.orders.approve(world.incident.id, "ann")
    await world.passes(minutes=11)
    await world.engine.release(BrakeScope.GLOBAL, "", "bob")
    await world.settle()
    assert world.words.count("approval_requested") == 2
    assert not world.switch.log


async def test_a_decision_made_on_an_older_state_is_never_written(tmp_path):
    """5. The token that fences a latecomer off: the number of the last line that was known when the decision was made."""
    clock = HandClock()
    async with opened_journal("store", tmp_path, clock) as store:
        name = await open_one(store, clock)
        decided = Append(name, (event(clock, K.STEP_STARTED),), expect=1)
        assert len(await store.append(decided)) == 1
        assert await store.append(decided) == Conflict(2)


@virtually
async def test_a_risky_step_never_runs_twice_for_one_trouble():
    """6. The failover failed over, and back, and over again."""
    failover = RungSpec("failover", (step(name="primary"),), once=True)
    world = await firing(rule(ladder=(failover,)))
    for minutes in (6, 3, 3):
        await world.resolve()
        await world.passes(minutes=minutes)
        await world.fire()
        await world.settle()
        assert (world.incident.handed_over, world.incident.reason) == (True, "ladder_exhausted")
    assert world.switch.log == ["primary=mock", "primary=None"]


@virtually
async def test_forty_three_seconds_of_calm_never_take_anything_back():
    """7. A connection was away for 43 seconds; what was done about it in those took a day to put right."""
    world = await firing()
    await world.resolve()
    await world.passes(seconds=43)
    await world.fire()
    await world.passes(hours=1)
    assert world.incident.phase is Phase.MITIGATED
    assert world.switch.log == ["mode=mock"]


def test_a_destructive_step_never_loads_without_asking_a_person(tmp_path):
    """7. What cannot be taken back was nobody's decision."""
    wipe = "ladder:\n  - do: [{wipe: 'systemd://db'}]"
    (found,) = problems(tmp_path, {"p/a.yaml": rule_file(wipe)})
    assert "`wipe` is destructive and needs an approval" in found
    (loaded,) = read(tmp_path, {"p/a.yaml": rule_file(wipe + "\n    approval: {timeout: 10m}")}).rules
    assert (loaded.ladder[0].approval, loaded.ladder[0].once) == (TEN, True)


@virtually
async def test_silence_never_means_yes():
    """7. And nobody's answer is no."""
    world = await firing(ASKS)
    await world.passes(minutes=11)
    assert world.incident.reason == "approval_expired"
    with pytest.raises(NotPossible):
        await world.orders.approve(world.incident.id, "late")
    assert not world.switch.log


@pytest.mark.parametrize(("broken", "repaired"), [(3, 3), (10, 10), (11, 0), (300, 0)])
@virtually
async def test_the_more_is_broken_the_less_is_ever_done(broken, repaired):
    """8. All nodes looked for new mirrors at once, and what was left of the network went down with them."""
    world = await World((per_host(limits=replace(GENEROUS, storm=Limits().storm)),)).start()
    await world.fire(*hosts(broken))
    await world.passes(minutes=5)
    assert acted(world) == repaired


@pytest.mark.parametrize("pattern", ["app", "switch:mode", "switch:*"])
@virtually
async def test_what_is_protected_is_never_touched(pattern):
    """9. A clean-up by age deleted the images that everything was built from."""
    world = await firing(rule(limits=Limits(protected=(pattern,))))
    assert (world.incident.handed_over, world.incident.reason) == (True, "protected_target")
    assert not world.switch.log


def test_a_rule_never_lifts_the_protection_that_the_site_gives(tmp_path):
    """9. Nor does who writes the rule for the clean-up decide what it must spare."""
    site = SITE + "defaults: {guard: {protected: ['db://*']}}\n"
    body = rule_file("do: [{restart: 'systemd://x'}]\nguard: {protected: []}")
    (loaded,) = read(tmp_path, {"site.yaml": site, "p/a.yaml": body}).rules
    assert loaded.limits.protected == ("db://*",)


@virtually
async def test_nothing_is_ever_changed_unseen():
    """10. Machines that were in use were installed anew: nobody looked before."""
    world = World()

    async def blind(*_: object) -> None:
        raise PermanentError("nobody answers")

    world.switch.observe = blind
    await world.start()
    await world.fire()
    await world.passes(minutes=1)
    assert world.incident.handed_over
    assert not world.switch.log


async def test_what_changed_after_it_was_looked_at_is_never_overwritten(tmp_path):
    """10. Nor does a look from before count: the old value must still be there at the moment of the change."""
    path = tmp_path / "app.env"
    path.write_text("A=1\n")
    params = Flag.params(at=f"env://{path}", set={"A": "x"})
    before = await Flag(None).observe(params, NOW)
    path.write_text("A=theirs\n")
    with pytest.raises(TemporaryError, match="A was changed by somebody else"):
        await Flag(None).run(params, before, NOW)
    assert path.read_text() == "A=theirs\n"


@pytest.mark.parametrize("count", ["-2", "-20"])
async def test_a_typo_never_takes_away_more_than_the_floor_allows(count):
    """11. One wrong number in a command took away far more servers than was meant."""
    params = Scale.params(at="fly://hotel", count=count, min=2, max=9)
    with pytest.raises(PermanentError, match="would not be within 2 and 9"):
        await Scale(None).run(params, {"size": 3}, NOW)


@virtually
async def test_no_more_is_ever_taken_out_at_once_nor_in_an_hour_than_the_bounds_allow():
    """11. Neither was there a limit on how fast, nor on how many had to remain."""
    radius = BlastRadius(10, Fraction(3, 10))
    world = await World((per_host(limits=replace(GENEROUS, blast_radius=radius)),)).start()
    await world.fire(*hosts(10))
    await world.passes(hours=2)
    assert sum(value == "mock" for value in world.switch.values.values()) == 3
    hurried = await World((per_host(limits=replace(GENEROUS, budget=Rate(2, HOUR))),)).start()
    await hurried.fire(*hosts(10))
    await hurried.passes(minutes=59)
    assert len(hurried.switch.log) == 2


@virtually
async def test_no_run_is_ever_over_without_its_whole_story():
    """12. The incident was automated, and with it went what people would have learnt from it."""
    world = await firing(rule(ladder=(replace(MOCK, approval=TEN),)))
    name = world.incident.id
    await world.orders.approve(name, "ann", "looks right")
    await world.settle()
    await world.resolve()
    await world.passes(minutes=7)
    story = await world.journal.timeline(name)
    assert [e.seq for e in story] == list(range(1, len(story) + 1))
    assert [e.at for e in story] == sorted(e.at for e in story)
    told = {e.kind: e.detail for e in story}
    assert (told[K.APPROVED]["by"], told[K.APPROVED]["why"]) == ("ann", "looks right")
    assert [e.detail["text"] for e in story if e.kind is K.STEP_STARTED] == [
        "switch: mode to mock",
        "kick: mode to on",
        "take back switch: mode to mock",
        "kick: mode to on",
    ]
    assert {e.detail["why"] for e in story if e.kind is K.PROBE_HEALTHY} == {
        "ready is healthy",
        "cause is healthy",
    }
    assert (story[0].kind, told[K.CLOSED]["outcome"]) == (K.OPENED, "recovered")
