"""The bench's chart: one SVG by itself that shows what was measured, held against what, and every goal."""

import xml.etree.ElementTree as ET

from tests.bench.chart import Scale, chart
from tests.bench.report import Goal, Row, Section, Sense

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*rows):
    return chart([Section("latency", "From an alert <to> its action", rows)], ["Title & more", "a", "b"])


def test_it_is_well_formed_whatever_the_titles_are_and_asks_for_nothing_outside():
    text = drawn(Row("idle: p50", 3.0, "ms", 0.5), Row("  p99", 6.0, "ms", goal=Goal(Sense.BELOW, 5, " ms")))
    assert ET.fromstring(text).tag == f"{SVG}svg"
    assert "href" not in text
    assert "url(" not in text


def test_it_follows_light_and_dark():
    assert "prefers-color-scheme: dark" in drawn(Row("p50", 3.0, "ms"))


def test_a_row_has_a_bar_and_what_it_is_held_against_a_thin_one():
    root = ET.fromstring(drawn(Row("p50", 4.0, "ms", 2.0)))
    own, other = (
        [bar for bar in root.iter(f"{SVG}rect") if bar.get("class") == kind][-1] for kind in ("own", "other")
    )
    assert float(own.get("width")) == 2 * float(other.get("width"))


def test_a_goal_is_a_line_and_a_word():
    text = drawn(Row("p99", 6.0, "ms", goal=Goal(Sense.BELOW, 5, " ms")))
    assert "&lt; 5 ms: missed" in text
    assert text.count('class="goal"') == 2  # the legend's, and its own


def test_other_units_and_unknown_sections_are_not_drawn():
    assert "count" not in drawn(Row("p50", 3.0, "ms"), Row("a count", 3.0, ""))
    assert "elsewhere" not in chart([Section("else", "elsewhere", (Row("p50", 1.0, "ms"),))], ["t"])


def test_a_row_below_one_that_is_not_drawn_bears_its_name_too():
    text = drawn(Row("1 000 open: memory", 100.0, "MB"), Row("  alert to action", 3.0, "ms"))
    assert ">1 000 open: alert to action<" in text


def test_values_far_apart_are_drawn_on_a_logarithmic_scale_and_none_is_invisible():
    assert "logarithmic" in drawn(Row("p50", 0.5, "ms"), Row("p99", 5000.0, "ms"))
    assert "logarithmic" not in drawn(Row("p50", 1.0, "ms"), Row("p99", 10.0, "ms"))
    near, far = Scale(1.0, 10.0), Scale(0.5, 5000.0, logarithmic=True)
    assert near.length(5.0) * 2 == near.length(10.0)
    assert 10 < far.length(0.5) < far.length(50.0) < far.length(5000.0)
