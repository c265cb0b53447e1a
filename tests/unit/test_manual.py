"""Manual steps: a person is asked, the ladder waits for the word, and nobody waits for ever."""

from datetime import timedelta

import pytest
from tests.virtual import virtually
from tests.world import World, alert, probe, rule, step

from stopgap.actions import Manual
from stopgap.escalation import Due
from stopgap.incident import EventKind as K, Phase
from stopgap.messages import Occasion, compose
from stopgap.orders import NotPossible
from stopgap.probe import Verdict
from stopgap.rule import RungSpec, StepSpec

KEYS = StepSpec("manual", {"say": "rotate the keys"}, timeout=timedelta(minutes=30))
RELOAD = StepSpec("manual", {"say": "reload it"}, timeout=timedelta(minutes=30))


async def world(*steps: StepSpec, **more) -> World:
    made = World((rule(ladder=(RungSpec("keys", do=steps, verify=(probe("ready"),), **more),)),))
    made.catalog.actions["manual"] = Manual(None)
    await made.start()
    await made.fire()
    await made.settle()
    return made


@virtually
async def test_the_ladder_waits_until_a_person_says_that_it_is_done_and_then_verifies():
    made = await world(KEYS, step())
    await made.passes(minutes=20)
    assert (made.incident.phase, made.switch.log) == (Phase.MITIGATING, [])
    assert str(made.incident.by_hand) == "0/0/do"
    await made.orders.done(made.incident.id, "ann", "with the console")
    await made.passes(minutes=1)
    assert (made.incident.phase, made.switch.log, made.incident.by_hand) == (
        Phase.MITIGATED,
        ["mode=mock"],
        None,
    )


@virtually
async def test_nobody_did_it_in_time_is_a_failed_step_and_what_came_before_is_taken_back():
    made = await world(step(), KEYS)
    await made.passes(minutes=31)
    whys = [event.detail.get("why") for event in made.journal.timelines[made.incident.id]]
    assert "nobody said within 30m that it was done" in whys
    assert made.switch.log == ["mode=mock", "mode=normal"]
    assert made.incident.handed_over


@virtually
async def test_the_wait_for_a_person_survives_a_crash_with_its_time():
    made = await world(KEYS)
    await made.passes(minutes=20)
    await made.crash()
    await made.passes(minutes=5)
    assert made.words.count("step_started") == 1
    await made.passes(minutes=6)
    assert "step_failed" in made.words


@virtually
async def test_a_first_manual_step_takes_no_turn_from_those_that_act():
    made = await world(KEYS)
    assert made.engine.performer._steps.running == set()
    assert not made.engine.acting(made.incident.id)


@virtually
async def test_once_the_alerts_are_over_nobody_needs_to_do_it():
    made = await world(KEYS)
    made.say.verdicts["ready"] = Verdict.HEALTHY
    await made.resolve()
    await made.passes(minutes=30)
    assert "step_skipped" in made.words
    assert made.words[-1] == "closed"


@virtually
async def test_a_person_may_take_back_what_was_done_before_the_manual_step():
    made = await world(step(), KEYS)
    await made.orders.revert(made.incident.id, "ann", "wrong way")
    await made.settle()
    assert made.switch.log == ["mode=mock", "mode=normal"]


async def reloaded(**more) -> World:
    """Return a world in which a person has made effective what a step set."""
    made = await world(step(), activate=(RELOAD,), **more)
    await made.orders.done(made.incident.id, "ann")
    await made.passes(minutes=1)
    assert made.incident.phase is Phase.MITIGATED
    return made


@virtually
async def test_what_a_person_made_effective_a_person_makes_effective_again_once_it_is_back():
    made = await reloaded()
    await made.resolve()
    await made.passes(minutes=8)
    assert (made.switch.log[-1], str(made.incident.by_hand)) == ("mode=normal", "0/0/reactivate")
    await made.orders.done(made.incident.id, "ann")
    await made.settle()
    assert made.outcome() == ["recovered"]


@virtually
async def test_a_person_who_takes_it_back_may_say_that_it_is_effective_again():
    made = await reloaded()
    await made.orders.revert(made.incident.id, "ann", "wrong way")
    await made.settle()
    await made.orders.done(made.incident.id, "bob")
    await made.settle()
    assert (made.words[-2:], made.incident.by_hand) == (["manual_done", "reverted"], None)


@virtually
async def test_what_nobody_made_effective_again_is_handed_over():
    made = await reloaded()
    await made.resolve()
    await made.passes(minutes=40)
    assert (made.incident.stuck, made.incident.reason) == (True, "revert_failed")
    assert "revert_failed" in made.words


@virtually
async def test_where_no_step_waits_there_is_nothing_done():
    made = await world(step())
    with pytest.raises(NotPossible, match="no step waits for a person"):
        await made.orders.done(made.incident.id, "ann")


@virtually
async def test_an_optional_manual_step_that_nobody_did_stops_nothing():
    optional = StepSpec("manual", {"say": "warm the cache"}, timeout=timedelta(minutes=5), optional=True)
    made = await world(optional, step())
    await made.passes(minutes=6)
    assert made.switch.log == ["mode=mock"]


@virtually
async def test_the_message_says_what_is_to_be_done_and_how_to_say_so():
    made = await world(KEYS)
    (event,) = [e for e in made.journal.timelines[made.incident.id] if e.kind is K.STEP_STARTED]
    due = Due("oncall", "step_started", of=event.seq)
    about = Occasion(made.engine.rule_of(made.incident), made.incident, due, made.clock.now(), event)
    title, body = compose(about)
    assert "needs a person" in title
    assert "by hand: rotate the keys" in body
    assert f"then say: stopgap done {made.incident.id}" in body


@virtually
async def test_a_second_alert_does_not_ask_twice():
    made = await world(KEYS)
    await made.fire(alert(host="b"))
    await made.passes(minutes=5)
    assert made.words.count("step_started") == 1
