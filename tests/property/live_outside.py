"""Live outside: the actions and probes of the model, as a catalog of the engine; whatever they do takes time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any, ClassVar

from tests.property.outside import POPULATION, Away, Outside, Turn, Turning

from stopgap.action import Danger, Moment, Params, Reverted
from stopgap.catalog import Catalog
from stopgap.errors import PermanentError, ProbeError, TemporaryError
from stopgap.probe import Finding
from stopgap.rule import ProbeSpec, Rule, RungSpec, StepSpec
from stopgap.template import Template

ACT, PROBE = 4.0, 3.0  # seconds, at most
TARGET = Template.parse("{{ target }}")


class TurnParams(Params):
    at: str
    to: str
    back: bool
    safe: bool
    blind: bool


class SayParams(Params):
    of: str
    about: str


class OverParams(Params):
    labels: dict[str, str]


def turn_of(params: TurnParams) -> Turn:
    return Turn(**params.model_dump())


class LiveTurning(Turning):
    """Sets what the model's Outside holds; `fails` is how often an act fails, or hides whether it did."""

    name: ClassVar[str] = "turn"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=30)
    params: ClassVar[type[TurnParams]] = TurnParams

    def __init__(self, outside: Outside, chance: Random, broken: list[AssertionError]) -> None:
        self._outside, self._chance, self._broken = outside, chance, broken
        self.fails = 0.0

    def describe(self, params: Any) -> str:
        return super().describe(turn_of(params))

    def resource(self, params: Any) -> tuple[str, ...]:
        return super().resource(turn_of(params))

    def reverts(self, params: Any) -> bool:
        return bool(params.back)

    def idempotent(self, params: Any) -> bool:
        return bool(params.safe)

    def undo_by_hand(self, params: Any, before: Any) -> str:
        return f"set {params.at} to {before}"

    def settled(self, params: Any, before: Any, now: Any) -> Any:
        return super().settled(turn_of(params), before, now)

    def settled_revert(self, params: Any, before: Any, now: Any) -> Any:
        return super().settled_revert(turn_of(params), before, now)

    async def observe(self, params: Any, moment: Moment) -> Any:
        await asyncio.sleep(self._chance.random())
        try:
            return self._outside.observe(turn_of(params))
        except Away as away:
            raise TemporaryError(str(away)) from None

    async def run(self, params: Any, before: Any, moment: Moment) -> Any:
        if not await self._effect(lambda: self._outside.run(turn_of(params), before, moment.key)):
            raise PermanentError("somebody else set it")
        return None

    async def revert(self, params: Any, before: Any, receipt: Any, moment: Moment) -> Reverted:
        said: Reverted = await self._effect(lambda: self._outside.revert(turn_of(params), before, moment.key))
        return said

    async def _effect(self, work: Callable[[], Any]) -> Any:
        await asyncio.sleep(self._chance.random() * ACT)
        if self._chance.random() < self.fails:
            raise self._chance.choice([TemporaryError("busy"), PermanentError("no"), OSError("lost")])
        try:
            done = work()
        except AssertionError as broken:
            self._broken.append(broken)
            raise
        await asyncio.sleep(self._chance.random() * ACT)
        if self._chance.random() < self.fails:
            raise OSError("the answer is lost")
        return done


class LiveSaying:
    """Answers what the model's Outside says, for a target."""

    after: ClassVar[float] = 0.0

    def __init__(self, name: str, params: type[Params], outside: Outside, chance: Random) -> None:
        self.name, self.params, self._outside, self._chance = name, params, outside, chance

    def describe(self, params: Any) -> str:
        return "say"

    async def ask(self, params: Any, timeout: timedelta) -> Finding:
        await asyncio.sleep(self._chance.random() * PROBE)
        if isinstance(params, SayParams):
            return Finding(self._outside.verdict(params.of, params.about), "")
        return Finding(self._outside.verdict("is it over", params.labels["service"]), "")


def catalog_of(outside: Outside, turning: LiveTurning, chance: Random) -> Catalog:
    async def measure(query: str, timeout: timedelta) -> float:
        await asyncio.sleep(chance.random() * PROBE)
        if outside.blackout:
            raise ProbeError("no data")
        return POPULATION

    say = LiveSaying("say", SayParams, outside, chance)
    over = LiveSaying("alert", OverParams, outside, chance)
    return Catalog({"turn": turning}, {"say": say, "alert": over}, measure)  # type: ignore[dict-item]


# --- rules of the model, as the engine renders them ---


def live(rule: Rule) -> Rule:
    """Return a rule of the model with templates in the place of its own marks."""
    rungs = tuple(map(_rung, rule.ladder))
    recovered = tuple(map(_probe, rule.recovered))
    return replace(rule, ladder=rungs, recovered=recovered, document=rule.version)


def _rung(rung: RungSpec) -> RungSpec:
    return replace(
        rung,
        do=tuple(map(_step, rung.do)),
        activate=tuple(map(_step, rung.activate)),
        verify=tuple(map(_probe, rung.verify)),
        only_if=tuple(map(_probe, rung.only_if)),
    )


def _step(step: StepSpec) -> StepSpec:
    turn: Any = step.params
    at = turn.at.replace("{target}", "{{ target }}")
    params = {"to": turn.to, "back": turn.back, "safe": turn.safe, "blind": turn.blind}
    return replace(step, params={"at": Template.parse(at), **params})


def _probe(probe: ProbeSpec) -> ProbeSpec:
    return replace(probe, params={"of": probe.params, "about": TARGET})
