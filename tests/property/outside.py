"""Outside: what steps change and probes ask about. Nothing of Stopgap lives here, so nothing here is lost in a crash.

A knob is a value that a step sets and a revert puts back; somebody else may set it too (drift). A count only grows: that is a
restart, which nothing takes back.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stopgap.action import Restored, Reverted, Settled
from stopgap.probe import Verdict

Value = str | int

POPULATION = 3


@dataclass(frozen=True)
class Turn:
    """The parameters of a step: what it sets to what, and what can be known of it."""

    at: str
    to: str
    back: bool = True  # it can be taken back; otherwise it is a count
    safe: bool = True  # a repetition with the same key does no harm
    blind: bool = False  # whether it took effect cannot be observed


@dataclass(frozen=True)
class Effect:
    """One change that a step made."""

    key: str
    turn: Turn
    before: Value
    after: Value


class Away(Exception):  # noqa: N818 - named as what it tells
    """The resource cannot be read just now."""


@dataclass
class Outside:
    """Values, what outsiders set last, which resources cannot be read, and what each probe would answer."""

    values: dict[str, Value] = field(default_factory=dict)
    theirs: dict[str, Value] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)
    blackout: bool = False  # Prometheus is away: no probe can say anything
    counted: set[str] = field(default_factory=set)  # for whom a population was counted, and not used since
    watch: Callable[[Effect], None] = lambda _: None
    drifts: int = 0

    def value(self, resource: str) -> Value:
        return self.values.get(resource, 0 if resource.endswith("#runs") else f"original {resource}")

    def verdict(self, question: str, target: str) -> Verdict:
        return Verdict.UNKNOWN if self.blackout else self.verdicts.get((question, target), Verdict.HEALTHY)

    def population(self, asker: str) -> int | None:
        """Count the population for somebody who is about to begin; None: nobody can."""
        (self.counted.discard if self.blackout else self.counted.add)(asker)
        return None if self.blackout else POPULATION

    def drift(self, resource: str, *, home: bool) -> None:
        """Somebody sets a knob: to something new, or back to what outsiders had it at."""
        self.drifts += 1
        value = self.home(resource) if home else f"drift {self.drifts}"
        self.values[resource] = self.theirs[resource] = value

    def home(self, resource: str) -> Value:
        """Return what outsiders last wanted a knob to be."""
        return self.theirs.get(resource, f"original {resource}")

    # --- what the action does ---

    def observe(self, turn: Turn) -> Value:
        if turn.at in self.away:
            raise Away(turn.at)
        return self.value(turn.at)

    def run(self, turn: Turn, before: Value, key: str) -> bool:
        """Turn it; False when somebody else set it since it was observed: then it is left alone."""
        current = self.value(turn.at)
        if isinstance(current, int):
            self._set(Effect(key, turn, current, current + 1))
            return True
        if current not in (before, turn.to):
            return False
        self._set(Effect(key, turn, current, turn.to))
        return True

    def revert(self, turn: Turn, before: Value, key: str) -> Reverted:
        current = self.value(turn.at)
        if current == before:
            return Reverted(Restored.NOTHING)
        if current != turn.to:
            return Reverted(Restored.DRIFTED, f"{turn.at} is {current}, left alone")
        self._set(Effect(key, turn, current, before))
        return Reverted(Restored.REVERTED)

    def _set(self, effect: Effect) -> None:
        self.values[effect.turn.at] = effect.after
        self.watch(effect)


class Turning:
    """The one action of the model: pure questions only; what it does, it does to Outside."""

    name = "turn"

    def describe(self, turn: Turn) -> str:
        return f"{turn.at} to {turn.to}"

    def resource(self, turn: Turn) -> tuple[str, ...]:
        return (turn.at,)

    def reverts(self, turn: Turn) -> bool:
        return turn.back

    def settled(self, turn: Turn, before: Any, now: Any) -> Settled:
        if turn.blind:
            return Settled.UNCLEAR
        if now == turn.to if turn.back else now != before:
            return Settled.DONE
        return Settled.NOT_DONE if now == before else Settled.UNCLEAR

    def settled_revert(self, turn: Turn, before: Any, now: Any) -> Settled:
        if turn.blind:
            return Settled.UNCLEAR
        if now == before:
            return Settled.DONE
        return Settled.NOT_DONE if now == turn.to else Settled.UNCLEAR
