"""Between the decision and the act: what came meanwhile must count."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

from tests.unit.test_engine_guards import GENEROUS, HOUR, acted, hosts, per_host
from tests.virtual import virtually
from tests.world import MOCK, Switch, World, alert, book, probe, rule, step

from stopgap.incident import Phase
from stopgap.intake import SLICE
from stopgap.ledger import Brake, BrakeScope
from stopgap.probe import Finding, Verdict
from stopgap.rate import Rate
from stopgap.rule import AtOnce, BlastRadius, Limits, Mode, RungSpec, Windows
from stopgap.terms import Terms
from stopgap.window import parse_window


def long(spec, seconds=3600):
    return replace(spec, timeout=timedelta(seconds=seconds))


def slow_rule(limits=GENEROUS):
    made = per_host(limits=limits)
    (rung,) = made.ladder
    return replace(made, ladder=(replace(rung, do=(long(rung.do[0]),)),))


def one_at_once(world):
    world.engine.performer.bound(AtOnce(1, 64))


def observes_slowly(world):
    """Let a look at the old value take a tenth of a second, as a process or a request does."""
    observe = world.switch.observe

    async def slowly(params, moment):
        await asyncio.sleep(0.1)
        return await observe(params, moment)

    world.switch.observe = slowly


@virtually
async def test_a_brake_stops_an_act_that_only_waits_for_its_turn():
    world = await World((slow_rule(),)).start()
    one_at_once(world)
    observes_slowly(world)
    world.switch.takes = 600.0
    await world.fire(*hosts(2))
    await world.settle()
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "ann", "stop it all", world.clock.now()))
    await world.passes(minutes=30)
    assert world.switch.log == ["mode of api/h0=mock"]  # the one that ran when the brake came


@virtually
async def test_the_undo_is_what_stood_there_right_before_the_act():
    world = await World((slow_rule(),)).start()
    one_at_once(world)
    observes_slowly(world)
    world.switch.takes = 600.0
    await world.fire(*hosts(2))
    await world.settle()
    world.switch.values["mode of api/h1"] = "changed by ann"  # nobody of ours has acted there yet
    await world.passes(minutes=30)
    second = next(
        n for (n, act), u in world.journal.undos.items() if world.engine.incidents[n].target == "api/h1"
    )
    assert world.journal.undos[second, "0/0/do"].before == "changed by ann"


@virtually
async def test_a_storm_that_begins_while_preconditions_are_asked_stops_the_start():
    limits = replace(GENEROUS, storm=Limits().storm)
    made = per_host(limits=limits)
    made = replace(made, ladder=(replace(made.ladder[0], only_if=(probe("first"),)),))
    world = World((made,))

    async def slowly(params, timeout):
        await asyncio.sleep(4)
        return Finding(Verdict.HEALTHY, "")

    world.say.ask = slowly
    await world.start()
    await world.fire(*hosts(5))
    await world.passes(seconds=1)
    await world.fire(*(alert(job="web", host=f"w{i}") for i in range(100)))
    await world.passes(seconds=1)
    assert world.engine.stormy
    await world.passes(minutes=1)
    assert acted(world) == 0


@virtually
async def test_a_rule_that_a_reload_removes_while_preconditions_are_asked_starts_nothing():
    made = rule(limits=GENEROUS)
    made = replace(made, ladder=(replace(made.ladder[0], only_if=(probe("first"),)),))
    world = World((made,))

    async def slowly(params, timeout):
        await asyncio.sleep(4)
        return Finding(Verdict.HEALTHY, "")

    world.say.ask = slowly
    await world.start()
    await world.fire()
    await world.passes(seconds=1)
    await world.engine.use(book())
    await world.passes(minutes=1)
    assert not world.switch.log


@virtually
async def test_a_daemon_that_stops_begins_no_new_rung():
    made = rule(limits=GENEROUS)
    made = replace(made, ladder=(replace(made.ladder[0], only_if=(probe("first"),)),))
    world = World((made,))

    async def slowly(params, timeout):
        await asyncio.sleep(4)
        return Finding(Verdict.HEALTHY, "")

    world.say.ask = slowly
    await world.start()
    await world.fire()
    await world.passes(seconds=1)
    await world.engine.stop()
    assert not world.switch.log


@virtually
async def test_a_daemon_that_stops_runs_nothing_that_only_waits_for_its_turn():
    world = await World((slow_rule(),)).start()
    one_at_once(world)
    world.switch.takes = 10.0
    await world.fire(*hosts(3))
    await world.settle()
    await world.engine.stop()
    assert len(world.switch.log) == 1


@virtually
async def test_a_reload_lets_no_more_acts_run_at_once():
    world = await World((slow_rule(),)).start()
    running = most = 0
    run = Switch.run

    async def counted(params, before, moment):
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await run(world.switch, params, before, moment)
        finally:
            running -= 1

    world.switch.run = counted
    world.switch.takes = 60.0
    await world.fire(*hosts(40))
    await world.settle()
    for _ in range(3):
        await world.engine.use(book(*world.rules))
        await world.fire(*(alert(job=f"x{_}", host=f"w{i}") for i in range(10)))
        await world.settle()
    assert most <= AtOnce().actions


@virtually
async def test_whoever_verifies_again_has_the_target_to_itself():
    first = rule(
        "first",
        limits=GENEROUS,
        ladder=(RungSpec("a", do=(step(),), verify=(probe("ready", within=timedelta(minutes=5)),)),),
    )
    second = rule(
        "second",
        limits=GENEROUS,
        match='alertname="Slow"',
        ladder=(
            RungSpec("b", do=(step(name="other"),), verify=(probe("ready", within=timedelta(minutes=5)),)),
        ),
    )
    world = await World((first, second)).start()
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.VERIFYING
    await world.resolve()
    await world.settle()
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.VERIFYING
    await world.fire(alert("Slow"))
    await world.settle()
    phases = {s.rule: s.phase for s in world.engine.incidents.values()}
    assert phases["test/second"] is Phase.WAITING, phases


@virtually
async def test_an_approval_binds_to_what_is_observed_right_before_the_act():
    world = await World((slow_rule(),), Terms(Mode.APPROVE)).start()
    one_at_once(world)
    await world.fire(*hosts(2))
    await world.settle()
    a, _ = world.engine.incidents
    world.switch.takes = 600.0
    observe = Switch.observe
    seen = []

    async def observed(params, moment):
        value = await observe(world.switch, params, moment)
        seen.append((params.name, value))
        if len(seen) == 1:  # somebody else changes it between the check of the approval and the commit
            world.switch.values[params.name] = "changed by ann"
        return value

    world.switch.observe = observed
    await world.orders.approve(a, "bob")
    await world.passes(minutes=30)
    assert seen[0][1] != seen[1][1]
    assert not world.engine.incidents[a].rungs, "acted on what nobody approved"


@virtually
async def test_alerts_that_keep_joining_do_not_keep_a_rung_from_starting():
    made = rule(limits=GENEROUS)
    made = replace(made, ladder=(replace(made.ladder[0], only_if=(probe("first"),)),))
    world = World((made,))

    async def slowly(params, timeout):
        await asyncio.sleep(2)
        return Finding(Verdict.HEALTHY, "")

    world.say.ask = slowly
    await world.start()
    for i in range(120):
        await world.fire(alert(instance=f"i{i}"))
        await world.passes(seconds=1)
    assert world.switch.log
    await world.engine.stop()  # it is just about to ask a probe


@virtually
async def test_what_is_left_of_a_budget_goes_to_the_most_severe_whatever_is_measured_first():
    limits = replace(GENEROUS, budget_global=Rate(1, HOUR))
    a = per_host("a", limits=replace(limits, blast_radius=BlastRadius("count(up)", 5)))
    b = per_host("b", alertname="Slow", limits=limits)
    world = World((a, b))

    async def measure(query, timeout):
        await asyncio.sleep(0.05)
        return 100.0

    from stopgap.catalog import Catalog

    world.catalog = Catalog(world.catalog.actions, world.catalog.probes, measure)
    world.engine = world._engine()
    await world.start()
    await world.fire(
        alert("Down", job="api", host="h", severity="critical"),
        alert("Slow", job="api", host="s", severity="info"),
    )
    await world.settle()
    (permit,) = world.journal.permits
    assert permit.rule == "test/a"


@virtually
async def test_a_storm_that_begins_while_the_old_value_is_observed_stops_the_start():
    world = World((per_host(limits=replace(GENEROUS, storm=Limits().storm)),))
    observe = world.switch.observe

    async def slowly(params, moment):
        await asyncio.sleep(4)
        return await observe(params, moment)

    world.switch.observe = slowly
    await world.start()
    await world.fire(*hosts(5))
    await world.passes(seconds=1)
    await world.fire(*(alert(job="web", host=f"w{i}") for i in range(100)))
    await world.passes(seconds=1)
    assert world.engine.stormy
    await world.passes(minutes=1)
    assert acted(world) == 0


class Claims:
    quiet = False

    def doubt(self, identifier):
        return ""

    def silenced(self, state):
        return self.quiet

    def repeated(self, fingerprint):
        pass

    def observe(self, line, state):
        pass


@virtually
async def test_a_silence_that_comes_while_preconditions_are_asked_stops_the_start():
    made = rule(limits=GENEROUS)
    made = replace(made, ladder=(replace(made.ladder[0], only_if=(probe("first"),)),))
    world = World((made,))

    async def slowly(params, timeout):
        await asyncio.sleep(4)
        return Finding(Verdict.HEALTHY, "")

    world.say.ask = slowly
    claims = Claims()
    world.engine.trust(claims)
    await world.start()
    await world.fire()
    await world.passes(seconds=1)
    claims.quiet = True
    world.engine.reconsider(list(world.engine.incidents))
    await world.passes(minutes=1)
    assert not world.switch.log


@virtually
async def test_a_target_that_a_reload_protects_while_a_rung_is_prepared_is_handed_over():
    made = per_host(limits=GENEROUS)
    (rung,) = made.ladder
    careful = replace(made, ladder=(replace(rung, only_if=(probe("fit"),)),))
    world = await World((careful,)).start()
    answer = world.say.ask

    async def slowly(*asked):
        await asyncio.sleep(1)
        return await answer(*asked)

    world.say.ask = slowly
    await world.fire(*hosts(1))
    await world.settle()
    protected = replace(careful, limits=replace(GENEROUS, protected=("api/*",)), version="v2")
    await world.engine.use(book(protected))
    await world.passes(seconds=5)
    assert (world.incident.handed_over, world.incident.reason) == (True, "protected_target")
    assert "refused" not in world.words


async def preparing(limits):
    """Return a world with a rung that is being prepared for a second, and its rule."""
    made = per_host(limits=limits)
    (rung,) = made.ladder
    careful = replace(made, ladder=(replace(rung, only_if=(probe("fit"),)),))
    world = await World((careful,)).start()
    answer = world.say.ask

    async def slowly(*asked):
        await asyncio.sleep(1)
        return await answer(*asked)

    world.say.ask = slowly
    await world.fire(*hosts(1))
    await world.settle()
    return world, careful


@virtually
async def test_a_population_that_a_reload_makes_smaller_while_a_rung_is_prepared_counts():
    world, careful = await preparing(replace(GENEROUS, blast_radius=BlastRadius(10, Fraction(1, 2))))
    smaller = replace(GENEROUS, blast_radius=BlastRadius(1, Fraction(1, 2)))
    await world.engine.use(book(replace(careful, limits=smaller, version="v2")))
    await world.passes(seconds=5)
    assert (world.switch.log, world.incident.reason) == ([], "blast_radius")


@virtually
async def test_a_population_that_a_reload_lets_be_measured_otherwise_is_not_known_yet():
    world, careful = await preparing(replace(GENEROUS, blast_radius=BlastRadius(10, Fraction(1, 2))))
    measured = replace(GENEROUS, blast_radius=BlastRadius("count(up)", Fraction(1, 2)))
    await world.engine.use(book(replace(careful, limits=measured, version="v2")))
    world.sizes["count(up)"] = 1.0
    await world.passes(seconds=5)
    assert (world.switch.log, world.incident.reason) == ([], "blast_radius")


@virtually
async def test_the_wall_clock_that_jumps_into_a_closed_window_while_a_rung_is_prepared_counts():
    world, _ = await preparing(replace(GENEROUS, windows=Windows((), (parse_window("12:00-13:00"),))))
    world.engine.skew = timedelta(hours=3, minutes=30)
    await world.passes(seconds=5)
    assert (world.switch.log, world.incident.reason) == ([], "outside_window")


def among_many(one):
    """Return a notification of more alerts than are looked at in one breath, with this one first."""
    return (one, *(alert("Other", number=str(i)) for i in range(SLICE * 3)))


@virtually
async def test_an_end_that_is_heard_of_while_a_large_notification_is_read_is_not_lost():
    world = await World((rule(limits=GENEROUS),)).start()
    reading = asyncio.create_task(world.engine.receive(among_many(alert())))
    await asyncio.sleep(0)
    await world.resolve()  # as another member of the cluster tells it
    await reading
    await world.settle()
    assert "alert_resolved" in world.words


@virtually
async def test_an_alert_that_fires_again_while_a_large_notification_of_its_end_is_read_is_not_lost():
    world = await World((rule(limits=GENEROUS),)).start()
    await world.fire()
    await world.settle()
    reading = asyncio.create_task(world.engine.receive(among_many(alert(firing=False))))
    await asyncio.sleep(0)
    await world.fire()
    await reading
    await world.settle()
    assert world.incident.firing


async def joined_while_asked(made, *ill):
    """Return a world of slow probes in which an alert joins every second, and never while nothing is asked."""
    world = await World((made,)).start()
    world.say.takes = 2.3
    world.say.verdicts |= dict.fromkeys(ill, Verdict.UNHEALTHY)
    for i in range(30):
        await world.fire(alert(instance=f"i{i}"))
        await world.passes(seconds=1)
    await world.engine.stop()
    return world


def careful_rule(**more):
    made = rule(limits=GENEROUS)
    return replace(made, ladder=(replace(made.ladder[0], only_if=(probe("fit"),), **more),))


@virtually
async def test_alerts_that_keep_joining_do_not_keep_a_person_from_being_asked():
    world = await joined_while_asked(careful_rule(approval=timedelta(hours=1)))
    assert "approval_requested" in world.words


@virtually
async def test_alerts_that_keep_joining_do_not_keep_a_rung_from_being_skipped():
    world = await joined_while_asked(careful_rule(), "fit")
    assert "rung_skipped" in world.words


@virtually
async def test_alerts_that_keep_joining_hide_no_answer_of_a_probe():
    world = await joined_while_asked(rule(limits=GENEROUS))
    assert "mitigated" in world.words
    lasting = replace(MOCK, verify=(probe("ready", for_=timedelta(seconds=9)),))
    world = await joined_while_asked(rule(limits=GENEROUS, ladder=(lasting,)))
    assert "mitigated" in world.words  # what it said again was noted, too
