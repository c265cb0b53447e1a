"""The daemon's own time is steady: what the wall clock does is followed when it is small, and said when it is a jump."""

from datetime import UTC, datetime, timedelta

import pytest

from stopgap.clock import SteadyClock

START = datetime(2026, 11, 21, 9, tzinfo=UTC)
HOUR = 3600.0


class Hands:
    """A wall clock that can be set, and the seconds that nobody sets."""

    def __init__(self) -> None:
        self.steady = 1000.0
        self.ahead = START.timestamp() - self.steady
        self.held_up = 0.0  # between two readings
        self.clock = SteadyClock(self.wall, lambda: self.steady)

    def wall(self) -> float:
        found = self.steady + self.ahead
        self.steady += self.held_up
        return found

    def passes(self, seconds: float) -> None:
        self.steady += seconds

    def set(self, seconds: float) -> None:
        self.ahead += seconds


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_it_begins_with_the_wall_clock_and_goes_on_with_the_steady_one(hands):
    assert hands.clock.now() == START
    hands.passes(90)
    assert hands.clock.now() == START + timedelta(seconds=90)
    assert hands.clock.look() == 0.0


@pytest.mark.parametrize("seconds", [HOUR, -HOUR, 2.5])
def test_a_jump_is_said_once_and_moves_nothing(hands, seconds):
    hands.set(seconds)
    assert hands.clock.now() == START
    assert hands.clock.look() == pytest.approx(seconds)
    assert hands.clock.offset == pytest.approx(seconds)
    hands.passes(60)
    assert hands.clock.look() == 0.0
    assert hands.clock.now() == START + timedelta(seconds=60)


def test_a_clock_that_jumps_back_has_jumped_again_and_is_followed_as_before(hands):
    hands.set(HOUR)
    hands.clock.look()
    hands.set(-HOUR)
    assert hands.clock.look() == pytest.approx(-HOUR)
    assert hands.clock.offset == 0.0
    hands.set(1.5)
    assert hands.clock.look() == 0.0
    assert hands.clock.now() == START + timedelta(seconds=1.5)


def test_what_a_time_server_corrects_after_a_jump_is_in_the_offset_and_no_jump(hands):
    hands.set(HOUR)
    hands.clock.look()
    hands.set(0.5)
    assert hands.clock.look() == 0.0
    assert hands.clock.offset == pytest.approx(HOUR + 0.5)


def test_small_differences_are_followed_at_once_but_never_backwards(hands):
    hands.clock.now()
    hands.set(1.9)
    assert hands.clock.look() == 0.0
    assert hands.clock.now() == START + timedelta(seconds=1.9)
    hands.set(-1.5)
    assert hands.clock.look() == 0.0
    assert hands.clock.now() == START + timedelta(seconds=1.9)
    hands.passes(3)
    assert hands.clock.now() == START + timedelta(seconds=3.4)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_following_takes_over_the_wall_clock_as_it_is_back_too(hands, seconds):
    hands.clock.now()
    hands.set(seconds)
    hands.clock.look()
    assert hands.clock.follow() == pytest.approx(seconds)
    assert hands.clock.offset == 0.0
    assert hands.clock.now() == START + timedelta(seconds=seconds)
    assert hands.clock.look() == 0.0


def test_a_process_that_stood_still_between_two_readings_takes_that_for_no_jump(hands):
    hands.held_up = 30.0
    assert hands.clock.look() == 0.0
    hands.held_up = 0.0
    assert hands.clock.look() == 0.0
    assert hands.clock.offset == 0.0


def test_the_real_ones_agree():
    clock = SteadyClock()
    assert clock.look() == 0.0
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=2)
