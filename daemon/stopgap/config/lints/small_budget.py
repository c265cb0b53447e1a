"""Small budget: one that lets fewer rungs start than the ladder has, so that the rest waits in the middle of an incident."""

from collections.abc import Iterator

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject
from stopgap.rule import Mode


def small_budget(subject: Subject) -> Iterator[Remark]:
    """Find the first rung that must wait for a budget although it is this incident's own ladder that has used it up."""
    rule = subject.rule
    rungs = len(rule.ladder)
    if not rungs or rule.mode is Mode.SHADOW:
        return
    budgets = (("budget", rule.limits.budget), ("budget_global", rule.limits.budget_global))
    name, budget = min(budgets, key=lambda each: each[1].count)
    if not budget.count:
        text, hint = f"{name} ({budget}) lets no rung start", "write mode: shadow, or a budget of 1 or more"
        yield Remark(subject.said(("guard", name), ("ladder",)), Odd.NEVER_ACTS, text, hint)
    elif budget.count < rungs:
        text = f"{name} ({budget}) is used up when this rung is reached: it waits until some of it is back"
        hint = f"write {name}: {rungs}/… or more, or a shorter ladder"
        yield Remark(("ladder", budget.count), Odd.SMALL_BUDGET, text, hint)
