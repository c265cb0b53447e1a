"""Contradictory probes: two of one list that ask the same and can never be healthy together."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stopgap.config.codes import Odd
from stopgap.config.lints.subject import Remark, Subject
from stopgap.rule import ProbeSpec

_CONDITION = re.compile(
    r"""\s*(==|!=|<=|>=|<|>)\s*(?:([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|"([^"]*)"|'([^']*)')\s*"""
)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WHAT = {
    "only_if": "this rung is always skipped",
    "verify": "this rung can never be proven",
    "recovered": "nothing is ever taken back by itself",
}
_Is = tuple[str, float | str]


def contradictory_probes(subject: Subject) -> Iterator[Remark]:
    """Find, in each list, probes of which one at most can be healthy."""
    for at, probes in subject.probes():
        for i, probe in enumerate(probes):
            key = next((key for other in probes[:i] if (key := _contradicts(other, probe))), None)
            if key is not None:
                text = f"this probe and one above it are never healthy together: {_WHAT[str(at[-1])]}"
                place = (*at, i, "params", key)
                yield Remark(place, Odd.CONTRADICTORY_PROBES, text, "remove one of the two")


def _contradicts(one: ProbeSpec, other: ProbeSpec) -> str | None:
    """Return the parameter in which two probes contradict each other; they must be alike in all else."""
    mine, theirs = one.params, other.params
    if one.probe != other.probe or not (isinstance(mine, Mapping) and isinstance(theirs, Mapping)):
        return None
    different = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
    if different == ["status"] and all(isinstance(each.get("status"), int) for each in (mine, theirs)):
        return "status"
    return "is" if different == ["is"] and _exclude(mine.get("is"), theirs.get("is")) else None


def _exclude(one: Any, other: Any) -> bool:
    """Tell whether nothing satisfies both of two conditions."""
    mine, theirs = _condition(one), _condition(other)
    if mine is None or theirs is None:
        return False
    return not any(_holds(value, mine) and _holds(value, theirs) for value in _tried(mine[1], theirs[1]))


def _condition(text: Any) -> _Is | None:
    found = _CONDITION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    sign, number, double, single = found.groups()
    return sign, float(number) if number is not None else double if double is not None else single


def _tried(one: float | str, other: float | str) -> tuple[float | str, ...]:
    """Return values of which one satisfies two conditions, if any does: their limits, and some between and beside them."""
    if isinstance(one, float) and isinstance(other, float):
        return (one, other, (one + other) / 2, min(one, other) - 1, max(one, other) + 1)
    return (one, other, f"{one}{other}x")


def _holds(value: float | str, condition: _Is) -> bool:
    sign, wanted = condition
    return isinstance(value, str) is isinstance(wanted, str) and _COMPARE[sign](value, wanted)
