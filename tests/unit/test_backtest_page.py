"""What people see of a backtest: golden files of a small history, and a page that no value can break."""

import json
import os
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.backtesting import DAY, START
from typer.testing import CliRunner

from stopgap.backtest.history import Period
from stopgap.backtest.page import page
from stopgap.backtest.picture import COLUMNS, MOST_LANES, MOST_RULES, picture
from stopgap.backtest.result import Alerts, Overlap, Result, Score, StormSpell
from stopgap.backtest.trace import Standing, Stretch, Trace
from stopgap.backtest.words import intro
from stopgap.cli import app

GOLDEN = Path(__file__).parents[1] / "golden" / "backtest"
RULES = """
rules:
  - name: mock-mode
    match: alertname="PMSDown"
    target: "{{ labels.instance }}"
    ladder:
      - name: mock mode
        do: [{flag: {at: "env:///etc/{{ labels.instance }}.env", set: {PMS_TYPE: mock}}}]
        verify: [{http: {url: "http://127.0.0.1:8000/ready"}, after: 5s, within: 60s}]
    recovered: [{http: {url: "http://pms.example.com/health"}}]
    max_hold: 2h
    escalate:
      - {when: mitigated, notify: [default]}
      - {after: 15m, notify: [oncall]}
  - name: slow
    match: alertname="Slow"
    target: "{{ labels.instance }}"
    yield_to: [mock-mode]
    ladder:
      - name: more memory
        approval: 5m
        do: [{flag: {at: "env:///etc/{{ labels.instance }}.env", set: {MEMORY: "512"}}}]
"""
SITE = "contacts: {default: {url_env: CHAT}, oncall: {url_env: CHAT}}\n"


def story():
    """One day of a small hotel, as Alertmanager's event recorder would have written it."""
    told = [(f"hotel-{number}", "PMSDown", 60 + number, 200) for number in range(5)]
    told += [
        ("hotel-0", "PMSDown", 600, 900),
        ("hotel-0", "PMSDown", 910, 920),
        ("hotel-1", "Slow", 100, 400),
    ]
    told += [("hotel-3", "Disk", 100, 400)]
    events = []
    for instance, name, first, last in told:
        labels = {"alertname": name, "instance": instance, "severity": "critical"}
        events.append((first, {"alertCreated": {"alert": {"labels": labels}}}))
        events.append((last, {"alertResolved": {"alert": {"labels": labels, "resolved": True}}}))
    for minute, data in sorted(events, key=lambda one: one[0]):
        yield json.dumps({"@timestamp": (START + timedelta(minutes=minute)).isoformat(), "data": data}) + "\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command where the rules and the story are."""
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("old", RULES),
        ("new", RULES.replace("approval: 5m", "approval: 10m").replace("2h", "6h")),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hotel.yaml").write_text(text)
        (tmp_path / name / "site.yaml").write_text(SITE)
    (tmp_path / "day.jsonl").write_text("".join(story()))

    def run_(*args):
        env = {"COLUMNS": "80", "CHAT": "json://x", "STOPGAP_PROMETHEUS": None, "STOPGAP_RULES": None}
        return CliRunner().invoke(app, ["backtest", *map(str, args)], env=env)

    return run_


WHEN = ("--from", "2026-10-05T09:00:00Z", "--to", "2026-10-06T09:00:00Z", "--events", "day.jsonl")


def golden(name, said):
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(said)
    assert said == path.read_text()


def test_the_table_reads_as_it_was_reviewed(run):
    said = run("old", *WHEN)
    assert said.exit_code == 0
    assert max(map(len, said.stdout.splitlines())) <= 80
    golden("table.txt", said.stdout)


def test_the_comparison_reads_as_it_was_reviewed(run):
    said = run("--compare", "old", "new", *WHEN)
    assert said.exit_code == 0
    golden("compare.txt", said.stdout)


def test_two_equal_sets_of_rules_have_no_difference(run):
    said = run("--compare", "old", "old", *WHEN)
    assert "No difference: both would have done the same." in said.stdout


def test_the_page_looks_as_it_was_reviewed(run, tmp_path):
    assert run("old", *WHEN, "--html", "page.html").exit_code == 0
    golden("page.html", (tmp_path / "page.html").read_text())


