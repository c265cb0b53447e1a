"""The straight way to the commit: where nobody is asked anything between the guards and the commit, they are asked there only."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.virtual import virtually
from tests.world import GENEROUS, MOCK, World, alert, probe, rule, step

from stopgap.incident import Phase
from stopgap.rate import Rate
from stopgap.rule import BlastRadius, Rule, RungSpec
from stopgap.template import compile_tree

ONE = replace(GENEROUS, budget_global=Rate(1, timedelta(hours=1)))
OTHER = RungSpec("other", do=(step("on", name="other"),))


async def sightless(*rules: Rule) -> World:
    """Return a world whose switch is not looked at before it is set; its journal counts what is read."""
    world = World(rules or (rule(),))
    world.switch.observes = lambda params: False  # type: ignore[attr-defined]
    world.reads = 0  # type: ignore[attr-defined]
    ledger = world.journal.ledger

    async def counted(request: Any) -> Any:
        world.reads += 1  # type: ignore[attr-defined]
        return await ledger(request)

    world.journal.ledger = counted  # type: ignore[method-assign]
    return await world.start()


@virtually
async def test_the_guards_of_an_act_that_looks_at_nothing_are_asked_in_the_commit_only():
    world = await sightless()
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED
    assert world.reads == 0


@virtually
async def test_the_guards_are_asked_once_more_before_anybody_outside_is():
    world = await sightless()
    world.switch.observes = lambda params: True
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED
    assert world.reads == 1


@virtually
async def test_what_is_measured_is_asked_about_again_when_it_is_known():
    blast = BlastRadius("count(up)", 3)
    world = await sightless(rule(limits=replace(GENEROUS, blast_radius=blast)))
    world.sizes["count(up)"] = 10
    await world.fire()
    await world.settle()
    assert world.incident.phase is Phase.MITIGATED
    assert world.reads == 2


@virtually
async def test_a_refusal_in_the_commit_is_told_and_keeps_from_acting():
    world = await sightless(rule(limits=replace(GENEROUS, protected=("a?p",))))
    await world.fire()
    await world.settle()
    assert world.incident.handed_over
    assert world.words[:2] == ["opened", "handed_over"]
    assert not world.switch.calls


@virtually
async def test_who_was_refused_is_asked_about_outside_of_the_commit_from_then_on():
    rules = (rule(), rule("other", match='alertname="Other"', ladder=(OTHER,)))
    world = await sightless(*rules)
    world.switch.takes = 20
    await world.fire(alert("Other"))
    await world.passes(seconds=1)
    await world.fire()
    await world.passes(seconds=1)
    (waiting,) = (state for state in world.engine.incidents.values() if state.rule == "test/mock")
    assert waiting.reason == "target_busy"
    assert world.reads == 0
    await world.passes(seconds=60)
    assert world.engine.incidents[waiting.id].phase is Phase.MITIGATED
    assert world.reads == 1


@virtually
async def test_nobody_goes_past_one_who_passed_the_guards_and_is_still_asking():
    careful = rule(limits=ONE, ladder=(replace(MOCK, only_if=(probe("first"),)),))
    quick = rule("quick", match='alertname="Quick"', target="elsewhere", ladder=(OTHER,), limits=ONE)
    world = await sightless(careful, quick)
    world.say.takes = 2
    await world.fire()
    await world.passes(seconds=1)
    await world.fire(alert("Quick"))
    await world.passes(seconds=9)
    assert [permit.rule for permit in world.journal.permits] == ["test/mock"]
    (late,) = (state for state in world.engine.incidents.values() if state.rule == "test/quick")
    assert late.reason == "budget_global"


@virtually
async def test_of_many_who_go_straight_the_most_severe_get_what_is_left():
    limits = replace(GENEROUS, budget=Rate(3, timedelta(hours=1)))
    params, _ = compile_tree({"to": "on", "name": "mode of {{ target }}"})
    each = RungSpec("each", do=(replace(step(), params=params),))
    world = await sightless(rule(target=None, per=("host",), ladder=(each,), limits=limits))
    await world.fire(
        *(alert(job="api", host=f"i{i}", severity="info") for i in range(4)),
        *(alert(job="api", host=f"c{i}", severity="critical") for i in range(2)),
        *(alert(job="api", host=f"w{i}", severity="warning") for i in range(4)),
    )
    await world.passes(minutes=1)
    assert sorted(permit.target for permit in world.journal.permits) == ["api/c0", "api/c1", "api/w0"]
