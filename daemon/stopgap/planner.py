"""Planner: renders what an incident's rule says with that incident's values, under the rules and secrets in force."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stopgap.asking import causes
from stopgap.catalog import Catalog
from stopgap.guard import Refusal
from stopgap.incident import Incident
from stopgap.plan import Plan, PlannedProbe, plan, plan_probes
from stopgap.recovery import default_recovered
from stopgap.rule import ProbeSpec, Rule, RungSpec
from stopgap.rulebook import Rulebook
from stopgap.template import Scope


@dataclass(frozen=True, slots=True)
class _Made:
    """A plan, and all that it was made of: mostly it is the same when a guard or a probe is asked again."""

    spec: RungSpec
    vars: Mapping[str, str]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    rulebook: Rulebook
    plan: Plan

    def fits(self, spec: RungSpec, scope: Scope, rulebook: Rulebook) -> bool:
        """Tell whether it would be made of the same again."""
        return (
            self.spec is spec
            and self.vars is scope.vars
            and self.rulebook is rulebook
            and self.labels == scope.labels
            and self.annotations == scope.annotations
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """The probes of a cause, likewise."""

    specs: tuple[ProbeSpec, ...]
    scope: Scope
    rulebook: Rulebook
    probes: tuple[PlannedProbe, ...]


class Planner:
    """Plans rungs and probes; remembers nothing but the last plan of each incident, and the probes of its cause."""

    def __init__(self, catalog: Catalog, rulebook: Callable[[], Rulebook]) -> None:
        self._catalog = catalog
        self._rulebook = rulebook
        self._made: dict[str, _Made] = {}
        self._asked: dict[str, _Asked] = {}

    def forget(self, identifier: str) -> None:
        """Drop what is kept for a closed incident."""
        self._made.pop(identifier, None)
        self._asked.pop(identifier, None)

    @property
    def rulebook(self) -> Rulebook:
        """Return the rules in force."""
        return self._rulebook()

    def plan(self, state: Incident, rule: Rule, rung: int) -> Plan | Refusal:
        """Render a rung: with the labels of its planning time where it has begun, else with those of now."""
        rulebook, scope, known = self.rulebook, self._scope(state, rule, rung), self._made.get(state.id)
        if known is not None and known.fits(rule.ladder[rung], scope, rulebook):
            return known.plan
        made = plan(rule, rung, self._catalog, scope)
        if isinstance(made, Plan):
            self._made[state.id] = _Made(
                rule.ladder[rung], scope.vars, scope.labels, scope.annotations, rulebook, made
            )
        return made

    def probes(
        self, state: Incident, rule: Rule, keys: tuple[str, ...]
    ) -> tuple[PlannedProbe, ...] | Refusal:
        """Render the probes with these keys (`verify/0`, `recheck/0`, `recovered/0`), all of one role."""
        planned: tuple[PlannedProbe, ...] | Refusal
        if keys[0].startswith("recovered/"):
            planned = self.recovered(state, rule)
        else:
            whole = self.plan(state, rule, state.rung)
            planned = whole if isinstance(whole, Refusal) else whole.verify
        if isinstance(planned, Refusal):
            return planned
        return tuple(planned[int(key.partition("/")[2])] for key in keys)

    def recovered(self, state: Incident, rule: Rule) -> tuple[PlannedProbe, ...] | Refusal:
        """Render the probes of the cause."""
        rulebook, specs, scope = self.rulebook, causes(state, rule), self._scope(state, rule)
        known = self._asked.get(state.id)
        if known is not None and known.rulebook is rulebook and (known.specs, known.scope) == (specs, scope):
            return known.probes
        made = plan_probes(specs, self._catalog, scope)
        if not isinstance(made, Refusal):
            self._asked[state.id] = _Asked(specs, scope, rulebook, made)
        return made

    def over(self, state: Incident) -> tuple[PlannedProbe, ...] | Refusal:
        """Render the questions whether an incident's alerts are over."""
        specs = default_recovered(alert.labels for alert in state.alerts.values())
        return plan_probes(specs, self._catalog, Scope())

    def _scope(self, state: Incident, rule: Rule, rung: int | None = None) -> Scope:
        begun = state.rungs.get(rung) if rung is not None else None
        return Scope(
            labels=begun.labels if begun else state.labels,
            annotations=begun.annotations if begun else state.annotations,
            vars=rule.vars,
            secrets=self.rulebook.secrets.get(rule.pack, {}),
            target=state.target,
            incident_id=state.id,
        )
