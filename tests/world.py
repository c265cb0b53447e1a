"""World: the engine on virtual time with a memory journal, one switch that actions flip, and probes whose answers a test sets."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from stopgap.action import Danger, Moment, Params, Restored, Reverted, Settled
from stopgap.alert import Alert
from stopgap.catalog import Catalog
from stopgap.clock import LoopClock
from stopgap.engine import Engine
from stopgap.errors import ProbeError
from stopgap.matcher import MatcherIndex, parse_matchers
from stopgap.orders import Orders
from stopgap.probe import Finding, Verdict
from stopgap.rate import Rate
from stopgap.rule import Limits, ProbeSpec, Rule, RungSpec, StepSpec
from stopgap.rulebook import Rulebook
from stopgap.simulate.journal import MemoryJournal
from stopgap.storm import StormLimit
from stopgap.terms import Terms

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


class SwitchParams(Params):
    scalar: ClassVar[str] = "to"
    to: str
    name: str = "mode"


@dataclass
class Switch:
    """Sets a named value; `faults` raise (by key prefix), `calls` counts what really happened, by idempotency key."""

    name: ClassVar[str] = "switch"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=30)
    params: ClassVar[type[SwitchParams]] = SwitchParams
    values: dict[str, str] = field(default_factory=lambda: {"mode": "normal"})
    calls: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    after_faults: list[Exception] = field(default_factory=list)
    blind: bool = False
    safe: bool = True
    takes: float = 0.0

    def describe(self, params: SwitchParams) -> str:
        return f"{params.name} to {params.to}"

    def idempotent(self, params: SwitchParams) -> bool:
        return self.safe

    def reverts(self, params: SwitchParams) -> bool:
        return True

    def resource(self, params: SwitchParams) -> tuple[str, ...]:
        return (f"switch:{params.name}",)

    def undo_by_hand(self, params: SwitchParams, before: Any) -> str:
        return f"put {params.name} back to {before}"

    async def observe(self, params: SwitchParams, moment: Moment) -> Any:
        return self.values.get(params.name)

    def settled(self, params: SwitchParams, before: Any, now: Any) -> Settled:
        if self.blind:
            return Settled.UNCLEAR
        return Settled.DONE if now == params.to else Settled.NOT_DONE

    def settled_revert(self, params: SwitchParams, before: Any, now: Any) -> Settled:
        if self.blind:
            return Settled.UNCLEAR
        return Settled.DONE if now == before else Settled.NOT_DONE

    async def run(self, params: SwitchParams, before: Any, moment: Moment) -> Any:
        if self.faults:
            raise self.faults.pop(0)
        if self.takes:
            await asyncio.sleep(self.takes)
        self.calls[moment.key.partition("/")[2]] += 1
        self.log.append(f"{params.name}={params.to}")
        self.values[params.name] = params.to
        if self.after_faults:
            raise self.after_faults.pop(0)
        return params.to

    async def revert(self, params: SwitchParams, before: Any, receipt: Any, moment: Moment) -> Reverted:
        if self.faults:
            raise self.faults.pop(0)
        current = self.values.get(params.name)
        if current == before:
            return Reverted(Restored.NOTHING, "was back already")
        if current != params.to:
            return Reverted(Restored.DRIFTED, f"{params.name} is {current}, left alone")
        self.calls[moment.key.partition("/")[2]] += 1
        self.log.append(f"{params.name}={before}")
        self.values[params.name] = before
        return Reverted(Restored.REVERTED, f"{params.name} is {before} again")


@dataclass
class Kick(Switch):
    """A restart: nothing to take back; the kicked thing starts with what the switch says."""

    name: ClassVar[str] = "kick"
    runs_with: list[str] = field(default_factory=list)
    switch: Switch | None = None

    def reverts(self, params: SwitchParams) -> bool:
        return False

    async def observe(self, params: SwitchParams, moment: Moment) -> Any:
        return len(self.runs_with)

    def settled(self, params: SwitchParams, before: Any, now: Any) -> Settled:
        if self.blind:
            return Settled.UNCLEAR
        return Settled.DONE if now != before else Settled.NOT_DONE

    async def run(self, params: SwitchParams, before: Any, moment: Moment) -> Any:
        if self.faults:
            raise self.faults.pop(0)
        self.calls[moment.key.partition("/")[2]] += 1
        self.log.append("kick")
        if self.switch is not None:
            self.runs_with.append(self.switch.values["mode"])
        if self.after_faults:
            raise self.after_faults.pop(0)
        return None


class SayParams(Params):
    scalar: ClassVar[str] = "of"
    of: str


@dataclass
class Say:
    """A probe that answers what the test set."""

    name: ClassVar[str] = "say"
    after: ClassVar[float] = 0.0
    params: ClassVar[type[SayParams]] = SayParams
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    takes: float = 0.0

    def describe(self, params: SayParams) -> str:
        return params.of

    async def ask(self, params: SayParams, timeout: timedelta) -> Finding:
        await asyncio.sleep(0)  # as a real one, it does not answer at once
        self.asked[params.of] += 1
        if self.takes:
            await asyncio.sleep(self.takes)
        verdict = self.verdicts.get(params.of, Verdict.HEALTHY)
        return Finding(verdict, f"{params.of} is {verdict}")


class OverParams(Params):
    labels: dict[str, str]


@dataclass
class Over(Say):
    """The probe of an alert itself, by the alert's name."""

    name: ClassVar[str] = "alert"
    params: ClassVar[type[OverParams]] = OverParams

    def describe(self, params: OverParams) -> str:
        return f"{params.labels['alertname']} is over"

    async def ask(self, params: OverParams, timeout: timedelta) -> Finding:
        return await super().ask(SayParams(of=params.labels["alertname"]), timeout)


