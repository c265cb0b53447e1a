"""Condition: what a value must be, as `is` writes it: `== 1`, `< 0.5`, `!= "closed"`.

Numbers compare with numbers and texts with texts; a value of another kind satisfies nothing, `!=` included, and NaN neither.
"""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FORM = re.compile(
    r"""\s*(==|!=|<=|>=|<|>)\s*(?:([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|"([^"]*)"|'([^']*)')\s*"""
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison with a constant; prints as it is written."""

    operator: str
    wanted: float | str

    def holds(self, value: object) -> bool:
        """Tell whether a number or a text satisfies the comparison."""
        if isinstance(self.wanted, str):
            return isinstance(value, str) and _COMPARE[self.operator](value, self.wanted)
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            return False
        return _COMPARE[self.operator](value, self.wanted)

    def __str__(self) -> str:
        wanted = f'"{self.wanted}"' if isinstance(self.wanted, str) else f"{self.wanted:.15g}"
        return f"{self.operator} {wanted}"


def parse_condition(text: object) -> Condition:
    """Read a condition. Raises ValueError that says how one is written."""
    if isinstance(text, Condition):
        return text
    found = _FORM.fullmatch(text) if isinstance(text, str) and len(text) <= 1000 else None  # noqa: PLR2004 - a bound, no meaning
    if found is None:
        cure = (
            f"write '== {text}'"
            if isinstance(text, int | float)
            else "write '== 1', '< 0.5' or '!= \"closed\"'"
        )
        raise ValueError(f"{text!r} is not a condition: {cure}")
    sign, number, double, single = found.groups()
    if number is not None:
        if not math.isfinite(float(number)):
            raise ValueError(f"{number} is too large a number")
        return Condition(sign, float(number))
    if sign not in ("==", "!="):
        raise ValueError(f"{sign} compares numbers: a text can be == or !=")
    wanted: str = double if double is not None else single
    return Condition(sign, wanted)


def is_condition(text: object) -> bool:
    """Tell whether a scalar is meant as a condition rather than as the value itself."""
    return isinstance(text, str) and text.lstrip()[:1] in ("=", "!", "<", ">") and len(text.strip()) > 1


_WRITTEN = {
    "type": "string",
    "pattern": r"^\s*(?:==|!=|<=|>=|<|>)\s*\S",
    "patternErrorMessage": "a condition is a comparison, such as '== 1', '< 0.5' or '!= \"closed\"'",
}
Is = Annotated[Condition, BeforeValidator(parse_condition), PlainSerializer(str), WithJsonSchema(_WRITTEN)]
"""A pydantic field type for conditions."""