def test_the_page_of_a_comparison_has_both_pictures(run, tmp_path):
    assert run("--compare", "old", "new", *WHEN, "--html", "page.html").exit_code == 0
    said = (tmp_path / "page.html").read_text()
    assert said.count("<svg") == 2
    assert "What is different" in said


def test_without_a_period_a_file_is_as_long_as_it_is(run):
    told = json.loads(run("old", "--events", "day.jsonl", "--json").stdout)
    assert (told["since"], told["until"]) == ("2026-10-05T09:59:59Z", "2026-10-06T01:20:00Z")


def test_a_comparison_is_json_too(run):
    told = json.loads(run("--compare", "old", "new", *WHEN, "--json").stdout)
    assert {"rule": "hotel/mock-mode", "of": "past_max_hold", "old": 4, "new": 0} in told["differences"]


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        (("old", "--compare", "old", "new", *WHEN), 2, "leave PATH away"),
        (("old",), 2, "which alerts?"),
        (("old", "--data", ".", "--events", "day.jsonl"), 2, "name one of"),
        (("old", "--data", "."), 1, "holds no stopgap.db"),
        (("old", "--events", "absent"), 1, "cannot be read"),
        (("old", *WHEN, "--assume", "maybe"), 2, "write healthy, unhealthy or unknown"),
        (("old", *WHEN[2:], "--from", "soon"), 2, "--from soon: write 30d"),
        (("old", "--events", "day.jsonl", "--from", "1d", "--to", "2d"), 2, "--from is not before --to"),
        (("old", "--prometheus", "http://x", "--step", "10m"), 2, "from 1s to 5m"),
        (("old", "--prometheus", "http://x", "--step", "x"), 2, "--step: 'x' is not a duration"),
        (("old", *WHEN, "--label", "cluster"), 2, "write NAME=VALUE"),
        (("old", *WHEN, "--html", "absent/page.html"), 2, "the page cannot be written"),
        (("old", "old", *WHEN), 2, "rules of the same name"),
        (("absent", *WHEN), 2, "do not load"),
    ],
)
def test_a_mistake_on_the_command_line_is_said_with_its_cure(run, args, code, why):
    said = run(*args)
    assert (said.exit_code, why in " ".join(said.stderr.split())) == (code, True), said.stderr


# --- the page ---


def trace(rule="p/r", target="t", *stretches):
    return Trace(
        "INC-1",
        rule,
        target,
        START,
        [
            Stretch(standing, START + timedelta(minutes=a), START + timedelta(minutes=b))
            for standing, a, b in stretches
        ],
    )


def result(*traces, **more):
    given = {"rules": {"p/r": Score()}, "total": Score(), "traces": traces, **more}
    return Result("rules/", "a file", DAY, Alerts(), **given)


@pytest.mark.parametrize(
    ("alerts", "said"),
    [
        (Alerts(), []),
        (Alerts(distinct=2), ["A rule takes each of them."]),
        (Alerts(distinct=2, unmatched=2, untaken=("Disk",)), ["No rule takes 2 of these alerts: Disk."]),
        (
            Alerts(distinct=12, unmatched=12, untaken=tuple(f"A{number:02}" for number in range(12))),
            [f"No rule takes 12 of these alerts: {', '.join(f'A{n:02}' for n in range(10))} and 2 more."],
        ),
    ],
)
def test_the_alerts_that_no_rule_takes_are_named_within_a_bound(alerts, said):
    assert list(intro(replace(result(), alerts=alerts))[2:]) == said


