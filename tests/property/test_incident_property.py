"""Any world ends: whatever alerts, people, brakes, crashes and outcomes do, the incident keeps its promises and closes."""

from dataclasses import replace
from datetime import timedelta
from itertools import accumulate

from hypothesis import HealthCheck, given, settings, strategies as st
from tests.property.incident_world import World
from tests.timelines import BRAKE, START

from stopgap.decide import decide
from stopgap.incident import Incident, Outcome, Phase, holdings
from stopgap.moves import Circumstances, Wait
from stopgap.rule import Mode
from stopgap.storm import Storm
from stopgap.transitions import apply, fold, resume

worlds = st.integers(0, 2**32).map(World)  # even chances, which a drawn Random would not give
thorough = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@thorough
@given(worlds, st.integers(0, 80))
def test_whatever_happened_it_closes_once_all_is_well_and_a_person_answered(world, moves):
    world.lives(moves)
    world.calms_down()
    assert world.closed
    assert isinstance(world.state.outcome, Outcome)
    assert holdings(world.state) == frozenset()
    assert world.next() == Wait()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds, st.integers(0, 80))
def test_while_an_alert_fires_and_all_else_is_well_it_helps_or_a_person_has_it(world, moves):
    world.lives(moves)
    if world.closed:
        return
    world.fires_on()
    state = world.state
    assert world.closed or state.phase is Phase.MITIGATED or state.handed_over or not state.applying


@thorough
@given(worlds, st.integers(0, 120))
def test_a_crash_at_any_line_loses_nothing_that_the_timeline_says(world, moves):
    world.lives(moves)
    told = fold(world.state.id, world.events)
    assert replace(told, probes={}) == replace(world.state, probes={})
    storm = Storm(START, 12, world.now + timedelta(minutes=1))
    circumstances = (
        Circumstances(world.now),
        Circumstances(world.now, brake=BRAKE),
        Circumstances(world.now, storm=storm, rule_removed=True, silenced=True, doubt="who knows"),
        Circumstances(world.now, bound=Mode.SHADOW, retry_at=world.now),
    )
    for state in accumulate(world.events, apply, initial=Incident(world.state.id)):
        for at in circumstances:
            decide(resume(state, world.now), world.rule, at)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds, st.integers(0, 60), st.sampled_from(["unhealthy", "unknown", "mixed"]), st.booleans())
def test_six_hours_of_trouble_are_no_busy_loop_and_take_nothing_back_unproven(world, moves, trouble, over):
    world.lives(moves)
    world.calm = True
    if over and not world.closed:
        world.end_alerts()
    mixed = ["healthy", "healthy", "unhealthy", "unknown"]
    world.verdict = lambda: world.chance.choice(mixed) if trouble == "mixed" else trouble
    until = world.now + timedelta(hours=6)
    while world.now < until and not world.closed:
        world.does(world.next())
