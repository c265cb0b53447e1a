"""What a guard counts, and what an approval is bound to: numbers and secrets that must not slip through."""

from dataclasses import replace
from datetime import timedelta

from pydantic import SecretStr
from tests.virtual import virtually
from tests.world import GENEROUS, World, rule, step

from stopgap.actions.flag import FlagParams
from stopgap.petition import digest_of
from stopgap.plan import Plan, PlannedStep
from stopgap.probe import Verdict
from stopgap.rate import Rate
from stopgap.rule import Circuit


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
