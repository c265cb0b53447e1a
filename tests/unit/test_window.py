"""Windows: spans of the week in a place's own time, also where the clock is changed."""

import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import TypeAdapter, ValidationError

from stopgap.window import Window, WindowText, next_change, parse_window

EVERY_DAY = frozenset(range(7))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def covered(text: str, start: str, end: str) -> list[str]:
    """Return the quarters of an hour from `start` to `end` (UTC) that a window covers, as `first-after the last` spans."""
    window, at, spans = parse_window(text), utc(start), []
    while at < utc(end):
        if window.covers(at):
            if spans and spans[-1][1] == at:
                spans[-1][1] = at + timedelta(minutes=15)
            else:
                spans.append([at, at + timedelta(minutes=15)])
        at += timedelta(minutes=15)
    return [f"{a:%d %H:%M}-{b:%d %H:%M}" for a, b in spans]


# --- reading ---


@pytest.mark.parametrize(
    ("text", "days", "start", "end"),
    [
        ("08:00-20:00", EVERY_DAY, 480, 1200),
        ("8:00 - 20:00", EVERY_DAY, 480, 1200),
        ("Fri 16:00-24:00", {4}, 960, 1440),
        ("fri  16:00-24:00", {4}, 960, 1440),
        ("Sat-Mon 00:00-24:00", {5, 6, 0}, 0, 1440),
        ("Mon-Sun 00:00-24:00", EVERY_DAY, 0, 1440),
        ("Sun-Sat 00:00-24:00", EVERY_DAY, 0, 1440),
        ("Sat, Sun 10:00-12:00", {5, 6}, 600, 720),
        ("Monday-Wed,saturday 10:00-12:00", {0, 1, 2, 5}, 600, 720),
    ],
)
def test_a_window_is_days_times_and_a_zone(text, days, start, end):
    window = parse_window(text)
    assert (window.days, window.start, window.end, window.zone) == (days, start, end, ZoneInfo("UTC"))


def test_a_window_prints_as_it_was_written_and_is_read_back():
    window = parse_window("Mon-Fri  22:00-06:00 Europe/Madrid")
    assert str(window) == "Mon-Fri 22:00-06:00 Europe/Madrid"
    assert parse_window(str(window)) == window
    assert parse_window(window) is window


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no window: write it like `Fri 16:00-24:00 Europe/Madrid`"),
        (None, "is no window"),
        (["Fri"], "is no window"),
        ("Fri", "is no window"),
        ("Fri 16-24", "is no window"),
        ("16:00", "is no window"),
        ("Fri 16:00-24:00 Europe/Madrid now", "is no window"),
        ("Fri 16:00-24:00;", "is no window"),
        ("\u0660\u0668:00-20:00", "is no window"),
        ("Mon," * 1000 + "Mon 16:00-24:00", "is no window"),
        ("25:00-26:00", "'25:00' is no time of day: 00:00 to 24:00"),
        ("08:60-20:00", "'08:60' is no time of day"),
        ("08:00-24:01", "'24:01' is no time of day"),
        ("24:00-08:00", "'24:00' cannot begin a window: write 00:00 of the next day"),
        ("Fry 16:00-24:00", "'Fry' is no day: write Mon Tue Wed Thu Fri Sat Sun, as in Mon-Fri or Sat,Sun"),
        ("Mon-Fri-Sat 16:00-24:00", "'Fri-Sat' is no day"),
        ("Mon- 16:00-24:00", "'' is no day"),
        ("Mon,,Tue 16:00-24:00", "'' is no day"),
        ("daily 16:00-24:00", "'daily' is no day"),
        ("16:00-24:00 Mars/Base", "'Mars/Base' is no time zone: write one such as Europe/Madrid or UTC"),
        ("16:00-24:00 CEST", "'CEST' is no time zone"),
        ("16:00-24:00 europe/madrid", "did you mean Europe/Madrid?"),
        ("16:00-24:00 Madrid", "did you mean Europe/Madrid?"),
    ],
)
def test_what_is_no_window_is_refused_with_the_cure(text, said):
    with pytest.raises(ValueError) as caught:
        parse_window(text)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "zone", ["../../etc/passwd", "/etc/passwd", "Europe", ".", "..", "x" * 150, "a\0b", "\ud800", "zone.tab"]
)
def test_a_zone_is_a_name_and_no_way_to_other_files(zone):
    with pytest.raises(ValueError, match="is no time zone"):
        parse_window(f"16:00-24:00 {zone}")


def test_zones_are_known_where_the_system_has_none():
    known = zoneinfo.TZPATH
    try:
        zoneinfo.reset_tzpath([])
        assert ZoneInfo.no_cache("Europe/Madrid").utcoffset(datetime(2026, 7, 1)) == timedelta(hours=2)  # noqa: DTZ001 - local
    finally:
        zoneinfo.reset_tzpath(known)


def test_a_model_reads_a_text_and_writes_it_again():
    form = TypeAdapter(WindowText)
    assert form.dump_python(form.validate_python("Sat  10:00-12:00")) == "Sat 10:00-12:00"
    with pytest.raises(ValidationError, match="is no window"):
        form.validate_python(5)


# --- covering ---


