"""Trials: what there is to try before an alert needs it: every step and every probe of a rule. Pure: nothing is tried here.

The sample alert has the labels that the rule's own equality matchers promise. What asks for more of an alert than these is noted
and not tried; what cannot work whatever the alert says (a secret that is not there) is an obstacle at once.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from pydantic import SecretStr, ValidationError

from stopgap.action import Moment, Params, bare
from stopgap.catalog import Catalog
from stopgap.guard import Reason
from stopgap.matcher import Op
from stopgap.plan import references, target_of
from stopgap.rule import TARGET_LABELS, ProbeSpec, Rule, StepSpec
from stopgap.template import RefKind, Scope, Unresolved, UnsafeLabel, render_tree

LONGEST_TRY = timedelta(seconds=10)
KEY = "rehearsal"  # the idempotency key of an act that never is

_FROM_AN_ALERT = frozenset({RefKind.LABELS, RefKind.ANNOTATIONS, RefKind.TARGET, RefKind.INCIDENT})


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that keeps a rule from acting, or from looking; `where` is like `ladder[0] (mock mode) do[1] restart`."""

    rule: str
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was not tried, and why."""

    rule: str
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing to try, by awaiting `attempt()`. Those of one `key` are the same thing: one of them is enough.

    `hidden` are texts that must not show in what comes of it.
    """

    rule: str
    where: str
    key: str
    timeout: timedelta
    attempt: Callable[[], Awaitable[object]]
    hidden: tuple[str, ...] = ()


Entry = Trial | Obstacle | Note


def trials(rule: Rule, catalog: Catalog, secrets: Mapping[str, SecretStr]) -> Iterator[Entry]:
    """List what is to be tried of one rule, in its own order."""
    labels = {m.name: m.value for m in rule.matchers if m.op is Op.EQUAL and m.value}
    target, reason = target_of(rule, labels)
    if reason is Reason.UNSAFE_LABEL:
        yield Obstacle(rule.id, "target", "a label that its matchers ask for is not a plain word")
    known = (
        rule.target is not None or TARGET_LABELS[0] in labels
    )  # else a real alert may well name another one
    scope = Scope(labels, {}, rule.vars, secrets, target if known else "")
    one = _Lister(rule, catalog, scope)
    yield from one.population()
    for i, rung in enumerate(rule.ladder):
        place = f"ladder[{i}] ({rung.name})"
        yield from (one.probe(spec, f"{place} only_if[{j}]") for j, spec in enumerate(rung.only_if))
        yield from (one.step(spec, f"{place} do[{j}]") for j, spec in enumerate(rung.do))
        yield from (one.step(spec, f"{place} activate[{j}]") for j, spec in enumerate(rung.activate))
        yield from (one.probe(spec, f"{place} verify[{j}]") for j, spec in enumerate(rung.verify))
    yield from (one.probe(spec, f"recovered[{j}]") for j, spec in enumerate(rule.recovered))


