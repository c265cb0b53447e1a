"""What is decided at once when an incident opens: the same as would be decided a moment later, whatever the circumstances."""

import itertools

import pytest
from tests.timelines import START, Timeline, rule
from tests.virtual import virtually
from tests.world import World, alert, rule as acting

from stopgap.decide import decide
from stopgap.foregone import foregone
from stopgap.incident import EventKind as K
from stopgap.ledger import Brake, BrakeScope
from stopgap.moves import Circumstances, Record
from stopgap.rule import Mode
from stopgap.storm import Storm

BRAKE = Brake(BrakeScope.GLOBAL, "", "me", "why", START)
STORM = Storm(START, 99, START)
SURROUNDINGS = [
    {"brake": brake, "storm": storm, "doubt": doubt, "silenced": silenced, "bound": bound}
    for brake, storm, doubt, silenced, bound in itertools.product(
        (None, BRAKE), (None, STORM), ("", "old"), (False, True), Mode
    )
]


@pytest.mark.parametrize(
    ("ladder", "flaw"), [("none", ""), ("none", "unsafe_label"), ("some", "empty_target")]
)
@pytest.mark.parametrize("opening", [{}, {"follows": "INC-0", "flaps": 2, "rung": 1}, {"mode": "shadow"}])
def test_what_is_certain_before_an_incident_opens_is_what_is_decided_afterwards_in_all_circumstances(
    ladder, flaw, opening
):
    of = rule(ladder=()) if ladder == "none" else rule()
    (said,) = foregone(of, flaw, START)
    state = Timeline(of).opens(flaw=flaw, **opening).state
    for more in SURROUNDINGS:
        assert decide(state, of, Circumstances(START, **more)) == Record(((said.kind, said.detail),))
    assert (said.kind, said.at) == (K.HANDED_OVER, START)


def test_nothing_is_certain_of_a_rule_that_may_act():
    assert foregone(rule(), "", START) == ()


@virtually
async def test_an_incident_that_people_only_are_told_of_opens_and_is_handed_over_in_one_commit():
    world = World((acting(ladder=()),))
    await world.start()
    committed = []
    append = world.journal.append

    async def appending(what):
        committed.append(what)
        return await append(what)

    world.journal.append = appending
    await world.fire(alert())
    await world.settle()
    assert world.words == ["opened", "handed_over"]
    assert committed == []
    await world.fire(alert(instance="two"))
    assert world.words == ["opened", "handed_over", "alert_joined"]
