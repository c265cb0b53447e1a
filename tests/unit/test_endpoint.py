"""Endpoint: what may be shown of a URL, of another's words, and how its times are read."""

from datetime import UTC, datetime

import pytest

from stopgap.endpoint import instant, shown, without_secrets


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("http://am:9093", "http://am:9093"),
        ("http://am:9093/prefix/", "http://am:9093/prefix"),
        ("https://u:hunter2@am:9093/x?token=hunter2#hunter2", "https://am:9093/x"),
        ("http://u:hun@ter2@am", "http://am"),
        ("http://[::1]:9093/", "http://[::1]:9093"),
        ("http://u:hunter2@[x", "(not a URL)"),
        ("hunter2", "(not a URL)"),
        ("http:///hunter2", "(not a URL)"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url, bare):
    assert without_secrets(url) == bare


def test_words_from_outside_are_one_short_printable_line():
    assert shown("a\n\x1b[31m b\u2028c") == "a [31m b c"
    assert len(shown("x" * 5000)) == 200


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-11-21T13:27:35.591051121Z", datetime(2026, 11, 21, 13, 27, 35, 591051, UTC)),
        ("2026-11-21T14:27:35+01:00", datetime(2026, 11, 21, 13, 27, 35, 0, UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_to_the_microsecond(text, found):
    assert instant(text) == found


@pytest.mark.parametrize("text", ["", "soon", "2026-11-21T13:27:35", "0001-01-01T00:00:00+01:00"])
def test_what_is_not_an_instant_is_an_error(text):
    with pytest.raises(ValueError):
        instant(text)
