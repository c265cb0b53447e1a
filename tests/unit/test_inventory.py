"""Inventory: what is in place, in words, as an incident goes its way."""

import pytest
from tests.timelines import Timeline, rule, rung

from stopgap.incident import EventKind as K, Phase
from stopgap.inventory import goes_back, in_place, inventory, rung_name

STEPS = ["set a", "set b", "restart"]


def begun(*rungs, **planned):
    """Return a timeline whose first rung sets two flags and restarts; its first act is under way."""
    of = rule(*(rungs or (rung(steps=2, activate=1),)))
    return Timeline(of).opens().begins(0, **{"name": "safe", "steps": STEPS, **planned})


def test_nothing_is_in_place_before_anything_is_done():
    state = Timeline().opens().state
    assert (in_place(state), inventory(state), goes_back(state)) == ((), (), False)


def test_what_was_done_is_listed_and_what_is_under_way_perhaps():
    timeline = begun()
    assert inventory(timeline.state) == ("applied: safe", "- perhaps: set a")
    timeline.done().acts(0, 1)
    assert inventory(timeline.state) == ("applied: safe", "- set a", "- perhaps: set b")
    timeline.done(0, 1).acts(0, 0, "activate").done(0, 0, "activate")
    assert inventory(timeline.state) == ("applied: safe", "- set a", "- set b", "- restart")


@pytest.mark.parametrize(
    ("kind", "detail", "line"),
    [
        (K.STEP_UNKNOWN, {}, "- perhaps: set b"),
        (K.STEP_UNKNOWN, {"unclear": True}, "- perhaps: set b"),
        (K.STEP_FAILED, {}, None),
        (K.STEP_SKIPPED, {}, None),
    ],
)
def test_what_is_known_not_to_have_been_done_is_not_in_place(kind, detail, line):
    timeline = begun().done().acts(0, 1).step(kind, 0, 1, **detail)
    assert inventory(timeline.state) == ("applied: safe", "- set a", *([line] if line else []))


def test_what_waits_for_a_person_is_not_done_yet():
    timeline = begun().done().say(K.STEP_STARTED, rung=0, step=1, role="do", n=1, by_hand=True)
    assert inventory(timeline.state) == ("applied: safe", "- set a")


def test_what_goes_back_is_not_in_place_unless_that_is_stuck_and_then_what_is_back_is_left_out():
    timeline = begun().done().acts(0, 1).done(0, 1).acts(0, 0, "activate").done(0, 0, "activate")
    timeline.person_reverts().undoes(0, 1).undone(0, 1).undoes()
    assert goes_back(timeline.state)
    assert (in_place(timeline.state), inventory(timeline.state)) == ((), ())
    timeline.step(K.REVERT_FAILED, role="revert").say(K.HANDED_OVER, stuck=True)
    assert timeline.state.phase is Phase.REVERTING
    assert inventory(timeline.state) == ("applied: safe", "- set a", "- restart")


def test_a_rung_that_is_back_is_not_in_place():
    timeline = Timeline().opens().verifying(steps=["x"]).person_reverts().undoes().undone()
    assert in_place(timeline.say(K.REVERTED, rungs=[0]).state) == ()


def test_of_a_rung_that_leaves_nothing_to_take_back_that_is_said():
    timeline = Timeline().opens().mitigated(name="again", steps=["restart"], resources=[], reverts=[False])
    assert inventory(timeline.state) == (
        "applied: again, which leaves nothing to take back",
        "- restart",
    )


def test_rungs_below_the_last_that_are_held_are_in_place_too():
    of = rule(rung(go_on=True), rung())
    timeline = Timeline(of).opens().verifying(0, name="low", steps=["x"]).asked().does()
    timeline.verifying(1, name="high", steps=["y"])
    assert in_place(timeline.state) == (0, 1)
    assert inventory(timeline.state) == ("applied: low", "- x", "applied: high", "- y")


def test_a_long_list_is_cut_and_a_long_or_hostile_line_too():
    words = ["set \x1b[31m\nforged", "s" * 500, *map(str, range(5))]
    timeline = Timeline(rule(rung(steps=7))).opens().verifying(0, name="n" * 500, steps=words)
    lines = inventory(timeline.state)
    assert len(lines) == 6
    assert lines[-1] == "- and 3 more"
    assert all(len(line) < 100 and line.isprintable() for line in lines)


def test_a_timeline_of_an_early_release_names_what_it_changed():
    state = Timeline().opens().verifying().state
    assert inventory(state) == ("applied: rung 0", "- r0")
    assert rung_name(state, 0) == "rung 0"
