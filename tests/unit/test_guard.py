"""May we act? Each guard says no with its name, its numbers, and when to ask again."""

from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction

import pytest
from tests.timelines import START

from stopgap.guard import (
    FREED,
    GUARDS,
    SKIPS,
    WAITS,
    Extent,
    Reason,
    Refusal,
    Request,
    answers,
    check,
)
from stopgap.ledger import Brake, BrakeScope, Failure, Ledger
from stopgap.rate import Rate
from stopgap.rule import BlastRadius, Limits, Windows
from stopgap.storm import Storm
from stopgap.window import parse_window

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
REQUEST = Request("INC-2", "pack/rule", "app", take=("target:app", "r0"), starts=True, first=True)


def limited(**limits) -> Request:
    return replace(REQUEST, limits=Limits(**limits))


def ago(*minutes: float) -> tuple[datetime, ...]:
    return tuple(START - MINUTE * count for count in minutes)


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
        (timedelta(minutes=4), {"limits": Limits(cooldown=timedelta())}, False),
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


# --- protected targets ---


@pytest.mark.parametrize(
    ("pattern", "name"), [("app", "app"), ("a*", "app"), ("systemd:*", "systemd:postgresql.service")]
)
def test_a_protected_target_or_resource_is_never_touched(pattern, name):
    request = replace(limited(protected=("db-*", pattern)), touches=("systemd:postgresql.service",))
    refusal = check(request, Ledger(), START)
    assert refusal == Refusal(Reason.PROTECTED_TARGET, f"{name} is protected by {pattern!r}")


def test_a_pattern_that_fits_nothing_protects_nothing():
    assert check(limited(protected=("App", "db-*")), Ledger(), START) is None


# --- windows ---

SATURDAY = START  # 2026-11-21, 09:00 UTC, 10:00 in Madrid


@pytest.mark.parametrize(
    ("windows", "text", "hours"),
    [
        (Windows(deny=(parse_window("Sat 10:00-24:00 Europe/Madrid"),)), "denied Sat 10:00-24:00", 14),
        (Windows(allow=(parse_window("Mon-Fri 09:00-17:00"),)), "allowed only Mon-Fri 09:00-17:00", 48),
        (
            Windows((parse_window("09:00-12:00"),), (parse_window("08:00-09:30"),)),
            "denied 08:00-09:30, next at Sat 09:30Z in 30m",
            0.5,
        ),
    ],
)
def test_outside_its_window_a_rung_waits_for_the_next_one(windows, text, hours):
    refusal = check(limited(windows=windows), Ledger(), SATURDAY)
    assert refusal.reason is Reason.OUTSIDE_WINDOW
    assert text in refusal.text
    assert refusal.until == SATURDAY + timedelta(hours=hours)
    assert check(limited(windows=windows), Ledger(), refusal.until) is None


def test_windows_go_by_the_wall_clock_also_while_the_daemon_keeps_its_own_time():
    closed = limited(windows=Windows(deny=(parse_window("Sat 10:00-12:00"),)))
    assert check(closed, Ledger(), SATURDAY.replace(hour=9)) is None
    early = replace(closed, skew=HOUR)
    refusal = check(early, Ledger(), SATURDAY.replace(hour=9))
    assert refusal is not None
    assert refusal.until == SATURDAY.replace(hour=11)
    assert check(early, Ledger(), refusal.until) is None


def test_windows_that_never_open_say_so():
    never = Windows(deny=(parse_window("00:00-24:00"),))
    refusal = check(limited(windows=never), Ledger(), START)
    assert refusal.text == "denied 00:00-24:00, never within a week"
    assert refusal.until is None


def test_inside_its_window_a_rung_may_start():
    windows = Windows(allow=(parse_window("Sat 09:00-10:00"),))
    assert check(limited(windows=windows), Ledger(), START) is None


# --- storm ---


def test_a_storm_refuses_every_start_and_says_how_bad_it_is():
    storm = Storm(START - MINUTE * 2, 40, START + MINUTE * 13)
    refusal = check(replace(REQUEST, storm=storm), Ledger(), START)
    assert refusal == Refusal(
        Reason.STORM,
        "40 targets in 5m (more than 10 are a storm), since 2m, over in 13m at the earliest",
        START + MINUTE * 13,
    )


