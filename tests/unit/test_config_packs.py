"""The packs that ship load with the actions and probes that ship, and every rung of theirs can be planned."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from stopgap import actions, probes
from stopgap.catalog import Catalog
from stopgap.config import build_rule, load
from stopgap.config.codes import Odd
from stopgap.contacts import Contacts
from stopgap.context import Context, Http
from stopgap.plan import Plan, plan, references, target_of
from stopgap.prometheus import Prometheus
from stopgap.template import RefKind, Scope

RULES = Path(__file__).parents[2] / "rules"
LABELS = {"alertname": "X", "job": "agente-hotel", "instance": "api:8000", "service": "agente-hotel"}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    http = Http()
    context = Context(http, Prometheus(None, http.session), Contacts())
    return Catalog(actions.build(context), probes.build(context))


def test_the_shipped_packs_load_and_only_addresses_of_contacts_are_open(catalog):
    loaded = load(RULES, catalog, environ={})
    assert len(loaded.rules) >= 4
    assert {problem.code for problem in loaded.warnings} <= {Odd.UNSET_CONTACT}


def test_every_rung_of_the_shipped_packs_can_be_planned_for_an_alert(catalog):
    for rule in load(RULES, catalog, environ={}).rules:
        asked = references([rule.target, *(step.params for rung in rule.ladder for step in rung.do)])
        labels = {one.name: "203.0.113.7" for one in asked if one.kind is RefKind.LABELS} | LABELS
        target, flaw = target_of(rule, labels)
        assert (bool(target), flaw) == (True, "")
        for rung in range(len(rule.ladder)):
            given = {
                "labels": labels,
                "annotations": {},
                "target": target,
                "incident_id": "INC-1",
                "secrets": {one.name: SecretStr("https://x.invalid/") for one in asked},
            }
            assert isinstance(plan(rule, rung, catalog, Scope(vars=rule.vars, **given)), Plan)


def test_every_shipped_rule_is_built_again_from_its_document(catalog):
    loaded = load(RULES, catalog, environ={})
    assert [build_rule(loaded.documents[rule.version], catalog) for rule in loaded.rules] == list(
        loaded.rules
    )
