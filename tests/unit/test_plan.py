"""Planning a rung: templates become parameters, and what an alert gets wrong becomes a refusal."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.catalog_fakes import CATALOG

from stopgap.config import build_rule
from stopgap.guard import Reason, Refusal
from stopgap.plan import Plan, plan, plan_probes, references, target_of
from stopgap.rule import Rule
from stopgap.template import Reference, RefKind, Scope, Template

FLAG = {"action": "flag", "params": {"at": "env:///x", "set": {"A": "b", "C": "d"}}}
RESTART = {"action": "restart", "params": {"at": "systemd://api"}}


def rule(**keys) -> Rule:
    document = {"pack": "p", "name": "one", "match": ['alertname="Down"'], "ladder": [], **keys}
    return build_rule(document, CATALOG)


def one_rung(*steps, **keys) -> Rule:
    return rule(ladder=[{"name": "first", "do": list(steps), **keys}])


def planned(of: Rule, labels=None, secrets=None, **more) -> Plan | Refusal:
    given = {"annotations": {}, "target": "api", "incident_id": "INC-1", **more}
    return plan(of, 0, CATALOG, Scope(labels or {}, secrets=secrets or {}, vars=of.vars, **given))


def test_a_plan_holds_the_steps_the_activation_and_the_probes_with_their_parameters():
    probe = {"probe": "http", "params": {"url": "http://{{ labels.instance }}/ready"}}
    found = planned(one_rung(FLAG, activate=[RESTART], verify=[probe]), {"instance": "api:80"})
    assert [step.spec.action for step in (*found.do, *found.activate)] == ["flag", "restart"]
    assert found.do[0].action is CATALOG.actions["flag"]
    assert found.do[0].params.set == {"A": "b", "C": "d"}
    assert found.verify[0].params.url == "http://api:80/ready"


def test_only_what_can_be_taken_back_is_held_and_an_activation_is_not():
    found = planned(one_rung(FLAG, RESTART, FLAG, activate=[RESTART]))
    assert found.reverts == (True, False, True)
    assert found.resources == ("env:///x#A", "env:///x#C")


def test_labels_annotations_target_incident_and_secrets_are_put_in():
    settings = {
        "A": "{{ labels.job }}",
        "B": "{{ annotations.a | lower }}",
        "C": "{{ target }}-{{ incident.id }}",
        "D": "{{ secrets.key }}",
    }
    of = rule(
        ladder=[{"do": [{"action": "flag", "params": {"at": "env:///x", "set": settings}}]}], secrets=["key"]
    )
    found = planned(of, {"job": "api"}, {"key": SecretStr("hunter2")}, annotations={"a": "LOUD"})
    assert found.do[0].params.set == {"A": "api", "B": "loud", "C": "api-INC-1", "D": SecretStr("hunter2")}
    assert "hunter2" not in repr(found)


def test_a_whole_number_arrives_as_one():
    step = {"action": "scale", "params": {"at": "fly://x", "count": "{{ labels.n | int }}"}}
    assert planned(one_rung(step), {"n": "3"}).do[0].params.count == 3


def test_prose_takes_what_a_program_must_not_see():
    step = {"action": "notify", "params": {"contact": "default", "body": "{{ labels.why }}"}}
    assert planned(one_rung(step), {"why": "a; rm -rf /"}).do[0].params.body == "a; rm -rf /"


@pytest.mark.parametrize(
    ("labels", "reason", "text"),
    [
        ({}, Reason.UNRESOLVED_TEMPLATE, "ladder[0].do[0].restart.at: labels.unit is not there and has no default"),
        ({"unit": "-x"}, Reason.UNSAFE_LABEL, "ladder[0].do[0].restart.at: labels.unit is not a plain word of 1 to 253 characters"),
        ({"unit": "plain"}, Reason.UNSAFE_LABEL, "ladder[0].do[0].restart.at: not valid with labels.unit of this alert"),
    ],
)  # fmt: skip
def test_what_an_alert_gets_wrong_is_a_refusal_that_names_label_and_parameter(labels, reason, text):
    step = {"action": "restart", "params": {"at": "{{ labels.unit }}"}}
    assert planned(one_rung(step), labels) == Refusal(reason, text)


def test_a_probe_that_cannot_be_rendered_refuses_the_rung_too():
    probe = {"probe": "http", "params": {"url": "http://{{ labels.instance }}"}}
    found = planned(one_rung(RESTART, verify=[probe]))
    assert found.text.startswith("ladder[0].verify[0].http.url: labels.instance")


def test_a_secret_that_is_gone_is_unresolved():
    step = {"action": "flag", "params": {"at": "env:///x", "set": {"A": "{{ secrets.key }}"}}}
    found = planned(rule(ladder=[{"do": [step]}], secrets=["key"]))
    assert found == Refusal(
        Reason.UNRESOLVED_TEMPLATE, "ladder[0].do[0].flag.set: secrets.key is not there and has no default"
    )


def test_parameters_that_a_secret_makes_invalid_never_show_it():
    step = {"action": "restart", "params": {"at": "{{ secrets.key }}"}}
    found = planned(rule(ladder=[{"do": [step]}], secrets=["key"]), secrets={"key": SecretStr("hunter2")})
    assert found.reason is Reason.UNRESOLVED_TEMPLATE
    assert "hunter2" not in found.text


def test_the_probes_of_recovered_are_planned_alone():
    of = rule(recovered=[{"probe": "http", "params": {"url": "http://{{ labels.instance }}/{{ target }}"}}])
    given = {"annotations": {}, "vars": {}, "target": "t", "incident_id": "INC-1", "secrets": {}}
    (probe,) = plan_probes(of.recovered, CATALOG, Scope({"instance": "pms"}, **given))
    assert (probe.params.url, probe.spec.probe) == ("http://pms/t", "http")
    refused = plan_probes(of.recovered, CATALOG, Scope({}, **given))
    assert refused.text.startswith("recovered[0].http.url: labels.instance")


@pytest.mark.parametrize(
    ("keys", "labels", "target"),
    [
        ({}, {"service": "s", "job": "j", "instance": "i:1"}, ("s", "")),
        ({}, {"job": "j", "instance": "i:1"}, ("j", "")),
        ({}, {"service": "", "instance": "i:1"}, ("i:1", "")),
        ({}, {}, ("one", "")),
        ({}, {"job": "two words"}, ("", "unsafe_label")),
        ({"target": "fly://x"}, {}, ("fly://x", "")),
        ({"target": "db-{{ labels.shard }}"}, {"shard": "7"}, ("db-7", "")),
        ({"target": "db-{{ labels.shard }}"}, {}, ("", "unresolved_template")),
        ({"target": "db-{{ labels.shard }}"}, {"shard": "$(x)"}, ("", "unsafe_label")),
        ({"target": "{{ labels.shard | default('') }}"}, {}, ("", "empty_target")),
        ({"target": "  "}, {}, ("", "empty_target")),
        ({"target": "{{ labels.shard }}"}, {"shard": "a\0b"}, ("", "unsafe_label")),
        ({"per": "instance"}, {"job": "j", "instance": "i:1"}, ("j/i:1", "")),
        ({"per": ["a.b", "it's"]}, {"job": "j", "a.b": "x", "it's": "y"}, ("j/x/y", "")),
        ({"per": "instance"}, {"job": "j"}, ("", "unresolved_template")),
        ({"per": "instance"}, {"job": "j", "instance": "../x"}, ("", "unsafe_label")),
    ],
)  # fmt: skip
def test_the_target_comes_from_one_alerts_labels(keys, labels, target):
    assert target_of(rule(**keys), labels) == target


def test_references_are_found_in_the_whole_tree():
    tree = {"a": [Template.parse("{{ labels.x }}"), {"b": Template.parse("{{ target }}")}], "c": 1}
    assert references(tree) == {Reference(RefKind.LABELS, "x"), Reference(RefKind.TARGET)}


def test_the_plan_module_knows_no_values_of_the_machine():
    assert "environ" not in Path(plan.__code__.co_filename).read_text()
