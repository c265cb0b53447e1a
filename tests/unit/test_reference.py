"""The reference: every action, probe and place is described, with an example that loads, and the page is fresh."""

from pathlib import Path

import pytest

from stopgap.backends import BACKENDS, locate
from stopgap.backends.capability import Place
from stopgap.reference import beside, entries, markdown
from stopgap.stock import bare_context, build_catalog

ROOT = Path(__file__).parents[2]
KNOWN = entries(build_catalog(bare_context()))
PAGE = ROOT / "rules" / "ACTIONS.md"


def test_the_page_is_fresh():
    assert PAGE.read_text() == markdown(KNOWN), "cure: stopgap actions --markdown > rules/ACTIONS.md"


def test_it_knows_every_action_probe_and_place():
    catalog = build_catalog(bare_context())
    for kind, names in (
        ("action", set(catalog.actions)),
        ("probe", set(catalog.probes)),
        ("place", {f"{backend.schemes[0]}-{backend.kind}".rstrip("-") for backend in BACKENDS}),
    ):
        assert {entry.name for entry in KNOWN if entry.kind == kind} == names


@pytest.mark.parametrize("entry", KNOWN, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_each_has_a_gist_an_example_and_a_description_of_every_key(entry):
    assert entry.gist.endswith((".", ")"))
    assert entry.example
    assert all(each.text.endswith(".") for each in entry.parameters)


def test_the_keys_beside_actions_and_probes_are_described():
    assert [each.name for each in beside("probe")] == ["after", "within", "for", "every", "timeout"]
    assert [each.name for each in beside("action")] == ["timeout", "retries", "optional", "title"]
    assert all(each.text.endswith(".") for kind in ("action", "probe") for each in beside(kind))
    assert "| `within` | `1m` |" in PAGE.read_text()
    assert beside("place") == ()


@pytest.mark.parametrize(
    "entry", [entry for entry in KNOWN if entry.kind == "place"], ids=lambda entry: entry.name
)
def test_the_example_of_a_place_is_one(entry):
    assert isinstance(locate(entry.example, Place), Place)


def test_no_machine_shows_through():
    assert str(Path.home()) not in PAGE.read_text()
