"""What a guard counts, and what an approval is bound to: numbers and secrets that must not slip through."""

from dataclasses import replace
from datetime import timedelta

from pydantic import SecretStr
from tests.unit.test_explain_reasons import about_alert
from tests.virtual import virtually
from tests.world import GENEROUS, World, alert, rule, step

from stopgap.actions.flag import FlagParams
from stopgap.incident import EventKind as K
from stopgap.petition import digest_of
from stopgap.plan import Plan, PlannedStep
from stopgap.probe import Verdict
from stopgap.rate import Rate
from stopgap.rule import Circuit, Mode, RungSpec
from stopgap.template import compile_tree


def _flag(word: str) -> Plan:
    given = {"at": "env:///etc/x.env", "set": {"URL": SecretStr(word)}, "back_to": {"URL": SecretStr("old")}}
    params = FlagParams.model_validate(given)
    return Plan((), (PlannedStep(None, params, step(action="flag")),), (), (), (), (True,))


def test_an_approval_does_not_cover_another_secret():
    assert digest_of(_flag("one"), []) != digest_of(_flag("two"), [])
    assert digest_of(_flag("one"), []) == digest_of(_flag("one"), [])


def test_an_approval_of_a_secret_does_not_cover_its_mask():
    assert digest_of(_flag("**********"), []) != digest_of(_flag("one"), [])


@virtually
async def test_a_circuit_of_more_failures_than_are_told_opens_all_the_same():
    day = timedelta(days=1)
    world = await World((rule(limits=replace(GENEROUS, circuit=Circuit(Rate(60, day), day))),)).start()
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    for _ in range(60):
        await world.fire()
        await world.passes(minutes=3)
        await world.resolve()
        await world.settle()
    await world.fire()
    await world.settle()
    assert world.incident.reason == "circuit_open"


@virtually
async def test_a_shadow_says_that_a_hostile_label_would_hand_it_over_and_tries_no_further_rung():
    params, _ = compile_tree({"to": "mock", "name": "{{ labels.who }}"})
    hostile = RungSpec("hostile", do=(replace(step(), params=params),))
    held = RungSpec("held", do=(step(),))
    world = await World((rule(ladder=(hostile, held), limits=GENEROUS, mode=Mode.SHADOW),)).start()
    told = await about_alert(world, alert(who="x; rm -rf / $(id)"))
    said = told.courses[0].next.text
    assert said.startswith("only write down that unsafe_label at rung 'hostile' hands it over: shadow")
    await world.fire(alert(who="x; rm -rf / $(id)"))
    await world.settle()
    (planned,) = (e.detail for e in world.journal.timelines[world.incident.id] if e.kind is K.SHADOW_PLANNED)
    assert planned["refusal"].startswith("unsafe_label: ")
    assert "name" not in planned
    assert [told["name"] for told in planned["ladder"]] == ["hostile"]
    assert not world.journal.permits
