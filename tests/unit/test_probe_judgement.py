"""Judgement: the verdict on an answer that has come, without any socket."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from stopgap.probe import Verdict
from stopgap.probes.alert import AlertParams, judge as judge_rules, judge_up
from stopgap.probes.answers import healthy, one_line
from stopgap.probes.http import HttpParams, judge as judge_body
from stopgap.probes.promql import PromqlParams, judge as judge_answer
from stopgap.prometheus import Answer, Element, RuleAlert, RuleHealth

HEALTHY, UNHEALTHY, UNKNOWN = Verdict.HEALTHY, Verdict.UNHEALTHY, Verdict.UNKNOWN


def answer(*values, warnings=()):
    return Answer(
        tuple(Element({"i": str(i)} if len(values) > 1 else {}, v) for i, v in enumerate(values)), warnings
    )


@pytest.mark.parametrize(
    ("given", "verdict", "why"),
    [
        (answer(1.0), HEALTHY, "up = 1, wanted == 1"),
        (answer(1.0, 1.0), HEALTHY, "2 of 2 elements: up = 1 {i='0'}, wanted == 1"),
        (answer(0.0), UNHEALTHY, "up = 0, wanted == 1"),
        (answer(1.0, 0.0), UNHEALTHY, "1 of 2 elements: up = 0 {i='1'}, wanted == 1"),
        (answer(math.inf), UNHEALTHY, "up = inf, wanted == 1"),
        (answer(), UNKNOWN, "up: no data"),
        (answer(math.nan), UNKNOWN, "up = nan, wanted == 1"),
        (answer(1.0, math.nan), UNKNOWN, "1 of 2 elements: up = nan {i='1'}, wanted == 1"),
        (answer(math.nan, 0.0), UNHEALTHY, "1 of 2 elements: up = 0 {i='1'}, wanted == 1"),
        (answer(1.0, warnings=("remote read failed",)), UNKNOWN, "up: Prometheus warns: remote read failed"),
        (answer(0.0, warnings=("remote read failed",)), UNKNOWN, "up: Prometheus warns: remote read failed"),
    ],
)
def test_every_element_must_satisfy_the_condition_and_missing_data_is_unknown(given, verdict, why):
    finding = judge_answer(given, PromqlParams.model_validate({"query": "up", "is": "== 1"}))
    assert (finding.verdict, finding.why) == (verdict, why)


@pytest.mark.parametrize(
    ("wanted", "verdict", "why"),
    [
        ({"state": "up"}, HEALTHY, "as wanted"),
        ({"checks.0.ok": True, "count": 3, "ratio": "< 0.5", "none": None}, HEALTHY, "as wanted"),
        ({"state": "down"}, UNHEALTHY, 'state is "up", wanted == "down"'),
        ({"state": '!= "up"'}, UNHEALTHY, 'state is "up", wanted != "up"'),
        ({"count": "> 3"}, UNHEALTHY, "count is 3, wanted > 3"),
        ({"count": "3"}, UNHEALTHY, 'count is 3, wanted == "3"'),
        ({"checks.0.ok": 1}, UNHEALTHY, "checks.0.ok is true, wanted == 1"),
        ({"count": True}, UNHEALTHY, "count is 3, wanted == true"),
        ({"checks.1.ok": True}, UNHEALTHY, "checks.1.ok is absent"),
        ({"checks.x": True}, UNHEALTHY, "checks.x is absent"),
        ({"state.deep": 1}, UNHEALTHY, "state.deep is absent"),
        ({"gone": None}, UNHEALTHY, "gone is absent, wanted == null"),
        ({"gone": '!= "x"'}, UNHEALTHY, "gone is absent"),
        ({"checks": "x"}, UNHEALTHY, "checks is a list"),
        ({"checks.0": "x"}, UNHEALTHY, "checks.0 is an object"),
    ],
)
def test_each_path_of_a_json_body_must_be_as_wanted(wanted, verdict, why):
    body = b'{"state":"up","count":3,"ratio":0.1,"none":null,"checks":[{"ok":true}]}'
    finding = judge_body(body, HttpParams.model_validate({"url": "http://x", "json": wanted}))
    assert finding.verdict is verdict
    assert why in finding.why


@pytest.mark.parametrize(
    ("body", "verdict"), [(b"all ok here", HEALTHY), (b"all is lost", UNHEALTHY), (b"\xff", UNHEALTHY)]
)
def test_a_body_must_contain_what_is_wanted(body, verdict):
    assert (
        judge_body(body, HttpParams.model_validate({"url": "http://x", "contains": "ok"})).verdict is verdict
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 5000, b"\xff", b"NaN"])
def test_a_body_that_is_not_json_is_a_wrong_answer(body):
    finding = judge_body(body, HttpParams.model_validate({"url": "http://x", "json": {"a": 1}}))
    assert finding.verdict is UNHEALTHY
    assert "not JSON" in finding.why


def test_a_reason_is_one_bounded_line_whatever_the_other_side_said():
    finding = healthy("a\nb\x1b[31m\u2028c " + "x" * 5000)
    assert finding.why.startswith("a b [31m c x")
    assert len(finding.why) == 300
    assert finding.why.isprintable()
    assert one_line("short") == "short"


NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
X = {"alertname": "X", "job": "api", "severity": "critical"}


def rule(*alerts, health="ok", age=1.0, interval=15.0, labels=None, error=""):
    """A rule whose alerts are (state, labels), evaluated `age` seconds ago."""
    at = None if age is None else NOW - timedelta(seconds=age)
    found = tuple(RuleAlert({"alertname": "X"} | more, state) for state, more in alerts)
    return RuleHealth(
        "X", "g", labels or {}, health, error, at, NOW, timedelta(seconds=interval), "inactive", found
    )


def over(*rules, labels=X):
    """What the rules say of an alert; None: it is over."""
    found = judge_rules(rules, AlertParams(labels=labels))
    return found and (found.verdict, found.why)


NAME = 'X{job="api", severity="critical"}'


@pytest.mark.parametrize(
    ("rules", "verdict", "why"),
    [
        ([rule(("firing", {}))], UNHEALTHY, f"{NAME} fires"),
        ([rule(("firing", {}), ("pending", {}), ("firing", {"i": "1"}))], UNHEALTHY, f"{NAME} fires 2 times"),
        ([rule(("pending", {"job": "api"}))], UNKNOWN, f"{NAME} is pending"),
        ([], UNKNOWN, f"{NAME}: Prometheus has no such rule"),
        ([rule(labels={"severity": "warning"})], UNKNOWN, f"{NAME}: Prometheus has no such rule"),
        (
            [rule(health="err", error="many-to-many")],
            UNKNOWN,
            f"{NAME}: its rule is not healthy: many-to-many",
        ),
        ([rule(("firing", {}), health="err")], UNKNOWN, f"{NAME}: its rule is not healthy: err"),
        ([rule(health="unknown", age=None)], UNKNOWN, f"{NAME}: its rule is not healthy: unknown"),
        ([rule(age=None)], UNKNOWN, f"{NAME}: its rule was never evaluated"),
        ([rule(age=61)], UNKNOWN, f"{NAME}: its rule was evaluated 1m1s ago, wanted 1m"),
        ([rule(("firing", {}), age=61)], UNKNOWN, f"{NAME}: its rule was evaluated 1m1s ago, wanted 1m"),
        ([rule(age=901, interval=300)], UNKNOWN, f"{NAME}: its rule was evaluated 15m ago, wanted 15m"),
        ([rule(), rule(health="err")], UNKNOWN, f"{NAME}: its rule is not healthy: err"),
        ([rule(), rule(("firing", {}))], UNHEALTHY, f"{NAME} fires"),
    ],
)
def test_an_alert_that_fires_or_whose_rule_cannot_be_trusted_is_not_over(rules, verdict, why):
    assert over(*rules) == (verdict, why)


@pytest.mark.parametrize(
    "rules",
    [
        [rule()],
        [rule(age=60)],
        [rule(age=-5)],
        [rule(age=900, interval=300)],
        [rule(("firing", {"job": "web"}))],
        [rule(labels={"severity": "critical"}), rule(("firing", {}), labels={"severity": "warning"})],
        [rule(), rule(health="err", labels={"job": "web"})],
        [rule(labels={"severity": "{{ if gt $value 9.0 }}critical{{ end }}"})],
    ],
)
def test_an_alert_is_over_when_a_trusted_rule_does_not_list_it(rules):
    assert over(*rules) is None


def test_labels_that_come_after_prometheus_do_not_make_its_alert_another():
    fires = rule(("firing", {"job": "api"}), labels={"severity": "critical"})
    assert over(fires, labels=X | {"cluster": "eu", "replica": "a"}) == (
        UNHEALTHY,
        'X{cluster="eu", job="api", replica="a", severity="critical"} fires',
    )


@pytest.mark.parametrize(
    ("given", "verdict", "why"),
    [
        (answer(1.0), HEALTHY, f"{NAME} is over, all targets of job api are up (1)"),
        (answer(1.0, 1.0), HEALTHY, f"{NAME} is over, all targets of job api are up (2)"),
        (answer(1.0, 0.0), UNKNOWN, f"{NAME} is over, but 1 of 2 targets of job api are not up: ?"),
        (answer(math.nan), UNKNOWN, f"{NAME} is over, but 1 of 1 targets of job api are not up: ?"),
        (answer(), UNKNOWN, f"{NAME} is over, but no target of job api is known"),
        (answer(1.0, warnings=("half",)), UNKNOWN, f"{NAME} is over, but Prometheus warns: half"),
    ],
)
def test_an_alert_that_is_over_counts_only_while_all_targets_of_its_job_are_up(given, verdict, why):
    finding = judge_up(given, AlertParams(labels=X))
    assert (finding.verdict, finding.why) == (verdict, why)
