"""Live twin: the engine as the daemon builds it, on the SQLite store, with a Teller and with fakes that know nothing of scenes."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.property.patient import Waited, real
from tests.telling import People

from stopgap.action import Restored, Reverted, Settled
from stopgap.alert import Alert
from stopgap.catalog import Catalog
from stopgap.clock import LoopClock
from stopgap.config import build_rule
from stopgap.engine import Engine
from stopgap.errors import PermanentError
from stopgap.incident import EventKind as K, Incident
from stopgap.journal import Line
from stopgap.orders import NoSuchIncident, NotPossible, Orders
from stopgap.probe import Finding, Verdict
from stopgap.rulebook import Rulebook
from stopgap.stock import bare_context, build_catalog
from stopgap.store import open_store
from stopgap.tell import Teller
from stopgap.terms import Terms

_WHY = {"note": "text"}  # what an order calls the reason
REAL = build_catalog(bare_context())


@dataclass
class Outside:
    """What is so outside: the state of each resource, what fails, what probes say, which alerts fire."""

    state: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)  # kinds of action
    verdicts: dict[str, Verdict] = field(default_factory=dict)  # by a piece of the probe's words
    firing: dict[str, dict[str, Any]] = field(default_factory=dict)


class FakeAction:
    def __init__(self, kind: str, outside: Outside) -> None:
        self._kind, self._real, self._outside = kind, REAL.actions[kind], outside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def _read(self, params: Any) -> dict[str, str]:
        return {name: self._outside.state.get(name, "old") for name in self._real.resource(params)}

    async def observe(self, params: Any, moment: Any) -> Any:
        return self._read(params)

    async def run(self, params: Any, before: Any, moment: Any) -> Any:
        if self._kind in self._outside.broken:
            raise PermanentError("broken")
        self._outside.state |= dict.fromkeys(before, f"by {moment.key}")
        return self._read(params)

    async def revert(self, params: Any, before: Any, receipt: Any, moment: Any) -> Reverted:
        now = self._read(params)
        if now == before:
            return Reverted(Restored.NOTHING)
        assert now == receipt, "nobody else changes it here"
        self._outside.state |= before
        return Reverted(Restored.REVERTED)

    def settled(self, params: Any, before: Any, now: Any) -> Settled:
        return Settled.NOT_DONE if now == before else Settled.DONE


class FakeProbe:
    def __init__(self, kind: str, outside: Outside) -> None:
        self._kind, self._real, self._outside = kind, REAL.probes[kind], outside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def ask(self, params: Any, timeout: Any) -> Finding:
        if self._kind == "alert":
            wanted = params.labels.items()
            fires = any(labels.items() >= wanted for labels in self._outside.firing.values())
            return Finding(Verdict.UNHEALTHY if fires else Verdict.HEALTHY, "")
        words = self._real.describe(params)
        said = [verdict for piece, verdict in self._outside.verdicts.items() if piece in words]
        return Finding(said[0] if said else Verdict.HEALTHY, "")


class LiveTwin:
    """One daemon after the other on one store."""

    def __init__(self, rulebook: Rulebook, terms: Terms, start: datetime, contacts: tuple[str, ...]) -> None:
        self.clock = LoopClock(start)
        self.outside = Outside()
        self.people = People(*contacts)
        self.opened: list[str] = []
        self._rulebook, self._terms = rulebook, terms
        self._catalog = Catalog(
            {kind: FakeAction(kind, self.outside) for kind in REAL.actions},  # type: ignore[misc]
            {kind: FakeProbe(kind, self.outside) for kind in REAL.probes},  # type: ignore[misc]
        )

    async def open(self, directory: Path) -> None:
        self.store = await real(open_store(directory, self.clock))
        self.journal: Any = Waited(self.store)
        await self._begin()

    async def _begin(self) -> None:
        rebuild = lambda document: build_rule(document, self._catalog)  # noqa: E731
        self.engine = Engine(self.journal, self._catalog, self.clock, self._rulebook, rebuild, self._terms)
        self.orders = Orders(self.engine, self.clock)
        contacts: Any = self.people
        self.teller = Teller(self.journal, contacts, self.clock, self.engine.rule_of, rebuild=rebuild)
        self.engine.subscribe(self.teller.observe)
        self.engine.subscribe(self._see)
        await self.engine.start()
        self.teller.start()

    def _see(self, line: Line, state: Incident) -> None:
        if line.event.kind is K.OPENED:
            self.opened.append(line.incident)

    async def crash(self) -> None:
        await self.teller.kill()
        await self.engine.stop(drain=0)
        self.journal.unsubscribe()
        await self._begin()

    async def close(self) -> dict[str, tuple[Any, ...]]:
        """End, and return all timelines."""
        await self.teller.kill()
        await self.engine.stop(drain=0)
        names = [*(await self.journal.live())]
        rows = await self.journal.closed(rule=None, target=None, before=None, limit=1000)
        found = {name: await self.journal.timeline(name) for name in [*(row.id for row in rows), *names]}
        await real(self.store.close())
        return found

    async def until(self, seconds: float) -> None:
        await asyncio.sleep(seconds - asyncio.get_running_loop().time())

    async def receive(self, alert: Alert, *, firing: bool) -> None:
        if firing:
            self.outside.firing[alert.fingerprint] = dict(alert.labels)
        else:
            self.outside.firing.pop(alert.fingerprint, None)
        await self.engine.receive((replace(alert, firing=firing),))

    async def order(self, verb: str) -> None:
        """Give an order about the incident that opened last, if that is possible."""
        if not self.opened:
            return
        more = {"close": {"keep": True}, "extend": {"for_": timedelta(minutes=7)}}.get(verb, {})
        try:
            await getattr(self.orders, verb)(
                self.opened[-1], by="anna", **{_WHY.get(verb, "why"): "because"}, **more
            )
        except (NotPossible, NoSuchIncident):
            return
