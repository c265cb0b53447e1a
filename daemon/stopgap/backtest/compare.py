"""Compare: what two sets of rules would have done with the same history, rule by rule, and only where they differ."""

from collections.abc import Iterator
from dataclasses import dataclass

from stopgap.backtest.result import COUNTS, TABLES, Result, Score
from stopgap.duration import span

ALL = "all"


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that is not the same; `rule` is `all` for the total, a side is None where it has no such rule."""

    rule: str
    of: str
    old: int | str | None
    new: int | str | None


def differences(old: Result, new: Result) -> tuple[Difference, ...]:
    """Return what differs, the total first, then by rule."""
    found = [*_scores(ALL, old.total, new.total)]
    for name in sorted({*old.rules, *new.rules}):
        before, after = old.rules.get(name), new.rules.get(name)
        if before is None or after is None:
            found.append(Difference(name, "rule", _there(before), _there(after)))
        found += _scores(name, before or Score(), after or Score())
    return tuple(found)


def _there(score: Score | None) -> str | None:
    return None if score is None else "there"


def _scores(rule: str, old: Score, new: Score) -> Iterator[Difference]:
    for name in COUNTS:
        yield from _differ(rule, name, getattr(old, name), getattr(new, name))
    for name in TABLES:
        before, after = getattr(old, name), getattr(new, name)
        for word in sorted({*before, *after}):
            yield from _differ(rule, f"{name} {word}", before.get(word, 0), after.get(word, 0))
    yield from _differ(rule, "longest_hold", _longest(old), _longest(new))


def _differ(rule: str, of: str, old: int | str, new: int | str) -> Iterator[Difference]:
    if old != new:
        yield Difference(rule, of, old, new)


def _longest(score: Score) -> str:
    return span(score.longest_hold.lasted) if score.longest_hold is not None else "0s"
