"""The alerting rules beside a pack: which of them no rule takes, which a rule waits for in vain, how far back they look."""

from datetime import timedelta

import pytest
from tests.catalog_fakes import CATALOG
from tests.lints import ENVIRON, alerts, found, rule, said
from tests.rule_files import write

from stopgap.config import alerts as alerting, coverage, load
from stopgap.config.lookback import lookback

TOLD = "ladder: []"
LISTED = alerts("alert: Down, labels: {severity: page}", "alert: Slow")


def pair(file: str, *matches: str) -> dict[str, str]:
    return {
        "p/alerts.yaml": file,
        **{f"p/r{i}.yaml": rule(TOLD, match=f"'{each}'", name=f"r{i}") for i, each in enumerate(matches)},
    }


# --- untaken-alert ---


def test_an_alert_that_no_rule_takes_is_odd_where_it_stands(tmp_path):
    assert said(tmp_path, pair(LISTED, 'alertname="Down"'), "untaken-alert") == [
        "5:17 groups[0].rules[1].alert: no rule takes the alert `Slow`"
    ]


@pytest.mark.parametrize(
    "other", ['alertname="Slow"', 'alertname=~"Slow|Down"', 'alertname=~"Sl.+"', 'job="x"', 'severity="x"']
)
def test_an_alert_that_a_rule_may_take_is_not(tmp_path, other):
    assert said(tmp_path, pair(LISTED, 'alertname="Down"', other), "untaken-alert") == []


@pytest.mark.parametrize(
    "other", ['alertname!="Slow"', 'alertname="Slow",alertname!="x",severity="y"', 'alertname=""']
)
def test_labels_that_the_alert_sets_itself_count(tmp_path, other):
    file = alerts("alert: Slow, labels: {severity: page}")
    assert len(said(tmp_path, pair(file, other), "untaken-alert")) == 1


def test_a_rule_of_another_pack_takes_it_too(tmp_path):
    files = pair(LISTED, 'alertname="Down"') | {"q/a.yaml": rule(TOLD, match="'alertname=\"Slow\"'")}
    assert said(tmp_path, files, "untaken-alert") == []


def test_recording_rules_and_what_is_no_list_are_no_alerts(tmp_path):
    for i, file in enumerate(
        (alerts("record: x, expr: y"), "groups:\n", "groups: [{name: x}]", "groups: {a: b}")
    ):
        assert said(tmp_path / str(i), pair(file, 'alertname="Down"'), "untaken-alert") == []


def test_beside_very_many_rules_without_names_no_alert_is_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(coverage, "MOST_COMPARED", 1)
    assert len(said(tmp_path / "a", pair(LISTED, 'job="x",alertname!~"Slow"'), "untaken-alert")) == 1
    other = pair(LISTED, 'job="x",alertname!~"Slow"', 'job="y",alertname!~"Slow"')
    assert said(tmp_path / "b", other, "untaken-alert") == []


def test_of_one_file_of_a_pack_nothing_is_said_of_alerts(tmp_path):
    root = write(tmp_path, pair(LISTED, 'alertname="Gone"') | {"p/pack.yaml": "name: p"})
    assert load(root / "p" / "r0.yaml", CATALOG, environ=ENVIRON).warnings == ()


# --- unknown-alert ---


def test_a_rule_that_waits_for_an_alert_that_is_not_there_is_odd(tmp_path):
    (problem,) = found(tmp_path, pair(LISTED, 'alertname=~"Down|Slow"', 'alertname="Donw"'), "unknown-alert")
    assert (problem.path.rpartition("/")[2], problem.line, problem.column) == ("r1.yaml", 3, 12)
    assert problem.text == "no alerting rule of this pack is called `Donw`"
    assert problem.hint == "did you mean `Down`?"


def test_a_name_that_is_like_no_other_is_to_be_added(tmp_path):
    (problem,) = found(tmp_path, pair(LISTED, 'alertname=~"Xyz.*"'), "unknown-alert")
    assert problem.text == "no alerting rule of this pack is called as this rule wants it"
    assert problem.hint == "add it there, or correct the name"


def test_a_rule_whose_alert_has_another_label_is_odd(tmp_path):
    (problem,) = found(tmp_path, pair(LISTED, 'alertname="Down",severity="info"'), "unknown-alert")
    assert (
        problem.text == "the alerting rules of this pack give `Down` other labels: this rule never takes it"
    )


@pytest.mark.parametrize(
    "match",
    [
        'alertname="Down"',
        'alertname=~"Down|OldName"',
        'alertname=~"Do.*"',
        'alertname="Down",severity="page",job="x"',
        'job="x"',
        'alertname!="Slow"',
    ],
)
def test_a_rule_whose_alert_may_be_there_is_not(tmp_path, match):
    assert said(tmp_path, pair(LISTED, match), "unknown-alert") == []


def test_a_label_that_is_a_template_may_be_anything(tmp_path):
    file = alerts("alert: Down, labels: {severity: '{{ $labels.s }}'}")
    assert said(tmp_path, pair(file, 'alertname="Down",severity="info"'), "unknown-alert") == []


def test_a_pack_without_alerting_rules_waits_for_those_of_others(tmp_path):
    files = pair(LISTED, 'alertname=~"Down|Slow"') | {"q/a.yaml": rule(TOLD, match="'alertname=\"Else\"'")}
    assert said(tmp_path, files, "unknown-alert") == []


def test_among_very_many_alerts_a_regex_is_not_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(alerting, "MOST_COMPARED", 1)
    assert said(tmp_path / "a", pair(LISTED, 'alertname=~"X.*"'), "unknown-alert") == []
    assert len(said(tmp_path / "b", pair(LISTED, 'alertname="X"'), "unknown-alert")) == 1


# --- how far back a query looks ---


@pytest.mark.parametrize(
    ("query", "minutes"),
    [
        ("up == 1", 0),
        ("rate(x[5m])", 5),
        ("sum by (job) (rate(x{a='[9h]'}[2m])) / sum(rate(y[10m])) > 1", 10),
        ("max_over_time(rate(x[5m])[1h:])", 65),
        ("max_over_time(rate(x[5m])[1h:30s]) + rate(y[63m])", 65),
        ("avg_over_time((max_over_time(a[1m])[10m:1m])[30m:])", 41),
        ("x offset 1h", 60),
        ("rate(x[5m] offset 1h)", 65),
        ("rate(x[5m] offset -1h)", 5),
        ("rate(x[5m] @ 100)", 5),
        ('x{a="}", b=~`[1h]`}[3m]', 3),
        ("label_replace(x[1m], \"a\", \"[5h]\", 'b', 'c')", 1),
        ("x[5m] # [9h]", 5),
        ("x[1h30m]", 90),
        ("x[5y]", 0),
        ("x[a", 0),
        ("x[x]))", 0),
        ("a)[5m]) + b[2m]", 5),
        ('x{a="[1h]', 0),
        ('"[1h]', 0),
    ],
)
def test_a_query_looks_back_as_far_as_its_ranges_say(query, minutes):
    assert lookback(query) == timedelta(minutes=minutes)
