"""May we act? Each guard says no with its name, its numbers, and when to ask again."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.timelines import START

from stopgap.guard import GUARDS, WAITS, Reason, Refusal, Request, check
from stopgap.ledger import Brake, BrakeScope, Ledger

MINUTE = timedelta(minutes=1)
REQUEST = Request(
    "INC-2", "pack/rule", "app", take=("target:app", "r0"), first=True, cooldown=timedelta(minutes=10)
)


def brake(scope: BrakeScope = BrakeScope.GLOBAL, name: str = "", **changes) -> Brake:
    return Brake(scope, name, "ann", "too much at once", START, **changes)


def test_an_empty_ledger_refuses_nothing():
    assert check(REQUEST, Ledger(), START) is None


# --- brake ---


@pytest.mark.parametrize(
    ("scope", "name", "stops"),
    [
        (BrakeScope.GLOBAL, "", True),
        (BrakeScope.PACK, "pack", True),
        (BrakeScope.PACK, "other", False),
        (BrakeScope.RULE, "pack/rule", True),
        (BrakeScope.RULE, "rule", False),
        (BrakeScope.TARGET, "app", True),
        (BrakeScope.TARGET, "db", False),
    ],
)
def test_a_brake_stops_what_its_scope_names(scope, name, stops):
    refusal = check(REQUEST, Ledger((brake(scope, name),)), START)
    assert (refusal is not None) is stops


def test_a_brake_says_who_why_and_until_when():
    endless = check(REQUEST, Ledger((brake(BrakeScope.PACK, "pack"),)), START)
    assert endless == Refusal(Reason.BRAKE, "pack pack brake by ann, until released: too much at once")
    ending = check(REQUEST, Ledger((brake(until=START + MINUTE),)), START)
    assert ending == Refusal(
        Reason.BRAKE, "global brake by ann, until 2026-11-21 09:01:00Z: too much at once", START + MINUTE
    )


def test_a_brake_that_has_ended_stops_nothing():
    assert check(REQUEST, Ledger((brake(until=START),)), START) is None


def test_a_person_passes_the_brake_and_no_other_guard():
    order = replace(REQUEST, person=True)
    assert check(order, Ledger((brake(),)), START) is None
    assert check(order, Ledger(holders={"target:app": "INC-1"}), START).reason is Reason.TARGET_BUSY


# --- cooldown ---


@pytest.mark.parametrize(
    ("ago", "changes", "refused"),
    [
        (timedelta(minutes=4), {}, True),
        (timedelta(minutes=10) - timedelta(milliseconds=1), {}, True),
        (timedelta(minutes=10), {}, False),
        (timedelta(minutes=4), {"first": False}, False),
        (timedelta(minutes=4), {"follows": "INC-1"}, False),
        (timedelta(minutes=4), {"cooldown": timedelta()}, False),
    ],
)
def test_cooldown_delays_only_the_first_rung_of_what_is_no_flap(ago, changes, refused):
    refusal = check(replace(REQUEST, **changes), Ledger(acted_at=START - ago), START)
    assert (refusal is not None) is refused


def test_cooldown_says_its_numbers_and_its_end():
    refusal = check(REQUEST, Ledger(acted_at=START - timedelta(minutes=4, milliseconds=3)), START)
    assert refusal.reason is Reason.COOLDOWN
    assert refusal.text == "acted 4m ago, cooldown 10m, over in 6m"
    assert refusal.until == START + timedelta(minutes=6) - timedelta(milliseconds=3)


# --- one actor per target, one holder per resource ---


@pytest.mark.parametrize(
    ("holders", "reason", "text"),
    [
        ({"target:app": "INC-1"}, Reason.TARGET_BUSY, "INC-1 is acting on app"),
        ({"r0": "INC-1"}, Reason.RESOURCE_HELD, "INC-1 holds r0"),
        ({"target:app": "INC-3", "r0": "INC-1"}, Reason.TARGET_BUSY, "INC-3 is acting on app"),
    ],
)
def test_what_another_incident_holds_is_refused_with_its_name(holders, reason, text):
    assert check(REQUEST, Ledger(holders=holders), START) == Refusal(reason, text)


@pytest.mark.parametrize("holders", [{"r1": "INC-1"}, {"target:db": "INC-1"}])
def test_what_is_not_asked_for_does_not_matter(holders):
    assert check(REQUEST, Ledger(holders=holders), START) is None


# --- all of them ---


def test_guards_are_asked_in_their_order():
    everything = Ledger((brake(),), {"target:app": "INC-1", "r0": "INC-1"}, START)
    assert list(GUARDS) == [Reason.BRAKE, Reason.COOLDOWN, Reason.TARGET_BUSY, Reason.RESOURCE_HELD]
    assert check(REQUEST, everything, START).reason is Reason.BRAKE


def test_what_a_guard_refuses_can_be_lifted():
    assert set(GUARDS) <= WAITS
