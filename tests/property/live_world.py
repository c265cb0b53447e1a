"""Live world: the engine itself, with its orders, on the model's rows and outside; one daemon after the other.

What happens to it, happens between any two of its awaits: each takes a time by chance, and nobody waits for anybody. Storms and
what Alertmanager confirms are left to other tests: no commit can know of them.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from tests.property.auditor import Auditor
from tests.property.ladders import ALERTNAMES, a_ladder_of_rules
from tests.property.live_outside import LiveTurning, catalog_of, live
from tests.property.live_rows import AFTERMATH, LiveRows
from tests.property.outside import Effect, Outside
from tests.property.rows import Commit, Rows
from tests.timelines import START

from stopgap.alert import Alert
from stopgap.clock import LoopClock
from stopgap.engine import Engine
from stopgap.errors import StoreError
from stopgap.incident import PROBED, Event, EventKind as K, Incident
from stopgap.ledger import Brake, BrakeScope
from stopgap.matcher import MatcherIndex
from stopgap.orders import NoSuchIncident, NotPossible, Orders
from stopgap.probe import Verdict
from stopgap.rule import Rule, guarded
from stopgap.rulebook import Rulebook
from stopgap.storm import StormLimit

CALM = StormLimit(targets=1000)
VERDICTS = {kind: Verdict(verdict) for verdict, kind in PROBED.items()}
BY = "ann"


class Everybody(set[str]):
    """For whom a population was counted: whoever asks, asks right before."""

    def __contains__(self, _: object) -> bool:
        return True


class Told(Engine):
    """An engine whose auditor also hears of answers that are not worth a line."""

    told: Any = None

    def _noted(self, asked: Incident, event: Event) -> None:
        self.told(asked.id, event)
        super()._noted(asked, event)


class LiveWorld:
    """One engine and its surroundings, by the chance of a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.clock = LoopClock(START)
        self.rows, self.outside = Rows(), Outside(counted=Everybody())
        self.broken: list[AssertionError] = []
        versions = [tuple(map(_calm, both)) for both in a_ladder_of_rules(self.chance)]
        self.models = {rule.version: rule for both in versions for rule in both}
        self.lives = {version: live(rule) for version, rule in self.models.items()}
        self.versions = [[rule.version for rule in both] for both in versions]
        self.loaded = {self.models[both[0]].id: both[0] for both in self.versions}
        self.alerts = _alerts(self.chance)
        self.auditor = Auditor(
            self.rows,
            self.outside,
            self.clock.now,
            lambda: self.engine.mode,
            lambda: {name: self.models[r.version] for name, r in self.engine.rulebook.rules.items()},
            self.running,
        )
        self.rows.watchers += [self.auditor.committed, self._committed]
        self.outside.watch = self._took_effect
        self.journal = LiveRows(self.rows, self.clock, self.chance, broken=self.broken)
        self.turning = LiveTurning(self.outside, self.chance, self.broken)
        self._catalog = catalog_of(self.outside, self.turning, self.chance)
        self._tasks: set[asyncio.Task[None]] = set()
        self._telling: set[str] = set()
        self._reloading = asyncio.Lock()
        self.dying = False
        self.on_line: Callable[[str], None] = lambda _: None

    def running(self, name: str, version: str) -> Rule:
        """Return a rule version of the model with the guards of now."""
        rule, now = self.models[version], self.engine.rulebook.rules.get(name)
        return rule if now is None or now.version == version else guarded(rule, self.models[now.version])

    def _took_effect(self, effect: Effect) -> None:
        self.auditor.took_effect(effect)
        name = effect.key.partition("/")[0]
        assert self.auditor.accounts[name].live, f"3: {effect.key} took effect after the end of {name}"

    def _committed(self, commit: Commit) -> None:
        self.on_line(commit.incident)
        for event in commit.events:
            if event.kind is K.RUNG_STARTED:
                fires = self.auditor.accounts[commit.incident].firing
                assert fires, f"8: {commit.incident} starts a rung, and nothing fires"
            if event.kind in VERDICTS and "/" in event.detail.get("probe", ""):
                self._answered(commit.incident, event)

    def _answered(self, name: str, event: Event) -> None:
        key = event.detail["probe"]
        self.auditor.answers[name].take(key, VERDICTS[event.kind], event.at)

    # --- life ---

    async def begins(self) -> None:
        journal: Any = self.journal
        self.journal.opens()
        self.engine = Told(
            journal, self._catalog, self.clock, self._book(), lambda version: self.lives[version]
        )
        self.engine.told = self._answered
        self.journal.rules = lambda: self.engine.rulebook
        self.orders = Orders(self.engine, self.clock)
        self.began_at = self.clock.now()
        await self.engine.start()

    def _book(self) -> Rulebook:
        rules = {name: self.lives[version] for name, version in self.loaded.items()}
        return Rulebook(rules, MatcherIndex([(rule.matchers, rule) for rule in rules.values()]))

    async def dies(self, *, drain: float = 0.0, gently: bool = False) -> None:
        """End, as a stop or a crash does, and begin anew. A crash writes nothing more."""
        self.dying = True
        if gently:
            await self.engine.stop(drain)
            await self.journal.dies()
            self._check_stop(drain)
        else:
            await self.journal.dies()
            await self.engine.stop(0.0)
        await self._ends_tasks()
        known = dict(self.engine.incidents)
        self.dying = False
        self.auditor.crashed()
        await self.begins()
        for name, state in known.items():
            if self.rows.incidents[name].live and state.seq == len(self.rows.timelines[name]):
                self.auditor.replayed(state, self.engine.incidents[name])

    def _check_stop(self, drain: float) -> None:
        """Whoever stops in order waits for acts, and leaves none whose outcome is unknown."""
        if drain and self.clock.now() > self.journal.ill_at + AFTERMATH:
            acts = {one.id: one.act for one in self.auditor.live.values() if one.act and self._began(one.id)}
            assert not acts, f"2: a stop leaves {acts} behind"

    def _began(self, name: str) -> bool:
        """Tell whether the last act began in the life of this daemon: before it, a crash may have hidden the outcome."""
        begun = [e.at for e in self.rows.timelines[name] if e.kind is K.STEP_STARTED]
        return begun[-1] >= self.began_at

    async def _ends_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._telling.clear()

    # --- what happens to it ---

    def goes(self, work: Any) -> None:
        """Let something be asked of it, and wait for nobody."""

        async def done() -> None:
            try:
                await work
            except (StoreError, NotPossible, NoSuchIncident):
                return

        task = asyncio.create_task(done())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def tells(self, alert: Alert, *, firing: bool) -> None:
        """Notify of one alert; of each, one message after the other."""
        if alert.fingerprint not in self._telling:
            self._telling.add(alert.fingerprint)
            self.goes(self._tells(replace(alert, firing=firing)))

    async def _tells(self, alert: Alert) -> None:
        claims = self.auditor.claims
        try:
            keys = {(alert.fingerprint, place.rule.id) for place in self.engine.intake.places_of(alert)}
            keys |= set() if alert.firing else {key for key in claims if key[0] == alert.fingerprint}
            for key in keys:
                claims.pop(key, None)
            await self.engine.receive((alert,))
            claims |= dict.fromkeys(keys, alert.firing)
        finally:
            self._telling.discard(alert.fingerprint)

    def brakes(self, scope: BrakeScope, name: str, minutes: int | None) -> None:
        now = self.clock.now()
        until = now + timedelta(minutes=minutes) if minutes else None
        self.goes(self.engine.brake(Brake(scope, name, BY, "too much at once", now, until)))

    def releases(self) -> None:
        for scope, name in self.rows.brakes:
            self.goes(self.engine.release(scope, name, BY))

    def reloads(self, loaded: Mapping[str, str]) -> None:
        self.goes(self._reloads(dict(loaded)))

    async def _reloads(self, loaded: dict[str, str]) -> None:
        async with self._reloading:  # as the App does
            self.loaded = loaded
            await self.engine.use(self._book())

    def order(self, name: str, verb: str) -> None:
        orders: dict[str, Any] = {
            "acknowledge": lambda: self.orders.acknowledge(name, BY),
            "approve": lambda: self.orders.approve(name, BY),
            "deny": lambda: self.orders.deny(name, BY, "no"),
            "note": lambda: self.orders.note(name, BY, "look"),
            "revert": lambda: self.orders.revert(name, BY, "enough"),
            "extend": lambda: self.orders.extend(name, BY, timedelta(hours=1), "not yet"),
            "close": lambda: self.orders.close(name, BY, "enough", keep=False),
            "keep": lambda: self.orders.close(name, BY, "enough", keep=True),
        }
        self.goes(orders[verb]())

    # --- how it stands ---

    @property
    def idle(self) -> bool:
        """Tell whether nothing is under way, and all that was to be decided is."""
        busy = self.engine._tasks or self.engine._dirty or self._tasks or not self.journal.idle
        return not busy

    def check(self) -> None:
        if self.broken:
            raise self.broken[0]
        if self.dying or self.journal.lost or self.journal.ill:
            return
        idle = self.idle
        self.auditor.check(lambda _: idle and self.journal.observer is not None)


def _calm(rule: Rule) -> Rule:
    return replace(rule, limits=replace(rule.limits, storm=CALM))


def _alerts(chance: Random) -> list[Alert]:
    targets = [f"t{i}" for i in range(chance.randrange(2, 5))]
    every = [(name, target, n) for target in targets for name in ALERTNAMES for n in range(2)]
    chosen = chance.sample(every, min(len(every), chance.randrange(3, 9)))
    return [_alert(name, target, n) for name, target, n in chosen]


def _alert(name: str, target: str, number: int) -> Alert:
    severity = ("critical", "warning", "info")[number % 3]
    labels = {"alertname": name, "service": target, "severity": severity}
    return Alert(labels, {}, START, None, True, "", f"{name}/{target}/{number}")
