"""The escalation matrix of Agente Hotel, as its handbook has it, through the real engine on virtual time.

The rules' `escalate` are those that ship; what they do is left to a switch and to probes whose answers the test sets.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.telling import DEFAULT, Company, People
from tests.virtual import virtually
from tests.world import START, rule

from stopgap.config import load
from stopgap.errors import TemporaryError
from stopgap.ledger import Brake, BrakeScope
from stopgap.probe import Verdict
from stopgap.stock import bare_context, build_catalog

RULES = Path(__file__).parents[2] / "rules"
SHIPPED = {each.name: each for each in load(RULES, build_catalog(bare_context()), environ={}).rules}
CONTACTS = {name for each in SHIPPED.values() for entry in each.escalate for name in entry.notify}

MATRIX = [
    # the rule,           first response, escalate after, next level
    ("pms-mock-mode", "oncall", 15, "pms-team-lead"),
    ("database-restart", "oncall", 10, "database-lead"),
    ("latency-relief", "performance", 20, "architecture"),
    ("traffic-headroom", "oncall", 60, "capacity"),
]
HELD_BACK = [row for row in MATRIX if row[0] != "traffic-headroom"]
PAGE = 5  # minutes until the first responder hears of what is not mitigated


async def hotel(name):
    """Start a company with the escalation of one rule of the pack."""
    shipped = SHIPPED[name]
    made = rule(
        name,
        escalate=shipped.escalate,
        messages=shipped.messages,
        severities=shipped.severities,
        summary=shipped.summary,
    )
    world = Company((made,), people=People(DEFAULT, *CONTACTS))
    return await world.start()


def told(world, contact):
    """Return after how many minutes a contact was told, in whole ones."""
    return [
        int(at // 60)
        for at, name in zip(world.people.times, world.people.who, strict=True)
        if name == contact
    ]


async def is_stopped(world):
    """Fire while a brake keeps everything from happening."""
    await world.engine.brake(Brake(BrakeScope.GLOBAL, "", "ann", "migration", START))
    await world.fire()


@pytest.mark.parametrize(("name", "first", "minutes", "then"), MATRIX)
@virtually
async def test_what_nothing_mitigates_reaches_the_next_level_in_its_time_and_once(name, first, minutes, then):
    world = await hotel(name)
    await is_stopped(world)
    await world.passes(minutes=minutes - 1, seconds=50)
    assert (told(world, first), told(world, then)) == ([PAGE], [])
    await world.passes(seconds=20)
    assert told(world, then) == [minutes]
    await world.passes(hours=10)
    assert (told(world, first), told(world, then)) == ([PAGE], [minutes])
    await world.stop()


@pytest.mark.parametrize(("name", "first", "minutes", "then"), MATRIX)
@virtually
async def test_an_acknowledgement_in_time_keeps_it_from_the_next_level(name, first, minutes, then):
    world = await hotel(name)
    await is_stopped(world)
    await world.passes(minutes=minutes - 1)
    await world.orders.acknowledge(world.incident.id, "ann")
    await world.passes(hours=10)
    assert told(world, then) == []
    await world.stop()


@pytest.mark.parametrize(("name", "first", "minutes", "then"), HELD_BACK)
@virtually
async def test_a_mitigation_that_holds_keeps_it_from_the_next_level(name, first, minutes, then):
    world = await hotel(name)
    await world.fire()
    await world.passes(hours=3)
    assert (world.incident.phase, told(world, first), told(world, then)) == ("mitigated", [0], [])
    await world.stop()


@virtually
async def test_traffic_that_lasts_an_hour_reaches_capacity_planning_even_if_it_is_mitigated():
    world = await hotel("traffic-headroom")
    await world.fire()
    await world.passes(minutes=59)
    assert (world.incident.phase, told(world, "capacity")) == ("mitigated", [])
    await world.passes(minutes=2)
    assert told(world, "capacity") == [60]
    await world.stop()


@virtually
async def test_traffic_that_is_over_within_the_hour_does_not():
    world = await hotel("traffic-headroom")
    await world.fire()
    await world.passes(minutes=30)
    await world.resolve()
    await world.passes(hours=2)
    assert told(world, "capacity") == []
    await world.stop()


@pytest.mark.parametrize(("name", "first", "minutes", "then"), MATRIX)
@virtually
async def test_when_nothing_helps_the_first_response_hears_it_at_once_and_the_next_level_in_its_time(
    name, first, minutes, then
):
    world = await hotel(name)
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    await world.fire()
    await world.passes(minutes=3)
    assert "handed_over" in world.words
    assert told(world, first) == [1]
    assert told(world, DEFAULT) == []
    await world.passes(minutes=minutes)
    assert told(world, then) == [minutes]
    await world.stop()


@virtually
async def test_a_mitigation_that_is_lost_goes_on_where_the_clock_stood():
    world = await hotel("pms-mock-mode")
    await is_stopped(world)
    await world.passes(minutes=10)
    await world.engine.release(BrakeScope.GLOBAL, "", "ann")
    await world.passes(minutes=60)
    assert told(world, "pms-team-lead") == []
    world.say.verdicts["ready"] = Verdict.UNHEALTHY
    await world.passes(minutes=3)
    assert "mitigation_lost" in world.words
    await world.passes(minutes=6)
    (at,) = told(world, "pms-team-lead")
    assert 77 <= at <= 78, "after ten minutes, an hour of quiet, three to be sure, and five more"
    await world.stop()


@virtually
async def test_a_daemon_that_was_away_when_the_clock_rang_rings_when_it_is_back():
    world = await hotel("database-restart")
    await is_stopped(world)
    await world.passes(minutes=8)
    await world.teller.kill()
    await world.passes(minutes=12)
    await world.crash()
    await world.settle()
    assert told(world, "database-lead") == [20]
    await world.stop()


@virtually
async def test_the_pms_team_hears_at_once_that_its_breaker_is_open_and_its_customers_what_they_see():
    world = await hotel("pms-mock-mode")
    await world.fire()
    await world.passes(minutes=30)
    assert told(world, "pms-team") == [0, 0]
    await world.resolve()
    await world.passes(minutes=30)
    assert [title for name, title, _ in world.people.told if name == "customers"] == [
        "Availability checks are degraded",
        "Availability checks are as usual",
    ]
    assert told(world, "pms-team-lead") == [], "who heard of no beginning hears of no end"
    await world.stop()


@virtually
async def test_customers_who_were_never_told_hear_of_no_end():
    world = await hotel("pms-mock-mode")
    await is_stopped(world)
    await world.passes(minutes=1)
    await world.resolve()
    await world.passes(minutes=30)
    assert world.outcome() == ["self_resolved"]
    assert told(world, "customers") == []
    await world.stop()


@virtually
async def test_a_rehearsal_in_shadow_says_so_and_wakes_no_next_level():
    world = await hotel("pms-mock-mode")
    world.rules = (replace(world.rules[0], mode="shadow", version="shadow"),)
    await world.crash()
    await world.fire()
    await world.passes(hours=2)
    assert {title.split()[0] for _, title, _ in world.people.told} == {"[SHADOW]"}
    assert told(world, "pms-team-lead") == []
    await world.stop()


@virtually
async def test_a_lead_who_cannot_be_reached_is_said_to_the_default_contact():
    world = await hotel("database-restart")
    world.people.dead["database-lead"] = TemporaryError("no answer")
    await is_stopped(world)
    await world.passes(minutes=30)
    assert [title for name, title, _ in world.people.told if name == DEFAULT] == [
        "[P0] test/database-restart on app: database-lead could not be told (after 10m)"
    ]
    await world.stop()