def step(to: str = "mock", *, action: str = "switch", name: str = "mode", **more: Any) -> StepSpec:
    return StepSpec(action, {"to": to, "name": name}, timeout=timedelta(seconds=30), **more)


def probe(of: str, **more: Any) -> ProbeSpec:
    return ProbeSpec("say", {"of": of}, **more)


MOCK = RungSpec("mock mode", do=(step(),), activate=(step("on", action="kick"),), verify=(probe("ready"),))


def rule(name: str = "mock", *, match: str = 'alertname="Down"', **more: Any) -> Rule:
    given = {"ladder": (MOCK,), "recovered": (probe("cause"),), "target": "app", **more}
    made = Rule(pack="test", name=name, version="", matchers=parse_matchers(match), **given)
    return replace(made, version=f"{name}-{abs(hash(repr(made))):x}")


def book(*rules: Rule) -> Rulebook:
    return Rulebook({r.id: r for r in rules}, MatcherIndex([(r.matchers, r) for r in rules]))


def alert(name: str = "Down", *, firing: bool = True, **labels: str) -> Alert:
    from stopgap.alert import fingerprint

    found = {"alertname": name, "severity": "critical", **labels}
    ends_at = None if firing else START
    return Alert(found, {"summary": "it is down"}, START, ends_at, firing, "", fingerprint(found))


@dataclass
class World:
    """One engine and its surroundings; `restart` kills it without a word and starts another on the same journal."""

    rules: tuple[Rule, ...] = field(default_factory=lambda: (rule(),))
    terms: Terms = field(default_factory=Terms)

    def __post_init__(self) -> None:
        self.clock = LoopClock(START)
        self.journal = MemoryJournal(self.clock)
        self.switch = Switch()
        self.kick = Kick(switch=self.switch)
        self.say = Say()
        self.sizes: dict[str, float] = {}
        self.catalog = Catalog(
            {"switch": self.switch, "kick": self.kick},
            {"say": self.say, "alert": Over(self.say.verdicts, self.say.asked)},
            self._measure,
        )
        self.engine = self._engine()

    def _engine(self) -> Engine:
        def rebuild(document: Any) -> Rule:
            raise ValueError("no document")

        engine = Engine(self.journal, self.catalog, self.clock, book(*self.rules), rebuild, self.terms)
        self.orders = Orders(engine, self.clock)
        return engine

    async def _measure(self, query: str, timeout: timedelta) -> float:
        if query not in self.sizes:
            raise ProbeError(f"nobody knows {query}")
        return self.sizes[query]

    async def start(self) -> "World":
        await self.engine.start()
        return self

    async def crash(self) -> None:
        """Cancel everything in flight without a drain, as kill -9 would, and replay."""
        self.engine._stopping = True
        self.engine._timers.stop()
        await self.engine._weather.stop()
        tasks = list(self.engine._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.journal.unsubscribe()
        self.engine = self._engine()
        await self.engine.start()

    async def fire(self, *alerts: Alert) -> None:
        await self.engine.receive(alerts or (alert(),))

    async def resolve(self, *alerts: Alert) -> None:
        await self.engine.receive(tuple(replace(a, firing=False) for a in alerts or (alert(),)))

    async def passes(self, **duration: float) -> None:
        await asyncio.sleep(timedelta(**duration).total_seconds())

    async def settle(self) -> None:
        """Let everything that needs no time happen."""
        await asyncio.sleep(0.5)

    @property
    def incident(self) -> Any:
        (found,) = self.engine.incidents.values()
        return found

    @property
    def timelines(self) -> Mapping[str, list[str]]:
        return {
            name: [event.kind.value for event in events]
            for name, events in self.journal.timelines.items()
            if name != "control"
        }

    @property
    def words(self) -> list[str]:
        """Return the events of the only incident there ever was."""
        ((_, words),) = self.timelines.items()
        return words

    def outcome(self) -> list[str]:
        return [row.stored.outcome for row in self.journal.rows.values()]


PLENTY = Rate(100_000, timedelta(hours=1))
GENEROUS = Limits(
    cooldown=timedelta(),
    budget=PLENTY,
    budget_global=PLENTY,
    storm=StormLimit(targets=100_000),
)
"""Limits that refuse nothing, for tests of something else."""
