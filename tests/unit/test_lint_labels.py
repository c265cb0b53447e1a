"""Labels that steps use and the target leaves open, and escalations that wait for what never happens."""

from datetime import timedelta

import pytest
from tests.lints import CAUSE, FLAG, HTTP, RESTART, alerts, of_rule, rule, said

from stopgap.action import Danger
from stopgap.config.lints.foreign_labels import foreign_labels
from stopgap.config.lints.subject import Subject
from stopgap.config.nature import Nature
from stopgap.rule import Rule, RungSpec, StepSpec
from stopgap.template import Template

CODE = "foreign-label"


def acting(at: str, more: str = "") -> str:
    return f"do: [{{restart: 'systemd://{at}'}}]\nverify: [{HTTP}]" + (f"\n{more}" if more else "")


# --- foreign-label ---


@pytest.mark.parametrize(
    ("at", "more"),
    [
        ("{{ labels.instance }}", ""),
        ("{{ labels.instance }}", "target: shop"),
        ("{{ labels.instance }}", "target: '{{ labels.job }}'"),
        ('{{ labels.unit | default("x") }}', "per: instance"),
    ],
)
def test_a_label_that_the_target_leaves_open_is_odd(tmp_path, at, more):
    (text,) = of_rule(tmp_path, acting(at, more), CODE)
    assert text.startswith("4:20 rules[0].do[0].restart")
    assert "the target does not tell labels." in text


@pytest.mark.parametrize(
    ("at", "more"),
    [
        ("{{ labels.instance }}", "target: '{{ labels.instance }}'"),
        ("{{ labels.instance }}", "target: 'x/{{ labels.job }}/{{ labels.instance | lower }}'"),
        ("{{ labels.instance }}", "per: instance"),
        ("{{ labels.instance }}", "target: shop\nper: [zone, instance]"),
        ("{{ labels.job }}", ""),
        ("{{ labels.service }}", ""),
        ("{{ target }}", ""),
        ("{{ annotations.unit }}", ""),
        ("{{ labels.alertname }}", "target: shop"),
        ("shop", ""),
    ],
)
def test_a_label_that_the_target_tells_apart_is_not(tmp_path, at, more):
    assert of_rule(tmp_path, acting(at, more), CODE) == []


@pytest.mark.parametrize("match", ['zone="a"', 'zone=~"a"', 'zone=~"(a)"'])
def test_a_label_of_which_the_matchers_leave_one_value_is_settled(tmp_path, match):
    body = acting("{{ labels.zone }}", "target: shop")
    assert said(tmp_path, {"p/a.yaml": rule(body, match=f"'{match}'")}, CODE) == []
    assert said(tmp_path, {"p/a.yaml": rule(body, match="'zone=~\"a|b\"'")}, CODE)


def test_where_every_alert_has_a_service_its_job_is_not_the_target(tmp_path):
    body = acting("{{ labels.job }}")
    assert said(tmp_path, {"p/a.yaml": rule(body, match="'service=~\".+\"'")}, CODE)
    assert said(tmp_path, {"p/a.yaml": rule(body, match="'instance=~\".+\"'")}, CODE) == []


def test_labels_that_the_alerts_set_alike_are_settled(tmp_path):
    body = acting("{{ labels.unit }}", "target: shop")
    same = ("alert: Down, labels: {unit: a}", "alert: Down, labels: {unit: a, severity: b}")
    other = (*same, "alert: Down, labels: {unit: b}")
    assert of_rule(tmp_path, body, CODE, alerts=alerts(*same)) == []
    assert of_rule(tmp_path, body, CODE, alerts=alerts(*other))
    assert of_rule(tmp_path, body, CODE, alerts=alerts("alert: Down, labels: {unit: '{{ $labels.x }}'}"))


def test_labels_that_only_people_read_or_nothing_is_done_with_do_not_count(tmp_path):
    body = f"do: [{{notify: {{contact: default, body: '{{{{ labels.instance }}}}'}}}}, {RESTART}]\nverify: [{HTTP}]"
    assert of_rule(tmp_path, body, CODE) == []


def test_each_label_is_said_once_where_it_first_stands(tmp_path):
    flag = "{flag: {at: 'env:///x', set: {A: '{{ labels.a }}', B: '{{ labels.b }}-{{ labels.a }}'}}}"
    body = f"do: [{flag}]\nactivate: [{{restart: 'systemd://{{{{ labels.b }}}}'}}]\nverify: [{HTTP}]\nrecovered: [{CAUSE}]"
    found = of_rule(tmp_path, body, CODE)
    assert [each.split(":")[1].split(" ")[1] for each in found] == [
        "rules[0].do[0].flag.set.A",
        "rules[0].do[0].flag.set.B",
    ]


def test_labels_in_a_list_have_their_place_too():
    argv = ["/bin/fix", Template.parse("{{ labels.instance }}")]
    step = StepSpec("exec", {"argv": argv, "stdin": "x"}, timedelta(seconds=5))
    one = Rule("p", "one", "", (), target="shop", ladder=(RungSpec("a", (step,)),))
    subject = Subject(one, {("ladder", 0, "do", 0): Nature(Danger.BOUNDED)})
    assert [each.path for each in foreign_labels(subject)] == [("ladder", 0, "do", 0, "params", "argv", 1)]


# --- idle-escalation ---

ACTS = f"do: [{RESTART}]\nverify: [{HTTP}]"
BLIND = f"do: [{RESTART}]"
HOLDS = f"do: [{FLAG}]\nverify: [{HTTP}]\nrecovered: [{CAUSE}]"


@pytest.mark.parametrize(
    ("body", "event", "why"),
    [
        ("ladder: []", "mitigated", "it has no ladder"),
        ("ladder: []", "lease_expired", "it has no ladder"),
        ("ladder: []", "approval_requested", "it has no ladder"),
        (BLIND, "mitigation_lost", "nothing verifies what it does"),
        (ACTS, "lease_ending", "it holds nothing"),
        (f"{HOLDS}\non_resolve: keep", "lease_expired", "it holds nothing"),
        (HOLDS, "storm_began", "it is about the whole daemon"),
        (HOLDS, "reloaded", "it is about the whole daemon"),
    ],
)
def test_an_event_that_never_happens_to_a_rule_is_odd(tmp_path, body, event, why):
    more = f"\nescalate: [{{when: opened, notify: default}}, {{when: {event}, notify: default}}]"
    (text,) = of_rule(tmp_path, body + more, "idle-escalation")
    assert f"escalate[1].when: `{event}` never happens" in text
    assert text.endswith(why)


@pytest.mark.parametrize(
    ("body", "event"),
    [
        ("ladder: []", "handed_over"),
        ("ladder: []", "closed"),
        (BLIND, "mitigated"),
        (ACTS, "mitigation_lost"),
        (ACTS, "approval_requested"),
        (HOLDS, "lease_expired"),
        (HOLDS, "brake_released"),
    ],
)
def test_an_event_that_may_happen_is_not(tmp_path, body, event):
    more = f"\nescalate: [{{when: {event}, notify: default}}, {{after: 5m, notify: default}}]"
    assert of_rule(tmp_path, body + more, "idle-escalation") == []
