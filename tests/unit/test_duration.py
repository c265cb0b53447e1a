"""Durations in Prometheus' notation, and the clock."""

from datetime import UTC, datetime, timedelta

import pytest

from stopgap.clock import SystemClock
from stopgap.duration import parse_duration, print_duration


@pytest.mark.parametrize("text", ["30s", "1h30m", "250ms", "2d", "0"])
def test_what_is_read_is_written_the_same(text):
    assert print_duration(parse_duration(text)) == text


def test_zero_weeks_and_durations_themselves_are_read():
    assert parse_duration(0) == timedelta()
    assert parse_duration("1w") == timedelta(days=7)
    assert parse_duration(timedelta(seconds=3)) == timedelta(seconds=3)


@pytest.mark.parametrize("text", ["", "5", 5, "-1s", "1 s", "1y", None, "1.5h"])
def test_anything_else_is_refused_and_the_notation_named(text):
    with pytest.raises(ValueError, match="30s, 10m or 1h30m"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["3651d", "99999999999999w", "9" * 60 + "s"])
def test_more_than_ten_years_is_refused_however_large(text):
    with pytest.raises(ValueError, match="ten years"):
        parse_duration(text)


def test_the_clock_tells_the_instant_in_utc():
    assert abs(SystemClock().now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert SystemClock().now().tzinfo is UTC
