"""Assumed: what a replay takes for granted of an outside that nobody recorded, and how the rules are set up for that.

Acts succeed at once, populations and preconditions are fine, the cause is gone when its alerts are over. What `verify` probes would
have said is up to whoever asks. As no answer changes while it is assumed, what is only asked again is asked seldom: that saves most
of the time that a replay takes, and moves nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from stopgap.action import Params
from stopgap.catalog import Catalog
from stopgap.matcher import MatcherIndex
from stopgap.probe import Finding, Probe, Verdict
from stopgap.rule import Mode, ProbeSpec, Rule, RungSpec
from stopgap.rulebook import Rulebook

SELDOM = timedelta(days=1)
POPULATION = 1_000_000.0  # targets, where a query would have said how many: a share of them is never used up
AS_ASSUMED = " as assumed"  # after the name of a probe that verifies


@dataclass(frozen=True, slots=True)
class Assumed:
    """What `verify` probes say; whether rules act whose mode is shadow or approve; whether people approve at once."""

    verify: Verdict = Verdict.HEALTHY
    act: bool = False
    approve: bool = False

    def sentences(self, rules: Iterable[Rule]) -> tuple[str, ...]:
        """Say in words what was assumed."""
        known = tuple(rules)
        careful = sum(rule.mode is not Mode.AUTO for rule in known)
        asks = any(
            isinstance(rule.limits.blast_radius.total, str) for rule in known if rule.limits.blast_radius
        )
        modes = {
            True: f"{careful} rules whose mode is shadow or approve acted as if it were auto",
            False: f"{careful} rules have the mode shadow or approve, and kept to it",
        }
        return (
            "alerts are taken as they happened: a mitigation that would have ended an alert earlier does not end it here",
            f"each step succeeded at once, and each verify probe was {self.verify} from its first answer on",
            "preconditions (`only_if`) were met, and the cause was gone as soon as its alerts were over",
            *(("a blast radius whose total is a query had room for all targets",) if asks else ()),
            "people approved at once what asked for it"
            if self.approve
            else "nobody approved, acknowledged or reverted anything",
            *((modes[self.act],) if careful else ()),
        )


class AssumedProbe:
    """A probe that says what was assumed."""

    def __init__(self, real: Probe[Any], verdict: Verdict) -> None:
        self._finding = Finding(verdict, f"assumed {verdict}")
        self._real = real
        self.name, self.after, self.params = real.name, real.after, real.params

    def describe(self, params: Params) -> str:
        """Say in one line what is asked."""
        return self._real.describe(params)

    async def ask(self, params: Params, timeout: timedelta) -> Finding:  # noqa: ARG002, ASYNC109 - the port's signature
        """Say what was assumed."""
        return self._finding


def catalog_of(catalog: Catalog, verdict: Verdict) -> Catalog:
    """Return a catalog in which each probe exists a second time, for what verifies, and populations are large."""
    verifying: dict[str, Any] = {
        name + AS_ASSUMED: AssumedProbe(probe, verdict) for name, probe in catalog.probes.items()
    }
    return replace(catalog, probes={**catalog.probes, **verifying}, measure=_large)


async def _large(query: str, timeout: timedelta) -> float:  # noqa: ARG001, ASYNC109 - the port's signature
    return POPULATION


def rulebook_of(rulebook: Rulebook, assumed: Assumed) -> Rulebook:
    """Return the rules as they are replayed."""
    rules = {name: _rule(rule, assumed) for name, rule in rulebook.rules.items()}
    return replace(
        rulebook, rules=rules, index=MatcherIndex((rule.matchers, rule) for rule in rules.values())
    )


def _rule(rule: Rule, assumed: Assumed) -> Rule:
    return replace(
        rule,
        mode=Mode.AUTO if assumed.act else rule.mode,
        ladder=tuple(_rung(rung) for rung in rule.ladder),
        recovered=tuple(replace(spec, every=SELDOM) for spec in rule.recovered),
    )


def _rung(rung: RungSpec) -> RungSpec:
    return replace(rung, verify=tuple(_verify(spec) for spec in rung.verify))


def _verify(spec: ProbeSpec) -> ProbeSpec:
    return replace(spec, probe=spec.probe + AS_ASSUMED, recheck=SELDOM)
