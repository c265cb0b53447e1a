"""Permission: whether the start of a rung was allowed, judged anew from all that happened before, guard by guard."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Protocol

from tests.property.accounts import Account
from tests.property.outside import POPULATION, Outside
from tests.property.rows import Rows

from stopgap.rate import Rate
from stopgap.rule import Rule
from stopgap.storm import StormLimit


class Books(Protocol):
    """What an auditor knows."""

    rows: Rows
    outside: Outside
    accounts: dict[str, Account]
    live: dict[str, Account]

    loaded: Callable[[], Mapping[str, Rule]]

    def rule(self, account: Account) -> Rule: ...


def may_start(books: Books, account: Account, rule: Rule, number: int, now: datetime) -> None:
    """Assert that no guard should have said no to the start of this rung, which is about to be read."""
    what = f"8: {account.id} starts rung {number}"
    assert not account.handed_over, f"{what}, handed over"
    assert not account.shadow, f"{what}, a shadow"
    limits, spec = rule.limits, rule.ladder[number]
    resources = [step.params.at.replace("{target}", account.target) for step in (*spec.do, *spec.activate)]
    for pattern in limits.protected:
        hit = [name for name in (account.target, *resources) if fnmatchcase(name, pattern)]
        assert not hit, f"{what} on the protected {hit}"
    windows = limits.windows
    assert not any(window.covers(now) for window in windows.deny), f"{what} in a closed window"
    allowed = not windows.allow or any(window.covers(now) for window in windows.allow)
    assert allowed, f"{what} outside of its windows"
    openings = books.rows.openings()
    assert not stormy(openings, limits.storm, now), f"{what} in a storm"
    for other in books.live.values():
        first = other.target == account.target and other.rule in rule.yield_to and other.mode != "shadow"
        assert not first, f"{what} before {other.id}, which goes first"
    _check_budget(books, limits.budget, {rule.id}, now, what)
    _check_budget(books, limits.budget_global, None, now, what)
    if not account.rungs:
        _check_past(books, account, rule, now, what)
    if spec.once:
        used = {rung.name for one in _chain(books, account) for rung in one.rungs.values() if rung.once}
        assert spec.name not in used, f"{what}, which runs once, again"
    _check_blast(books, account, rule, what)


def _check_budget(books: Books, budget: Rate, rules: set[str] | None, now: datetime, what: str) -> None:
    permits = [p for p in books.rows.permits if not p.shadow and (rules is None or p.rule in rules)]
    used = sum(1 for permit in permits if permit.at > now - budget.window)
    assert used <= budget.count, f"{what}, the {used}th of {budget}"


def _check_past(books: Books, account: Account, rule: Rule, now: datetime, what: str) -> None:
    limits = rule.limits
    place = (account.rule, account.target)
    others = [
        one for one in books.accounts.values() if (one.rule, one.target) == place and one is not account
    ]
    acted = [one.acted_at for one in others if one.acted_at is not None and one.back_at is None]
    if not account.follows:
        early = [at for at in acted if now < at + limits.cooldown]
        assert not early, f"{what} within the cooldown after {early}"
    if account.acknowledged:
        return
    failed = sorted(one.acted_at for one in others if one.failed and one.acted_at is not None)
    rate = limits.circuit.failures
    for first, last in zip(failed, failed[rate.count - 1 :], strict=False):
        opens = last - first <= rate.window and now < last + limits.circuit.lasts
        assert not opens, f"{what} while its circuit is open since {last}"


def _chain(books: Books, account: Account) -> Iterable[Account]:
    """Return an incident and those that it follows, flap by flap."""
    yield account
    while account.follows:
        account = books.accounts[account.follows]
        yield account


def _check_blast(books: Books, account: Account, rule: Rule, what: str) -> None:
    blast = rule.limits.blast_radius
    if blast is None:
        return
    counted = account.id in books.outside.counted
    books.outside.counted.discard(account.id)
    known = isinstance(blast.total, int) or counted
    assert known, f"{what}, and nobody knows the population"
    total = blast.total if isinstance(blast.total, int) else POPULATION
    loaded = books.loaded().values()
    same = {
        one.id for one in loaded if one.limits.blast_radius and one.limits.blast_radius.total == blast.total
    }
    same.add(rule.id)
    held = {one.target for one in books.live.values() if one.rule in same and (one.held or one.acting)}
    allowed = blast.allowed(total)
    assert len(held | {account.target}) <= allowed, f"{what} on top of {held}, with {allowed} allowed"


def stormy(openings: list[tuple[str, datetime]], limit: StormLimit, now: datetime) -> bool:
    """Tell by counting whether a storm is on: it begins above `targets`, and ends when fewer than `below` for all of `calm`."""
    storm = False
    last: dict[str, datetime] = {}
    quiet_at: datetime | None = (
        None  # from when on fewer than `below` are in the window, if nothing more opens
    )
    for target, at in openings:
        if storm and quiet_at is not None and at >= quiet_at + limit.calm:
            storm = False
        last[target] = at
        recent = sorted((seen for seen in last.values() if seen > at - limit.window), reverse=True)
        storm = storm or len(recent) > limit.targets
        everything = sorted(last.values(), reverse=True)
        quiet_at = everything[limit.below - 1] + limit.window if len(everything) >= limit.below else at
    return storm and quiet_at is not None and now < quiet_at + limit.calm
