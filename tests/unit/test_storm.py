"""Storms follow from the openings alone: when one begins, how bad it is, and when it has passed."""

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st
from tests.timelines import START

from stopgap.storm import Openings, Storm, StormLimit

MINUTE = timedelta(minutes=1)
LIMIT = StormLimit(targets=3, window=5 * MINUTE, below=2, calm=10 * MINUTE)


def opened(*minutes: float, limit: StormLimit = LIMIT, same: bool = False) -> Openings:
    openings = Openings((limit,))
    for i, at in enumerate(minutes):
        openings.open("app" if same else f"t{i}", START + MINUTE * at)
    return openings


def at(minutes: float):
    return START + MINUTE * minutes


def test_so_many_targets_in_the_window_are_none_and_one_more_is_a_storm():
    assert opened(0, 1, 2).storm(LIMIT, at(2)) is None
    assert opened(0, 1, 2, 3).storm(LIMIT, at(3)) == Storm(at(3), 4, at(2 + 5 + 10))


def test_targets_outside_the_window_do_not_count():
    assert opened(0, 3, 4, 5).storm(LIMIT, at(5)) is None
    assert opened(0.1, 3, 4, 5).storm(LIMIT, at(5)) is not None


def test_a_target_counts_once_however_often_it_opens():
    assert opened(*range(5), same=True).storm(LIMIT, at(4)) is None


def test_it_is_over_after_calm_with_fewer_targets_and_not_a_moment_earlier():
    openings = opened(0, 1, 2, 3)
    over = at(2 + 5 + 10)
    assert openings.storm(LIMIT, over - MINUTE / 60).until == over
    assert openings.storm(LIMIT, over) is None
    assert not openings.stormy


def test_whoever_opens_meanwhile_prolongs_it():
    openings = opened(0, 1, 2, 3, 12, 13)
    assert openings.storm(LIMIT, at(20)) == Storm(at(3), 0, at(12) + 15 * MINUTE)


def test_a_storm_that_nobody_watched_end_is_over_when_the_next_target_opens():
    openings = opened(0, 1, 2, 3, 40, 41)
    assert openings.storm(LIMIT, at(41)) is None


def test_an_instant_a_little_before_the_last_counts_as_the_last():
    openings = opened(10, 9.5, 9.1, 9.2)
    assert openings.storm(LIMIT, at(10)).since == at(10)


def test_a_clock_that_is_set_back_makes_no_storm_of_what_comes_slowly():
    openings = opened(480)
    for i in range(12):
        openings.open(f"slow {i}", at(30 * i))
        assert openings.storm(LIMIT, at(30 * i)) is None


def test_a_storm_goes_back_with_the_clock_and_is_over_in_its_time():
    openings = opened(480, 481, 482, 483)
    assert openings.storm(LIMIT, at(3)) == Storm(at(3), 4, at(2 + 5 + 10))
    assert openings.storm(LIMIT, at(2 + 5 + 10)) is None


def test_the_count_is_taken_anew_each_second():
    openings = opened(0, 1, 2, 3)
    assert openings.storm(LIMIT, at(3)).targets == 4
    openings.open("late", at(3))
    assert openings.storm(LIMIT, at(3)).targets == 4
    assert openings.storm(LIMIT, at(3) + timedelta(seconds=1)).targets == 5


def test_no_more_targets_are_remembered_than_told():
    openings = Openings((LIMIT,), most=4)
    for i in range(50):
        openings.open(f"t{i}", START)
    assert openings.storm(LIMIT, START).targets == 4


def test_other_limits_judge_the_same_openings_and_what_was_said_stays_said():
    wide = StormLimit(targets=100)
    both = opened(0, 1, 2, 3).under((LIMIT, wide))
    assert list(both.storms(at(3))) == [LIMIT]
    assert both.storm(wide, at(3)) is None
    narrow = opened(0, 1, 2, limit=wide).under((StormLimit(targets=2, below=1),))
    assert narrow.stormy


@pytest.mark.parametrize("limit", [StormLimit(), StormLimit(targets=0, below=1)])
def test_calm_weather_without_openings(limit):
    assert Openings((limit,)).storms(START) == {}


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 600)), max_size=40), st.integers(0, 3000))
def test_a_replay_finds_the_same_weather(steps, later):
    """What follows from the openings alone survives a restart, whoever asked in between."""
    asked, silent = Openings((LIMIT,)), Openings((LIMIT,))
    now = START
    for target, seconds in steps:
        asked.storm(LIMIT, now + timedelta(seconds=seconds / 2))
        now += timedelta(seconds=seconds)
        asked.open(f"t{target}", now)
        silent.open(f"t{target}", now)
    now += timedelta(seconds=later)
    assert asked.storms(now) == silent.storms(now)