class _Lister:
    """Renders the steps and probes of one rule with what the sample alert has."""

    def __init__(self, rule: Rule, catalog: Catalog, scope: Scope) -> None:
        self._rule = rule
        self._catalog = catalog
        self._scope = scope
        self._prose = replace(scope, labels=_Anything(), annotations=_Anything(), target="1", incident_id="1")
        self._hidden = tuple(secret.get_secret_value() for secret in scope.secrets.values())

    def step(self, spec: StepSpec, place: str) -> Entry:
        """List one step. An action that knows no rehearsal, as a third party's may not, is observed."""
        action = self._catalog.actions[spec.action]
        made = self._made(action.params, spec.params, where := f"{place} {spec.action}")
        if not isinstance(made, _Made):
            return made
        timeout = min(spec.timeout, LONGEST_TRY)
        moment = Moment(KEY, timeout, self._rule.id, self._scope.target, labels=self._scope.labels)
        attempt = partial(getattr(action, "rehearse", action.observe), made.params, moment)
        key = f"{self._rule.pack} {spec.action} {timeout} {made.digest}"  # a pack has contacts of its own
        return Trial(self._rule.id, where, key, timeout, attempt, self._hidden)

    def probe(self, spec: ProbeSpec, place: str) -> Entry:
        """List one probe."""
        probe = self._catalog.probes[spec.probe]
        made = self._made(probe.params, spec.params, where := f"{place} {spec.probe}")
        if not isinstance(made, _Made):
            return made
        timeout = min(spec.timeout, LONGEST_TRY)
        attempt = partial(probe.ask, made.params, timeout)
        key = f"? {spec.probe} {timeout} {made.digest}"
        return Trial(self._rule.id, where, key, timeout, attempt, self._hidden)

    def population(self) -> Iterator[Entry]:
        """List what the blast radius is measured by: a guard whose numbers cannot be had refuses."""
        blast, where = self._rule.limits.blast_radius, "guard.blast_radius.total"
        if blast is None or isinstance(blast.total, int):
            return
        if self._catalog.measure is None:
            yield Obstacle(self._rule.id, where, "nothing is configured that could measure it")
            return
        attempt = partial(self._catalog.measure, blast.total, LONGEST_TRY)
        yield Trial(self._rule.id, where, f"total {blast.total}", LONGEST_TRY, attempt, self._hidden)

    def _made(self, kind: type[Params], tree: Mapping[str, Any], where: str) -> "_Made | Obstacle | Note":
        """Make the parameters; where that fails, say what is missing."""
        rule = self._rule.id
        try:
            rendered = self._rendered(kind, tree)
            return _Made(kind.model_validate(rendered), _digest(rendered, kind.prose))
        except Unresolved as missing:
            if missing.reference.kind in _FROM_AN_ALERT:
                return Note(rule, where, f"needs {missing.reference} of an alert: not tried")
            name = missing.reference.name
            there = name in self._scope.secrets
            return Obstacle(rule, where, str(missing) if there else f"no secret {name}: {_cure(name)}")
        except UnsafeLabel as unsafe:
            return Obstacle(rule, where, str(unsafe))
        except ValidationError as wrong:
            return Obstacle(rule, where, _invalid(tree, wrong))

    def _rendered(self, kind: type[Params], tree: Mapping[str, Any]) -> dict[str, Any]:
        """Put the values in; what only a person reads gets stand-ins, because it says nothing of what can be done."""
        rendered: dict[str, Any] = {}
        for key, inner in tree.items():
            rendered |= render_tree(
                {key: inner}, self._prose if key in kind.prose else self._scope, kind.prose
            )
        return rendered


@dataclass(frozen=True, slots=True)
class _Made:
    """Parameters, and a digest in which their secrets count and do not show."""

    params: Params
    digest: str


class _Anything(dict[str, str]):
    """Labels and annotations of which each one is there."""

    def get(self, _: str, __: object = None) -> str:
        """Return the same for every name."""
        return "1"


def _cure(name: str) -> str:
    variable = f"STOPGAP_SECRET_{name.upper()}"
    return f"set {variable}, or {variable}_FILE to the name of a file"


def _digest(rendered: Mapping[str, Any], prose: frozenset[str]) -> str:
    counts = {key: inner for key, inner in rendered.items() if key not in prose}
    return hashlib.sha256(repr(bare(counts)).encode()).hexdigest()


def _invalid(tree: Mapping[str, Any], wrong: ValidationError) -> str:
    """Say which parameter is not valid, and with whose value; pydantic's own text could quote the value."""
    at = wrong.errors(include_url=False, include_context=False, include_input=False)[0]["loc"][:1]
    key = ".".join(map(str, at))
    names = sorted(str(one) for one in references(tree.get(key, tree)))
    return f"{key or 'it'} is not valid" + (f" with {', '.join(names)}" if names else ": reload the rules")