# --- yielding ---


def test_whoever_goes_first_is_waited_for():
    request = replace(REQUEST, yield_to=("pack/other",))
    assert check(request, Ledger(first="INC-1"), START) == Refusal(Reason.YIELDED, "INC-1 goes first on app")
    assert check(request, Ledger(), START) is None


# --- the circuit ---


def failures(*minutes: float) -> tuple[Failure, ...]:
    return tuple(Failure(f"INC-{count:g}", START - MINUTE * count) for count in minutes)


@pytest.mark.parametrize(
    ("failed", "open_for"),
    [
        ((), None),
        ((10,), None),
        ((10, 60), 1430),
        ((10, 371), None),
        ((365, 370), 1075),
        ((10, 400, 500), 1040),  # the last two that came together are what counts
        ((1440, 1441), None),
    ],
)
def test_incidents_that_did_not_hold_open_the_circuit_for_a_day(failed, open_for):
    refusal = check(REQUEST, Ledger(failures=failures(*failed)), START)
    assert (refusal and refusal.until) == (None if open_for is None else START + MINUTE * open_for)


def test_an_open_circuit_says_how_to_close_it():
    refusal = check(REQUEST, Ledger(failures=failures(12, 60)), START)
    assert refusal.reason is Reason.CIRCUIT_OPEN
    assert refusal.text == (
        "2 incidents on app did not hold (open from 2 in 6h), the last INC-12 12m ago: "
        "acknowledge this one to let it try, else closed in 23h48m"
    )


@pytest.mark.parametrize("changes", [{"acknowledged": True}, {"first": False}])
def test_the_circuit_lets_pass_what_a_person_has_seen_and_what_has_begun(changes):
    ledger = Ledger(failures=failures(12, 60))
    assert check(replace(REQUEST, **changes), ledger, START) is None


# --- budgets ---


@pytest.mark.parametrize(
    ("used", "starting", "refused"),
    [
        ((), 0, False),
        ((1, 2), 0, False),
        ((1, 2, 59.99), 0, True),
        ((1, 2, 60), 0, False),
        ((1, 2), 1, True),
        ((), 3, True),
    ],
)
@pytest.mark.parametrize("which", ["budget_rule", "budget_global"])
def test_a_budget_counts_the_starts_of_its_window(which, used, starting, refused):
    if which == "budget_rule":
        request, ledger = REQUEST, Ledger(permits=ago(*used), starting=starting)
    else:
        request = limited(budget_global=Rate(3, HOUR))
        ledger = Ledger(permits_global=ago(*used), starting_global=starting)
    refusal = check(request, ledger, START)
    assert (refusal is not None) is refused
    assert refusal is None or refusal.reason == which


def test_a_budget_says_what_is_used_and_when_it_is_free_again():
    refusal = check(REQUEST, Ledger(permits=ago(5, 20, 48)), START)
    assert refusal == Refusal(Reason.BUDGET_RULE, "3 of 3 used in 1h, next free in 12m", START + MINUTE * 12)
    crowded = check(REQUEST, Ledger(permits=ago(5, 48), starting=1), START)
    assert crowded.text == "2 of 3 used in 1h, 1 starting, next free in 12m"


@pytest.mark.parametrize("budget", [Rate(0, HOUR), Rate(2, HOUR)])
def test_a_budget_that_nothing_frees_has_no_end(budget):
    refusal = check(limited(budget=budget), Ledger(starting=2), START)
    assert refusal.until is None


# --- blast radius ---


@pytest.mark.parametrize(
    ("most", "total", "affected", "refused"),
    [
        (Fraction(30, 100), 10, 2, False),
        (Fraction(30, 100), 10, 3, True),
        (Fraction(29, 100), 100, 28, False),
        (Fraction(30, 100), 3, 0, True),
        (2, 100, 1, False),
        (2, 100, 2, True),
        (2, 0, 0, True),
        (Fraction(1), -3, 0, True),
        (5, 1, 0, True),
        (5, 2, 0, False),
        (5, 2, 1, True),
        (Fraction(1), 4, 3, True),
    ],
)
def test_no_more_of_a_population_is_touched_than_its_share(most, total, affected, refused):
    request = replace(limited(blast_radius=BlastRadius("count(up)", most)), extent=Extent(total))
    refusal = check(request, Ledger(affected=affected), START)
    assert (refusal is not None) is refused


