"""The packs that ship load with the actions and probes that ship, and every rung of theirs can be planned."""

from pathlib import Path

import pytest

from stopgap import actions, probes
from stopgap.catalog import Catalog
from stopgap.config import build_rule, load
from stopgap.contacts import Contacts
from stopgap.context import Context, Http
from stopgap.plan import Plan, plan, target_of
from stopgap.prometheus import Prometheus
from stopgap.template import Scope

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
    assert {problem.text.split(" contact ")[0] for problem in loaded.warnings} <= {"the address of"}


def test_every_rung_of_the_shipped_packs_can_be_planned_for_an_alert(catalog):
    for rule in load(RULES, catalog, environ={}).rules:
        target, flaw = target_of(rule, LABELS)
        assert (bool(target), flaw) == (True, "")
        for rung in range(len(rule.ladder)):
            given = {
                "labels": LABELS,
                "annotations": {},
                "target": target,
                "incident_id": "INC-1",
                "secrets": {},
            }
            assert isinstance(plan(rule, rung, catalog, Scope(vars=rule.vars, **given)), Plan)


def test_every_shipped_rule_is_built_again_from_its_document(catalog):
    loaded = load(RULES, catalog, environ={})
    assert [build_rule(loaded.documents[rule.version], catalog) for rule in loaded.rules] == list(
        loaded.rules
    )