class Markup(HTMLParser):
    """Collects what a browser would take for elements, their attributes, and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name) for name, _ in attrs]

    def handle_data(self, data):
        self.text.append(data)


EVIL = "</title></text><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202egnp\x1b[2J"


def test_no_value_becomes_an_element_an_attribute_or_a_change_of_direction():
    plain = Markup(
        page(
            result(
                trace("p/r", "t", (Standing.FIRING, 0, 9)),
                overlaps=[Overlap("target", "x", ("a", "b"), 1, START)],
            )
        )
    )
    evil = page(
        replace(
            result(
                trace(EVIL, EVIL, (Standing.FIRING, 0, 9)),
                overlaps=[Overlap("target", EVIL, (EVIL, EVIL), 1, START)],
            ),
            rules_from=EVIL,
            source=EVIL,
            rules={EVIL: Score()},
        )
    )
    assert set(Markup(evil).tags) == set(plain.tags)
    assert set(Markup(evil).attributes) == set(plain.attributes)
    assert "\u202e" not in evil
    assert "\x1b" not in evil
    assert "\\u202egnp\\x1b[2J" in "".join(Markup(evil).text)


def test_nothing_is_asked_for_elsewhere_and_nothing_runs():
    said = page(result(trace("p/r", "t", (Standing.MITIGATED, 0, 9))))
    assert not re.search(r"https?:|url\(|@import|<script|<link|<img|src=|href=|\son\w+=", said)
    assert "default-src 'none'; style-src 'unsafe-inline'" in said


def test_a_long_value_is_cut():
    assert "x" * 301 not in page(replace(result(), source="x" * 5000))


def test_a_table_is_bounded_and_says_what_is_left_out():
    many = {f"p/r{number:03d}": Score() for number in range(500)}
    said = page(result(rules=many))
    assert said.count("<td>p/r") == 199
    assert "301 more are left out here." in said


def test_without_incidents_there_is_no_picture():
    assert "No rule took an alert." in page(result())


def test_storms_that_go_on_are_said_to():
    assert "<td>still" in page(result(storms=[StormSpell(START, 12)]))


# --- the picture ---


def paths(drawn):
    return {(lane.label, name): path for lane in drawn.lanes for name, path in lane.bars}


def test_a_bar_is_as_long_as_its_stretch():
    drawn = picture([trace("p/r", "t", (Standing.MITIGATED, 0, 720), (Standing.WAITING, 720, 1440))], DAY)
    assert [lane.label for lane in drawn.lanes] == ["p/r", "t"]
    assert paths(drawn) == {
        ("t", "mitigated"): "M250 50h360v12h-360z",
        ("t", "waiting"): "M610 52h360v8h-360z",
    }


def test_what_matters_most_shows_where_there_is_room_for_one_and_the_shortest_can_be_seen():
    drawn = picture(
        [
            trace(
                "p/r",
                "t",
                (Standing.FIRING, 0, 0.1),
                (Standing.HANDED_OVER, 0.1, 0.2),
                (Standing.FIRING, 0.2, 0.3),
            )
        ],
        DAY,
    )
    assert paths(drawn) == {("t", "handed_over"): "M250 50h1v12h-1z"}


def test_what_reaches_beyond_the_period_is_cut_to_it():
    drawn = picture([trace("p/r", "t", (Standing.FIRING, -100, 3000))], DAY)
    assert paths(drawn) == {("t", "firing"): "M250 54h720v4h-720z"}


def test_a_picture_is_bounded_whatever_there_is():
    traces = [
        trace(
            f"p/r{rule:03d}",
            f"t{target}",
            *[(Standing.FIRING if i % 2 else Standing.WAITING, i, i + 1) for i in range(1440)],
        )
        for rule in range(40)
        for target in range(5)
    ]
    drawn = picture(traces, DAY)
    lanes = [lane for lane in drawn.lanes if not lane.head]
    assert len(lanes) <= MOST_LANES + MOST_RULES + 1
    assert sum(len(path) for lane in drawn.lanes for _, path in lane.bars) < len(lanes) * COLUMNS * 30
    assert any(lane.label == "5 more targets" for lane in lanes)
    assert lanes[-1].label == "10 more rules"
    assert drawn.left_out == [
        "120 targets have no lane of their own: those of one rule share one",
        "10 rules have no lane of their own: they share one",
    ]


@pytest.mark.parametrize(
    ("length", "first", "count"),
    [
        (timedelta(hours=2), "05 Oct 09:00", 9),
        (timedelta(days=1), "05 Oct 09:00", 9),
        (timedelta(days=30), "06 Oct", 8),
        (timedelta(days=3000), "14 Jan", 26),
    ],
)
def test_the_scale_has_a_few_round_ticks(length, first, count):
    drawn = picture([trace("p/r", "t", (Standing.FIRING, 0, 9))], Period(START, START + length))
    assert (drawn.ticks[0].label, len(drawn.ticks)) == (first, count)


def test_a_period_of_no_length_has_a_picture():
    assert picture([trace("p/r", "t", (Standing.FIRING, 0, 1))], Period(START, START)).ticks == ()