@pytest.mark.parametrize(
    ("extent", "why"), [(None, "not measured"), (Extent(flaw="no answer in time"), "no answer in time")]
)
def test_a_population_of_unknown_size_is_left_alone(extent, why):
    request = replace(limited(blast_radius=BlastRadius("count(up)", 2)), extent=extent)
    assert check(request, Ledger(), START) == Refusal(Reason.BLAST_RADIUS, f"the total is not known: {why}")


def test_the_blast_radius_says_its_numbers():
    request = replace(limited(blast_radius=BlastRadius("count(up)", Fraction(3, 10))), extent=Extent(10))
    refusal = check(request, Ledger(affected=3), START)
    assert refusal.text == "3 of 3 targets held or acted upon (30% of 10)"


# --- all of them ---

EVERYTHING = {
    Reason.BRAKE: {"brakes": (brake(),)},
    Reason.YIELDED: {"first": "INC-1"},
    Reason.CIRCUIT_OPEN: {"failures": failures(12, 60)},
    Reason.COOLDOWN: {"acted_at": START},
    Reason.BUDGET_RULE: {"permits": ago(1, 2, 3)},
    Reason.BUDGET_GLOBAL: {"permits_global": ago(*range(20))},
    Reason.BLAST_RADIUS: {"affected": 1},
    Reason.TARGET_BUSY: {"holders": {"target:app": "INC-1"}},
    Reason.RESOURCE_HELD: {"holders": {"r0": "INC-1"}},
}
REFUSED = replace(
    limited(
        protected=("app",),
        windows=Windows(deny=(parse_window("00:00-24:00"),)),
        blast_radius=BlastRadius(10, 1),
    ),
    storm=Storm(START, 11, START + HOUR),
    extent=Extent(10),
    yield_to=("pack/other",),
)


def test_the_first_guard_that_refuses_is_the_one_that_is_told():
    everything = Ledger(**{name: value for each in EVERYTHING.values() for name, value in each.items()})
    said = answers(REFUSED, replace(everything, holders={"target:app": "INC-1", "r0": "INC-1"}), START)
    assert list(said) == list(GUARDS)
    for reason, answer in said.items():
        assert isinstance(answer, Refusal), reason
        assert answer.reason is reason
    assert check(REFUSED, everything, START).reason is Reason.BRAKE


def test_every_guard_that_allows_says_its_numbers():
    for request in (REQUEST, replace(REFUSED, storm=None, limits=Limits()), limited(protected=("db",))):
        assert all(isinstance(said, str) and said for said in answers(request, Ledger(), START).values())
    held = answers(replace(REQUEST, take=(), follows="INC-0"), Ledger(acted_at=START), START)
    assert held[Reason.RESOURCE_HELD] == "wants none"
    assert held[Reason.COOLDOWN] == "not asked of a flap"
    assert answers(REQUEST, Ledger(acted_at=START - HOUR), START)[Reason.COOLDOWN] == "10m, acted 1h ago"
    assert answers(REQUEST, Ledger(permits=ago(1)), START)[Reason.BUDGET_RULE] == "1 of 3 used in 1h"


@pytest.mark.parametrize(
    "reason", sorted(set(EVERYTHING) - {Reason.BRAKE, Reason.TARGET_BUSY, Reason.RESOURCE_HELD})
)
def test_what_is_no_start_of_a_rung_is_asked_about_brakes_and_holders_only(reason):
    assert check(replace(REFUSED, starts=False), Ledger(**EVERYTHING[reason]), START) is None


def test_what_a_guard_refuses_can_be_lifted_or_hands_over():
    assert set(GUARDS) - WAITS == {Reason.PROTECTED_TARGET}
    assert FREED <= WAITS
    assert not SKIPS & WAITS
