"""Plan: a rung, rendered for one incident: actions and probes with checked parameters, and what they will change.

Everything that only a live alert can get wrong is found here, as a Refusal, before anything is observed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr, ValidationError

from stopgap.action import Action, Params
from stopgap.catalog import Catalog
from stopgap.guard import Reason, Refusal
from stopgap.probe import Probe
from stopgap.rule import TARGET_LABELS, ProbeSpec, Rule, StepSpec
from stopgap.template import Scope, Template, Unresolved, UnsafeLabel, render_tree


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One action and its checked parameters."""

    action: Action[Any]
    params: Params
    spec: StepSpec


@dataclass(frozen=True, slots=True)
class PlannedProbe:
    """One probe and its checked parameters."""

    probe: Probe[Any]
    params: Params
    spec: ProbeSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """A rung as it will be done. `reverts` says of each `do` step whether there is something to take back."""

    do: tuple[PlannedStep, ...]
    activate: tuple[PlannedStep, ...]
    verify: tuple[PlannedProbe, ...]

    @property
    def reverts(self) -> tuple[bool, ...]:
        """Tell of each `do` step whether it can be taken back."""
        return tuple(step.action.reverts(step.params) for step in self.do)

    @property
    def resources(self) -> tuple[str, ...]:
        """Name what the rung holds: the resources of the steps that are taken back."""
        held = (step for step, reverts in zip(self.do, self.reverts, strict=True) if reverts)
        return tuple(
            dict.fromkeys(resource for step in held for resource in step.action.resource(step.params))
        )


def plan(rule: Rule, rung: int, catalog: Catalog, scope: Scope) -> Plan | Refusal:
    """Render a rung once, with the labels and secrets of `scope`."""
    spec = rule.ladder[rung]
    try:
        return Plan(
            do=tuple(_step(step, catalog, scope) for step in spec.do),
            activate=tuple(_step(step, catalog, scope) for step in spec.activate),
            verify=tuple(_probe(probe, catalog, scope) for probe in spec.verify),
        )
    except _Refused as refused:
        return refused.refusal


def plan_probes(
    specs: tuple[ProbeSpec, ...], catalog: Catalog, scope: Scope
) -> tuple[PlannedProbe, ...] | Refusal:
    """Render the probes of the cause."""
    try:
        return tuple(_probe(spec, catalog, scope) for spec in specs)
    except _Refused as refused:
        return refused.refusal


def target_of(rule: Rule, labels: Mapping[str, str]) -> tuple[str, str]:
    """Return what an alert's incident acts upon, and why it cannot be told ("" when it can; the target is then "")."""
    if rule.target is None:
        target = next((labels[name] for name in TARGET_LABELS if labels.get(name)), rule.name)
    else:
        try:
            target = _text(rule.target, labels)
        except Unresolved:
            return "", Reason.UNRESOLVED_TEMPLATE
        except UnsafeLabel:
            return "", Reason.UNSAFE_LABEL
    parts = [target, *(labels.get(name, "") for name in rule.per)]
    if not all(parts):
        return "", Reason.EMPTY_TARGET if not target else Reason.UNRESOLVED_TEMPLATE
    return "/".join(parts), ""


def _text(target: Template | str, labels: Mapping[str, str]) -> str:
    return target if isinstance(target, str) else str(target.render(Scope(labels=labels)))


class _Refused(Exception):  # noqa: N818 - carries a refusal out of a comprehension, never leaves this file
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


def _step(spec: StepSpec, catalog: Catalog, scope: Scope) -> PlannedStep:
    action = catalog.actions[spec.action]
    return PlannedStep(action, _params(spec.action, action.params, spec.params, scope), spec)


def _probe(spec: ProbeSpec, catalog: Catalog, scope: Scope) -> PlannedProbe:
    probe = catalog.probes[spec.probe]
    return PlannedProbe(probe, _params(spec.probe, probe.params, spec.params, scope), spec)


def _params(name: str, kind: type[Params], tree: Any, scope: Scope) -> Params:
    try:
        return kind.model_validate(render_tree(tree, scope, kind.prose))
    except Unresolved as error:
        raise _Refused(Refusal(Reason.UNRESOLVED_TEMPLATE, f"{name}: {error}")) from None
    except UnsafeLabel as error:
        raise _Refused(Refusal(Reason.UNSAFE_LABEL, f"{name}: {error}")) from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join((name, *map(str, first["loc"])))
        raise _Refused(Refusal(Reason.UNSAFE_LABEL, f"{where}: {first['msg']}"[:300])) from None


def scope_of(
    rule: Rule,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    *,
    target: str,
    incident: str,
    secrets: Mapping[str, Mapping[str, SecretStr]],
) -> Scope:
    """Gather what a rule's templates may use."""
    return Scope(
        labels=labels,
        annotations=annotations,
        vars=rule.vars,
        secrets=secrets.get(rule.pack, {}),
        target=target,
        incident_id=incident,
    )
