"""Report: rows with a goal each, as a table of 80 columns and as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


class Sense(StrEnum):
    """Which side of the goal is good."""

    AT_LEAST = ">="
    AT_MOST = "<="
    BELOW = "<"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row should be: its value where the goal has a unit, else its ratio where it has one."""

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
    """One measured thing; `against` is the same thing of what it is compared with. A ratio may be that of the costs."""

    name: str
    value: float
    unit: str
    against: float | None = None
    ratio: float | None = None
    goal: Goal | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool | None:
        """Tell whether the goal was reached, None when there is none."""
        if self.goal is None:
            return None
        return self.goal.reached(self.value if self.ratio is None or self.goal.unit else self.ratio)

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        goal = self.goal and {"sense": self.goal.sense, "value": self.goal.value, "unit": self.goal.unit}
        plain = {name: getattr(self, name) for name in ("name", "value", "unit", "against", "ratio")}
        return plain | {"goal": goal, "reached": self.reached, "detail": self.detail}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Return the row that was written."""
        goal = raw["goal"] and Goal(Sense(raw["goal"]["sense"]), raw["goal"]["value"], raw["goal"]["unit"])
        named = {name: raw[name] for name in ("name", "value", "unit", "against", "ratio", "detail")}
        return cls(**named, goal=goal)


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one question."""

    name: str
    title: str
    rows: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything."""
        return {"name": self.name, "title": self.title, "rows": [row.as_json() for row in self.rows]}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Return the section that was written."""
        return cls(raw["name"], raw["title"], tuple(Row.from_json(row) for row in raw["rows"]))


_LINE = "{:<34.34} {:>7} {:<4.4} {:>7} {:>5}  {:<9} {:<7}"


def head() -> str:
    """Return the names of the columns."""
    return _LINE.format("", "measured", "", "against", "ratio", "goal", "").rstrip()


def table(section: Section) -> str:
    """Return the rows as lines of at most 80 characters."""
    return "\n".join([section.title, *(_LINE.format(*_cells(row)).rstrip() for row in section.rows)])


def _cells(row: Row) -> tuple[str, ...]:
    met = {None: "", True: "reached", False: "missed"}[row.reached]
    goal = "" if row.goal is None else str(row.goal)
    return (
        row.name,
        number(row.value),
        row.unit,
        "" if row.against is None else number(row.against),
        "" if row.ratio is None else number(row.ratio),
        goal,
        met,
    )


def number(value: float) -> str:
    """Print a number with about three digits that matter."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spelled(count: int) -> str:
    """Print a count with its thousands apart."""
    return f"{count:,}".replace(",", " ")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
