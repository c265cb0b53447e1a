"""Report: rows with a goal each, as a table of 80 columns and as JSON."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Sense(StrEnum):
    """Which side of the goal is good."""

    AT_LEAST = ">="
    AT_MOST = "<="
    BELOW = "<"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row's ratio, or else its value, should be."""

    sense: Sense
    value: float
    unit: str = ""

    def reached(self, measured: float) -> bool:
        """Tell whether a measured number is good enough."""
        match self.sense:
            case Sense.AT_LEAST:
                return measured >= self.value
            case Sense.AT_MOST:
                return measured <= self.value
            case Sense.BELOW:
                return measured < self.value

    def __str__(self) -> str:
        return f"{self.sense} {self.value:g}{self.unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing. `against` is the same thing of what it is compared with; a goal then means the ratio."""

    name: str
    value: float
    unit: str
    against: float | None = None
    ratio: float | None = None
    goal: Goal | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool | None:
        """Tell whether the goal was reached, None when there is none."""
        if self.goal is None:
            return None
        return self.goal.reached(self.value if self.ratio is None else self.ratio)

    def as_json(self) -> dict[str, Any]:
        """Return everything, with the goal in words."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "against": self.against,
            "ratio": self.ratio,
            "goal": None if self.goal is None else str(self.goal),
            "reached": self.reached,
            "detail": self.detail,
        }


_LINE = "{:<34.34} {:>9} {:<5.5} {:>9} {:>5}  {:<8} {:<3}"


def table(rows: Iterable[Row]) -> str:
    """Return the rows as lines of at most 80 characters."""
    lines = [_LINE.format("", "measured", "", "other", "ratio", "goal", "met").rstrip()]
    lines += [_LINE.format(*_cells(row)).rstrip() for row in rows]
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    met = {None: "", True: "yes", False: "no"}[row.reached]
    goal = "" if row.goal is None else str(row.goal)
    return (
        row.name,
        number(row.value),
        row.unit,
        "" if row.against is None else number(row.against),
        "" if row.ratio is None else f"{row.ratio:.2f}",
        goal,
        met,
    )


def number(value: float) -> str:
    """Print a number with about three digits that matter."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
