"""Plan: one rung of one rule, rendered for one incident. Pure: templates become parameters, and nothing is asked or done.

What a live alert can get wrong (a missing label, a hostile one, one that makes a parameter invalid) is a Refusal that names the
label and the parameter, never the value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import ValidationError

from stopgap.action import Action, Params, reveal
from stopgap.catalog import Catalog
from stopgap.guard import Reason, Refusal
from stopgap.probe import Probe
from stopgap.rule import TARGET_LABELS, ProbeSpec, Rule, StepSpec
from stopgap.template import Reference, RefKind, Scope, Template, Unresolved, UnsafeLabel, render_tree

S = TypeVar("S", StepSpec, ProbeSpec)
T = TypeVar("T")

_NONE = frozenset[Reference]()
_FROM_THE_ALERT = frozenset({RefKind.LABELS, RefKind.ANNOTATIONS, RefKind.TARGET})


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step, ready to run."""

    action: Action[Any]
    params: Params
    spec: StepSpec


@dataclass(frozen=True, slots=True)
class PlannedProbe:
    """One probe, ready to ask."""

    probe: Probe[Any]
    params: Params
    spec: ProbeSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """A rung, ready to begin. `reverts` says of each step of `do` whether it is held, `resources` what the held ones change."""

    only_if: tuple[PlannedProbe, ...]
    do: tuple[PlannedStep, ...]
    activate: tuple[PlannedStep, ...]
    verify: tuple[PlannedProbe, ...]
    resources: tuple[str, ...]
    reverts: tuple[bool, ...]

    @property
    def steps(self) -> tuple[PlannedStep, ...]:
        """Return what applies the rung, in order."""
        return (*self.do, *self.activate)

    @property
    def touches(self) -> tuple[str, ...]:
        """Name all that its steps change, held or not."""
        return tuple(dict.fromkeys(name for step in self.steps for name in step.action.resource(step.params)))


def words(step: PlannedStep) -> str:
    """Say in a line what a step does."""
    return step.spec.title or f"{step.spec.action}: {step.action.describe(step.params)}"


def question(probe: PlannedProbe) -> str:
    """Say in a line what a probe asks."""
    return probe.probe.describe(probe.params)


class _Refused(Exception):  # noqa: N818 - carries the answer out of the recursion
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.text)


def plan(rule: Rule, rung: int, catalog: Catalog, scope: Scope) -> Plan | Refusal:
    """Render one rung with the values of the scope, once."""
    spec = rule.ladder[rung]
    where = f"ladder[{rung}]"
    try:
        only_if = _probes(spec.only_if, catalog, scope, f"{where}.only_if")
        do = _steps(spec.do, catalog, scope, f"{where}.do")
        activate = _steps(spec.activate, catalog, scope, f"{where}.activate")
        verify = _probes(spec.verify, catalog, scope, f"{where}.verify")
    except _Refused as refused:
        return refused.refusal
    reverts = tuple(step.action.reverts(step.params) for step in do)
    held = (step for step, back in zip(do, reverts, strict=True) if back)
    resources = dict.fromkeys(name for step in held for name in step.action.resource(step.params))
    return Plan(only_if, do, activate, verify, tuple(resources), reverts)


def plan_probes(
    specs: tuple[ProbeSpec, ...], catalog: Catalog, scope: Scope
) -> tuple[PlannedProbe, ...] | Refusal:
    """Render the probes of a rule's `recovered`."""
    try:
        return _probes(specs, catalog, scope, "recovered")
    except _Refused as refused:
        return refused.refusal


def target_of(rule: Rule, labels: Mapping[str, str]) -> tuple[str, str]:
    """Render what is acted upon from one alert's labels; returns it with "", or "" with the refusal that a person must hear of."""
    try:
        target = _target(rule, Scope(labels=labels, vars=rule.vars))
        for name in rule.per:
            target += "/" + reveal(_label(name).render(Scope(labels=labels)))
    except Unresolved:
        return "", Reason.UNRESOLVED_TEMPLATE
    except UnsafeLabel:
        return "", Reason.UNSAFE_LABEL
    return (target, "") if target.strip() else ("", Reason.EMPTY_TARGET)


def _target(rule: Rule, scope: Scope) -> str:
    if isinstance(rule.target, Template):
        return reveal(rule.target.render(scope))
    if rule.target is not None:
        return rule.target
    for name in TARGET_LABELS:
        if scope.labels.get(name):
            return reveal(_label(name).render(scope))
    return rule.name


@lru_cache(256)
def _label(name: str) -> Template:
    return Template.parse("{{ labels[" + repr(name) + "] }}")


def _steps(
    specs: tuple[StepSpec, ...], catalog: Catalog, scope: Scope, where: str
) -> tuple[PlannedStep, ...]:
    def one(spec: StepSpec, place: str) -> PlannedStep:
        action = catalog.actions[spec.action]
        return PlannedStep(action, _params(action.params, spec.params, scope, f"{place}.{spec.action}"), spec)

    return _each(specs, where, one)


def _probes(
    specs: tuple[ProbeSpec, ...], catalog: Catalog, scope: Scope, where: str
) -> tuple[PlannedProbe, ...]:
    def one(spec: ProbeSpec, place: str) -> PlannedProbe:
        probe = catalog.probes[spec.probe]
        return PlannedProbe(probe, _params(probe.params, spec.params, scope, f"{place}.{spec.probe}"), spec)

    return _each(specs, where, one)


def _each(specs: tuple[S, ...], where: str, one: Callable[[S, str], T]) -> tuple[T, ...]:
    return tuple(one(spec, f"{where}[{i}]") for i, spec in enumerate(specs))


def _params(kind: type[Params], tree: Mapping[str, Any], scope: Scope, where: str) -> Params:
    rendered: dict[str, Any] = {}
    for key, inner in tree.items():
        try:
            rendered |= render_tree({key: inner}, scope, kind.prose)
        except Unresolved as missing:
            raise _Refused(Refusal(Reason.UNRESOLVED_TEMPLATE, f"{where}.{key}: {missing}")) from None
        except UnsafeLabel as unsafe:
            raise _Refused(Refusal(Reason.UNSAFE_LABEL, f"{where}.{key}: {unsafe}")) from None
    try:
        return kind.model_validate(rendered)
    except ValidationError as wrong:
        raise _Refused(_invalid(tree, wrong, where)) from None


def _invalid(tree: Mapping[str, Any], wrong: ValidationError, where: str) -> Refusal:
    """Say which parameter the alert's values made invalid; pydantic's own text could quote the value."""
    at = tuple(wrong.errors(include_url=False, include_context=False, include_input=False)[0]["loc"])
    key = ".".join(map(str, at[:1]))
    found = references(tree.get(key, tree))
    names = sorted(str(one) for one in found if one.kind in _FROM_THE_ALERT)
    place = f"{where}.{key}" if key else where
    if names:
        return Refusal(Reason.UNSAFE_LABEL, f"{place}: not valid with {', '.join(names)} of this alert")
    return Refusal(
        Reason.UNRESOLVED_TEMPLATE, f"{place}: not valid any more: reload the rules and read what they say"
    )


def references(tree: Any) -> frozenset[Reference]:
    """Return every value that the templates of a tree ask for."""
    if isinstance(tree, Template):
        return tree.references
    if isinstance(tree, str):  # as most leaves are
        return _NONE
    inner = tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list | tuple) else ()
    return _NONE.union(*map(references, inner))
