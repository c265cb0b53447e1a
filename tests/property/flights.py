"""Flights: what is under way for an incident, with all that it was decided upon; a crash loses it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.property.outside import Turn, Value

from stopgap.guard import Request
from stopgap.incident import Incident, Ref
from stopgap.moves import Circumstances, Start
from stopgap.plan import Plan
from stopgap.rule import Rule


class End(StrEnum):
    """How an act ends."""

    OK = "ok"
    FAILED = "failed"
    FAILED_FOR_NOW = "failed for now"
    UNKNOWN_DONE = "unknown, and it took effect"
    UNKNOWN_LOST = "unknown, and it did not take effect"


@dataclass(frozen=True)
class Starting:
    """A rung that the cheap guards let through: its preconditions are being asked."""

    state: Incident
    rule: Rule
    move: Start
    at: Circumstances
    plan: Plan
    request: Request


@dataclass(frozen=True)
class Acting:
    """An act whose intent is on disk."""

    state: Incident
    rule: Rule
    ref: Ref
    n: int
    turn: Turn
    before: Value
    doubtful: bool = False  # a try before it, with the same key, may have taken effect

    @property
    def key(self) -> str:
        return f"{self.state.id}/{self.ref}/{self.n}"

    @property
    def detail(self) -> dict[str, Any]:
        return {"rung": self.ref.rung, "role": self.ref.role, "step": self.ref.step, "n": self.n}


@dataclass(frozen=True)
class Asking:
    """Probes whose answers are on their way."""

    state: Incident
    rule: Rule
    keys: tuple[str, ...]


Flight = Starting | Acting | Asking
