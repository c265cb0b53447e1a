"""Outlook: how one rung of a ladder looks now: what it would do, what its preconditions say, and why it would not be tried.

What is written down in shadow and what is explained to whoever asks are both made of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stopgap.asker import Asker
from stopgap.beginning import once_used
from stopgap.guard import SKIPS, Reason, Refusal
from stopgap.incident import Incident
from stopgap.moves import Case, Circumstances
from stopgap.plan import Plan
from stopgap.planner import Planner
from stopgap.probe import Finding, Verdict
from stopgap.rule import Rule, RungSpec

ON_PROBATION = "the rule is on probation"


@dataclass(frozen=True, slots=True)
class Outlook:
    """One rung: its plan, or why there is none; the answers to `only_if`, if asked; what bars it."""

    rung: int
    spec: RungSpec
    planned: Plan | Refusal
    findings: tuple[Finding, ...] = ()
    barred: Refusal | None = None

    @property
    def refusal(self) -> Refusal | None:
        """Return why it would not be tried."""
        return self.barred or (self.planned if isinstance(self.planned, Refusal) else None)

    @property
    def last(self) -> Refusal | None:
        """Return why the incident would be handed over here: what keeps a rung from being planned and is not skipped."""
        refusal = self.planned if isinstance(self.planned, Refusal) and self.barred is None else None
        return refusal if refusal is not None and refusal.reason not in SKIPS else None

    @property
    def tried(self) -> Plan | None:
        """Return its plan if nothing but a guard can keep it from being tried."""
        return self.planned if isinstance(self.planned, Plan) and self.barred is None else None


async def outlook(planner: Planner, asker: Asker | None, state: Incident, rule: Rule, rung: int) -> Outlook:
    """Look at a rung. Without an asker nobody is asked, and its preconditions are taken for met."""
    spec = rule.ladder[rung]
    planned = planner.plan(state, rule, rung)
    if isinstance(planned, Refusal):
        return Outlook(rung, spec, planned, (), once_used(state, spec))
    findings = tuple(await asker.ask(planned.only_if)) if asker is not None else ()
    return Outlook(rung, spec, planned, findings, once_used(state, spec) or unmet(findings))


def unmet(findings: Sequence[Finding]) -> Refusal | None:
    """Return why a rung is skipped: a precondition that fails outweighs one that cannot be known."""
    said = [f"{found.verdict}: {found.why}" for found in findings if found.verdict is not Verdict.HEALTHY]
    if not said:
        return None
    fails = any(found.verdict is Verdict.UNHEALTHY for found in findings)
    return Refusal(Reason.PRECONDITION_FAILED if fails else Reason.PRECONDITION_UNKNOWN, "; ".join(said))


def because(state: Incident, rule: Rule, at: Circumstances) -> str:
    """Say what makes the mode what it is."""
    mode = Case(state, rule, at).mode
    if mode is rule.mode:
        return "the rule's mode"
    return "the daemon's --mode" if mode is at.bound else state.because or ON_PROBATION
