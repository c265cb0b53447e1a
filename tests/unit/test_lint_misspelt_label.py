"""Labels that are nearly those that alerts have."""

import pytest
from tests.lints import HTTP, alerts, found, of_rule, rule

from stopgap.config.lints.misspelt_label import misspelt_label
from stopgap.config.lints.subject import Subject
from stopgap.rule import Rule

CODE = "misspelt-label"
VERIFY = f"verify: [{HTTP}]"


def acting(target: str, more: str = "") -> str:
    return f"target: '{target}'\ndo: [{{restart: systemd://x}}]\n{more or VERIFY}"


@pytest.mark.parametrize(
    ("label", "meant"),
    [
        ("instnace", "instance"),
        ("instance_", "instance"),
        ("servce", "service"),
        ("serivce", "service"),
        ("alertnam", "alertname"),
        ("namesapce", "namespace"),
        ("clustr", "cluster"),
        ("Instance", "instance"),
    ],
)
def test_a_label_that_is_nearly_a_usual_one_is_odd(tmp_path, label, meant):
    (one,) = found(tmp_path, {"p/a.yaml": rule(acting(f"{{{{ labels.{label} }}}}"))}, CODE)
    assert (one.line, one.column, one.key) == (4, 13, "rules[0].target")
    assert one.text.startswith(f"labels.{label} is no label that is known here")
    assert one.hint == f"did you mean `{meant}`?"


@pytest.mark.parametrize(
    "label",
    [
        "instance",
        "service",
        "job",
        "pod",
        "device",
        "state",
        "stage",
        "server",
        "sevic",
        "clone",
        "tenant",
        "namespace",
        "exported_instance",
    ],
)
def test_a_usual_label_and_one_of_its_own_are_not(tmp_path, label):
    assert of_rule(tmp_path, acting(f"{{{{ labels.{label} }}}}"), CODE) == []


def test_the_labels_of_the_matchers_and_of_the_alerts_are_known(tmp_path):
    body = acting("{{ labels.tenants }}")
    match = '\'{alertname="Down", tenant=~".+"}\''
    assert found(tmp_path, {"p/a.yaml": rule(body, match=match)}, CODE)
    assert of_rule(tmp_path, body, CODE, alerts=alerts("alert: Down, labels: {tenant: a}"))
    assert of_rule(tmp_path, body, CODE, alerts=alerts("alert: Other, labels: {tenant: a}")) == []
    both = alerts("alert: Down, labels: {tenant: a, tenants: b}")
    assert of_rule(tmp_path, body, CODE, alerts=both) == []


def test_what_the_expression_of_an_alert_names_is_a_label_of_its_own(tmp_path):
    body = acting("{{ labels.instances }}")
    assert (
        of_rule(tmp_path, body, CODE, alerts=alerts("alert: Down, expr: 'sum by (instances) (up) < 1'")) == []
    )
    assert of_rule(tmp_path, body, CODE, alerts=alerts("alert: Down, expr: 'sum by (my_instances) (up) < 1'"))


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (f"per: [job, instnace]\ndo: [{{restart: systemd://x}}]\n{VERIFY}", "rules[0].per[1]"),
        (f"do: [{{restart: 'systemd://{{{{ labels.instnace }}}}'}}]\n{VERIFY}", "rules[0].do[0].restart"),
        (acting("x", "verify: [{http: 'http://{{ labels.instnace }}'}]"), "rules[0].verify[0].http"),
        (acting("x", f"recovered: [{{http: 'http://{{{{ labels.instnace }}}}'}}]\n{VERIFY}"), "rules[0].recovered[0].http"),
    ],
)  # fmt: skip
def test_it_is_seen_wherever_a_label_is_asked_for(tmp_path, body, key):
    (said,) = of_rule(tmp_path, body, CODE)
    assert f" {key}" in said


def test_it_is_told_once_however_often_it_is_asked_for(tmp_path):
    body = f"target: '{{{{ labels.instnace }}}}'\ndo: [{{restart: 'systemd://{{{{ labels.instnace }}}}'}}]\n{VERIFY}"
    assert len(of_rule(tmp_path, body, CODE)) == 1


def test_a_rule_without_labels_is_well():
    assert list(misspelt_label(Subject(Rule("p", "one", "v", ())))) == []
