"""Whatever a label says, in whatever position of whatever rule that ships: it is refused, or it is text that a person reads."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stopgap.config import load
from stopgap.guard import Reason, Refusal
from stopgap.plan import plan, plan_probes, references, target_of
from stopgap.rule import Rule, RungSpec
from stopgap.simulate.environ import Environ
from stopgap.stock import bare_context, build_catalog
from stopgap.template import Scope, Template

ROOT = Path(__file__).parents[2] / "rules"
CATALOG = build_catalog(bare_context())
LOADED = load(ROOT, CATALOG, environ=Environ())
HOSTILE = {
    "command": "; rm -rf /",
    "substitution": "$(x)",
    "option": "--flag",
    "climbing": "../../etc/passwd",
    "nul": "a\x00b",
    "long": "x" * 5000,
    "line": "a\nb: c",
    "template": "{{ x }}",
}
EVIL = Template.parse("{{ labels.evil }}")
KINDS = {
    "do": CATALOG.actions,
    "activate": CATALOG.actions,
    "verify": CATALOG.probes,
    "only_if": CATALOG.probes,
}


def leaves(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Go through the places of a tree in which a text or a template stands."""
    if isinstance(tree, Mapping):
        for key, inner in tree.items():
            yield from leaves(inner, (*at, key))
    elif isinstance(tree, list | tuple):
        for i, inner in enumerate(tree):
            yield from leaves(inner, (*at, i))
    elif isinstance(tree, str | Template):
        yield at


def put(tree: Any, at: tuple[Any, ...], leaf: Any) -> Any:
    """Return a tree with another leaf at one place."""
    if not at:
        return leaf
    if isinstance(tree, Mapping):
        return {**tree, at[0]: put(tree[at[0]], at[1:], leaf)}
    return [put(inner, at[1:], leaf) if i == at[0] else inner for i, inner in enumerate(tree)]


def positions(rule: Rule) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Go through every parameter of every step and probe of a rule."""
    entries = [("recovered", spec) for spec in rule.recovered]
    entries += [(role, spec) for rung in rule.ladder for role in KINDS for spec in getattr(rung, role)]
    for role, spec in entries:
        for at in leaves(spec.params):
            yield role, spec, at


def planned(rule: Rule, role: str, spec: Any, scope: Scope) -> Any:
    """Plan one step or probe by itself; returns its parameters, or the refusal."""
    if role == "recovered":
        answer = plan_probes((spec,), CATALOG, scope)
        return answer if isinstance(answer, Refusal) else answer[0].params
    rung = RungSpec("one", **{"do": (), role: (spec,)})
    answer = plan(replace(rule, ladder=(rung,)), 0, CATALOG, scope)
    return answer if isinstance(answer, Refusal) else getattr(answer, role)[0].params


def scope(rule: Rule, spec: Any, evil: str) -> Scope:
    """Return values of which only one is evil: what the rule itself asks for is fine."""
    fine = {one.name: "fine" for one in references(spec.params)}
    return Scope(
        labels={**fine, "evil": evil},
        annotations=fine,
        vars=rule.vars,
        secrets=LOADED.secrets.get(rule.pack, {}),
        target="t",
        incident_id="INC-1",
    )


@pytest.mark.parametrize("rule", LOADED.rules, ids=lambda rule: rule.id)
def test_a_hostile_label_is_refused_in_every_position_or_only_read_by_people(rule):
    for role, spec, at in positions(rule):
        kind = (CATALOG.probes if role == "recovered" else KINDS[role])[
            getattr(spec, "action", None) or spec.probe
        ]
        evil = replace(spec, params=put(spec.params, at, EVIL))
        for name, value in HOSTILE.items():
            answer = planned(rule, role, evil, scope(rule, spec, value))
            if isinstance(answer, Refusal):
                assert answer.reason is Reason.UNSAFE_LABEL, (rule.id, at, name, answer)
                assert value not in answer.text
                continue
            assert at[0] in kind.params.prose, f"{rule.id}: {at} takes {name}"
            assert all(char.isprintable() for char in str(getattr(answer, at[0])))


@pytest.mark.parametrize("rule", LOADED.rules, ids=lambda rule: rule.id)
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_target_is_none(rule, value):
    evil = replace(rule, target=EVIL, per=())
    assert target_of(evil, {"evil": value}) == ("", Reason.UNSAFE_LABEL)
    fine = dict.fromkeys(("alertname", *(one.name for one in references(rule.target))), "fine")
    assert target_of(replace(rule, per=("evil",)), {**fine, "evil": value}) == (
        "",
        Reason.UNSAFE_LABEL,
    )


def test_there_are_rules_and_positions_to_try():
    assert sum(1 for rule in LOADED.rules for _ in positions(rule)) > 100
