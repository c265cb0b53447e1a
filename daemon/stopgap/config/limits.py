"""Limits: what the guards and terms of a rule come to, and what in them is wrong or odd only when they are read together."""

from datetime import timedelta
from fractions import Fraction

from stopgap.config.codes import Odd, Wrong
from stopgap.config.complaint import Teller
from stopgap.config.guards import BlastRadiusKeys, GuardKeys, StormKeys, TermKeys
from stopgap.config.node import Path
from stopgap.rate import Rate
from stopgap.rule import BlastRadius, Circuit, Limits, Windows
from stopgap.storm import StormLimit

HOUR = timedelta(hours=1)
MOST_AN_HOUR = 1000  # from there on a budget holds nothing back
_GUARD: Path = ("guard",)


def limits_of(keys: TermKeys) -> Limits:
    """Return the limits that the keys say, the defaults for what they do not."""
    guard = keys.guard
    return Limits(
        hold=keys.hold,
        max_hold=keys.max_hold,
        cooldown=guard.cooldown,
        flap_window=keys.flap_window,
        unknown_for=keys.unknown_for,
        approval=keys.approval,
        budget=guard.budget,
        budget_global=guard.budget_global,
        circuit=Circuit(guard.circuit.failures, guard.circuit.lasts),
        storm=_storm(guard.storm),
        protected=tuple(dict.fromkeys(guard.protected)),
        windows=Windows(guard.windows.allow, guard.windows.deny),
        blast_radius=_blast_radius(guard.blast_radius),
    )


def _storm(keys: StormKeys) -> StormLimit:
    below = keys.below if keys.below is not None else max(1, keys.targets.count // 2)
    return StormLimit(keys.targets.count, keys.targets.window, below, keys.calm)


def _blast_radius(keys: BlastRadiusKeys | None) -> BlastRadius | None:
    if keys is None or keys.total is None or keys.max is None:
        return None
    return BlastRadius(keys.total, keys.max)


def judge(guard: GuardKeys, tell: Teller) -> None:
    """Tell what no single key of the guards shows."""
    below, targets = guard.storm.below, guard.storm.targets.count
    if below is not None and below > targets:
        text = f"`below: {below}` is more than the {targets} targets that make a storm"
        tell.error(
            (*_GUARD, "storm", "below"), text, f"write {max(1, targets // 2)} or so", code=Wrong.BAD_LIMIT
        )
    if guard.blast_radius is not None:
        _judge_radius(guard.blast_radius, tell)
    if not guard.cooldown:
        text = "a cooldown of 0 is none: the rule acts again as soon as its alert fires again"
        tell.warning((*_GUARD, "cooldown"), text, "write 10m or so", code=Odd.NO_LIMIT)
    for name, budget in (("budget", guard.budget), ("budget_global", guard.budget_global)):
        if _an_hour(budget) > MOST_AN_HOUR:
            text = f"`{budget}`: a limit that high is none"
            tell.warning((*_GUARD, name), text, "write 3/1h or so", code=Odd.NO_LIMIT)


def _an_hour(rate: Rate) -> float:
    return rate.count / (rate.window / HOUR)


def _judge_radius(keys: BlastRadiusKeys, tell: Teller) -> None:
    at = (*_GUARD, "blast_radius")
    for name, value in (("total", keys.total), ("max", keys.max)):
        if value is None:
            hint = "write {total: …, max: 30%}"
            tell.error(at, f"`{name}` is missing", hint, code=Wrong.MISSING_KEY)
    found = _blast_radius(keys)
    if found is None or not isinstance(found.total, int):
        return
    if isinstance(found.max, int) and found.max >= found.total:
        text = f"{found.max} of {found.total}: a limit of 100 % is none"
        tell.error((*at, "max"), text, "write fewer, or a share such as 30%", code=Wrong.BAD_LIMIT)
    if isinstance(found.max, Fraction) and not found.allowed(found.total):
        text = f"{found} of {found.total} is less than one: this rule can never act"
        tell.warning((*at, "max"), text, "write max: 1", code=Odd.NEVER_ACTS)
