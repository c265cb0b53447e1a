"""The bench's report: what a goal means, and that the table fits a terminal."""

import json

import pytest
from tests.bench.report import Goal, Row, Section, Sense, head, number, percentile, table


@pytest.mark.parametrize(
    ("sense", "measured", "reached"),
    [
        (Sense.AT_LEAST, 0.5, True),
        (Sense.AT_LEAST, 0.49, False),
        (Sense.AT_MOST, 0.5, True),
        (Sense.AT_MOST, 0.51, False),
        (Sense.BELOW, 0.49, True),
        (Sense.BELOW, 0.5, False),
    ],
)
def test_a_goal_knows_its_good_side_and_its_edge(sense, measured, reached):
    assert Goal(sense, 0.5).reached(measured) is reached


def test_a_goal_without_a_unit_means_the_ratio_where_there_is_one_and_any_other_the_value():
    goal = Goal(Sense.AT_LEAST, 0.5)
    assert Row("repeats", 9000.0, "/s", 30_000.0, 0.3, goal).reached is False
    assert Row("repeats", 9000.0, "/s", goal=goal).reached is True
    assert Row("repeats", 9000.0, "/s", 30_000.0, 0.3, Goal(Sense.AT_LEAST, 5000, "/s")).reached is True
    assert Row("repeats", 9000.0, "/s").reached is None


def test_the_table_says_reached_or_missed_and_fits_eighty_columns():
    goal = Goal(Sense.BELOW, 100, " ms")
    rows = [
        Row(
            "a name that is much longer than its column is wide",
            1_234_567.0,
            "bytes",
            1_234_567.0,
            1.5,
            Goal(Sense.BELOW, 100),
        ),
        Row("slow", 100.0, "ms", goal=goal),
        Row("plain", 0.123, "s"),
    ]
    lines = table(Section("speed", "Speed", tuple(rows))).splitlines()
    assert max(map(len, [head(), *lines])) <= 80
    assert [line.split()[-1] for line in lines] == ["Speed", "reached", "missed", "s"]


def test_a_row_that_was_written_is_read_again_whole():
    row = Row("slow", 100.0, "ms", 5.0, 20.0, Goal(Sense.BELOW, 100, " ms"), {"runs": [1]})
    section = Section("speed", "Speed", (row, Row("plain", 1.0, "s")))
    written = section.as_json()
    assert written["rows"][0]["reached"] is False
    assert Section.from_json(json.loads(json.dumps(written))) == section


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100), (0.001, 1), (0.0, 1)]
)
def test_a_percentile_is_a_value_that_was_measured(share, value):
    assert percentile(range(100, 0, -1), share) == value


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12346"), (12.34, "12.3"), (1.234, "1.23"), (0.0, "0.00")]
)
def test_numbers_show_what_matters(value, text):
    assert number(value) == text
