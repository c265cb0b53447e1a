"""Rates: so many in so long, read and written."""

from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from stopgap.rate import Rate, RateText, parse_rate

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("3/1h", Rate(3, HOUR)),
        (" 3 / 1h ", Rate(3, HOUR)),
        ("0/30m", Rate(0, timedelta(minutes=30))),
        ("999999999/1h30m", Rate(999_999_999, timedelta(minutes=90))),
        (Rate(1, HOUR), Rate(1, HOUR)),
    ],
)
def test_a_rate_is_a_count_and_a_duration(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "rate", [Rate(3, HOUR), Rate(0, timedelta(days=1)), Rate(20, timedelta(milliseconds=1500))]
)
def test_what_is_printed_is_read_back(rate):
    assert parse_rate(str(rate)) == rate


@pytest.mark.parametrize(
    "text",
    ["", "3", "3/", "/1h", "3/h", "-3/1h", "1.5/1h", "3/1h/1h", "1000000000/1h", "\u0663/1h", "3/1h\0", 3, None, ["3/1h"]],
)  # fmt: skip
def test_what_is_no_rate_is_refused_with_the_form(text):
    with pytest.raises(ValueError, match=r"write .*(3/1h|30s)"):
        parse_rate(text)


def test_a_window_of_no_length_would_limit_nothing():
    with pytest.raises(ValueError, match="'3/0s' has a window of no length"):
        parse_rate("3/0s")


def test_a_hostile_text_is_not_repeated_at_length():
    with pytest.raises(ValueError) as caught:
        parse_rate("x" * 100_000)
    assert len(str(caught.value)) < 200


def test_a_model_reads_a_text_and_writes_it_again():
    form = TypeAdapter(RateText)
    assert form.dump_python(form.validate_python("24/24h")) == "24/1d"
    with pytest.raises(ValidationError, match="is no rate"):
        form.validate_python("often")