def test_a_window_covers_its_start_and_not_its_end():
    window = parse_window("Wed 08:00-20:00")
    assert [
        window.covers(utc(f"2026-07-01T{at}")) for at in ("07:59:59", "08:00:00", "19:59:59", "20:00:00")
    ] == [
        False,
        True,
        True,
        False,
    ]
    assert not window.covers(utc("2026-07-02T12:00:00"))


def test_a_window_is_in_its_own_zone():
    assert covered("Wed 08:00-10:00 Europe/Madrid", "2026-07-01", "2026-07-02") == ["01 06:00-01 08:00"]
    assert covered("Wed 08:00-10:00 Europe/Madrid", "2026-01-07", "2026-01-08") == ["07 07:00-07 09:00"]
    assert covered("Wed 08:00-10:00 Pacific/Auckland", "2026-06-30", "2026-07-02") == ["30 20:00-30 22:00"]
    assert covered("Wed 08:00-10:00 America/Los_Angeles", "2026-07-01", "2026-07-02") == ["01 15:00-01 17:00"]


def test_a_span_over_midnight_belongs_to_the_day_on_which_it_starts():
    assert covered("Fri 22:00-06:00", "2026-07-01", "2026-07-08") == ["03 22:00-04 06:00"]
    assert covered("Sun 22:00-06:00", "2026-07-05", "2026-07-08") == ["05 22:00-06 06:00"]


def test_a_whole_day_ends_at_24_00_and_days_in_a_row_have_no_gap():
    assert covered("Fri 00:00-24:00", "2026-07-01", "2026-07-08") == ["03 00:00-04 00:00"]
    assert covered("Fri 16:00-24:00", "2026-07-01", "2026-07-08") == ["03 16:00-04 00:00"]
    assert covered("Sat-Mon 00:00-24:00", "2026-07-01", "2026-07-08") == ["04 00:00-07 00:00"]
    assert covered("Fri 08:00-08:00", "2026-07-01", "2026-07-08") == ["03 08:00-04 08:00"]


# In Madrid the clock goes from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25, both at 01:00 UTC.


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("02:00-03:00", []),  # that hour does not happen
        ("02:15-02:45", []),
        ("02:30-03:30", ["29 01:00-29 01:30"]),
        ("02:30-04:00", ["29 01:00-29 02:00"]),
        ("03:00-04:00", ["29 01:00-29 02:00"]),
        ("01:00-02:00", ["29 00:00-29 01:00"]),
        ("01:00-02:30", ["29 00:00-29 01:00"]),
        ("01:30-03:30", ["29 00:30-29 01:30"]),
        ("Sun 00:00-24:00", ["28 23:00-29 22:00"]),
    ],
)
def test_where_the_clock_skips_an_hour_a_window_has_what_is_left_of_it(text, spans):
    assert covered(f"{text} Europe/Madrid", "2026-03-28T12:00", "2026-03-29T22:30") == spans


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("01:00-02:00", ["24 23:00-25 00:00"]),
        ("01:00-02:30", ["24 23:00-25 01:30"]),
        ("02:00-03:00", ["25 00:00-25 02:00"]),
        ("02:15-02:45", ["25 00:15-25 01:45"]),
        ("02:30-04:00", ["25 00:30-25 03:00"]),
        ("03:00-04:00", ["25 02:00-25 03:00"]),
        ("Sat 22:00-02:30", ["24 20:00-25 01:30"]),
        ("Sun 00:00-24:00", ["24 22:00-25 23:00"]),
    ],
)
def test_where_an_hour_happens_twice_a_window_has_both(text, spans):
    assert covered(f"{text} Europe/Madrid", "2026-10-24T12:00", "2026-10-26") == spans


def test_half_an_hour_and_a_whole_day_can_be_skipped_too():
    assert covered("Sun 02:15-03:15 Australia/Lord_Howe", "2026-10-03", "2026-10-05") == ["03 15:30-03 16:15"]
    # Samoa had no 30 December 2011: it went from the 29th at 24:00 (10:00 UTC of the 30th) to the 31st
    assert covered("Fri 08:00-20:00 Pacific/Apia", "2011-12-28", "2012-01-02") == []
    assert covered("Thu 22:00-06:00 Pacific/Apia", "2011-12-29", "2012-01-02") == ["30 08:00-30 10:00"]


# --- what comes next ---


def test_the_next_changes_are_those_of_all_windows_in_order():
    windows = [parse_window("Thu 08:00-20:00"), parse_window("Fri 00:00-24:00")]
    found = next_change(windows, utc("2026-07-01T12:00"))
    assert [f"{at:%d %H:%M}" for at in found[:4]] == ["02 08:00", "02 20:00", "03 00:00", "04 00:00"]
    assert found == sorted(set(found))


def test_a_change_is_after_now_and_within_the_week_ahead():
    window = parse_window("Wed 08:00-20:00")
    now = utc("2026-07-01T20:00")
    (start, end) = next_change([window], now)[:2]
    assert (start, end) == (utc("2026-07-08T08:00"), utc("2026-07-08T20:00"))
    assert next_change([], now) == []


def test_a_span_that_does_not_happen_changes_nothing():
    window = parse_window("Sun 02:00-03:00 Europe/Madrid")
    assert next_change([window], utc("2026-03-28T12:00"))[0] == utc("2026-04-05T00:00")


def test_equal_windows_are_one_value():
    assert len({parse_window("Fri 16:00-24:00"), parse_window("Fri 16:00-24:00")}) == 1
    assert isinstance(parse_window("Fri 16:00-24:00"), Window)
