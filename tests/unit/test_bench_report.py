"""The bench's report: what a goal means, and that the table fits a terminal."""

import pytest
from tests.bench.report import Goal, Row, Sense, number, percentile, table


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


def test_a_goal_means_the_ratio_where_there_is_one_and_else_the_value():
    goal = Goal(Sense.AT_LEAST, 0.5)
    assert Row("repeats", 9000.0, "/s", 30_000.0, 0.3, goal).reached is False
    assert Row("repeats", 9000.0, "/s", goal=goal).reached is True
    assert Row("repeats", 9000.0, "/s").reached is None


def test_the_table_says_yes_or_no_and_fits_eighty_columns():
    goal = Goal(Sense.BELOW, 100, " ms")
    rows = [
        Row(
            "a name that is much longer than its column is wide",
            123_456_789.0,
            "bytes",
            123_456_789.0,
            1.5,
            goal,
        ),
        Row("slow", 100.0, "ms", goal=goal),
        Row("plain", 0.123, "s"),
    ]
    lines = table(rows).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[-1] for line in lines] == ["met", "yes", "no", "s"]


def test_the_json_of_a_row_says_whether_the_goal_was_reached():
    found = Row("slow", 100.0, "ms", goal=Goal(Sense.BELOW, 100, " ms"), detail={"runs": [1]}).as_json()
    assert (found["goal"], found["reached"], found["detail"]) == ("< 100 ms", False, {"runs": [1]})


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
