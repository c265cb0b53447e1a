"""Asker: asks planned probes, so many at once, and makes an answer of whatever happens: not looked means unknown."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

from stopgap.catalog import Measure
from stopgap.errors import ProbeError
from stopgap.guard import Extent
from stopgap.plan import PlannedProbe
from stopgap.probe import Finding, Verdict
from stopgap.turns import Turns

MEASURED_WITHIN = timedelta(seconds=5)
SLACK = timedelta(seconds=4)  # beyond the probe's own timeout: then it counts as unknown
LATE = timedelta(seconds=0.5)  # beyond it too: an answer may have been there, and nobody looked

Counted = Callable[[str, Verdict], None]


class Asker:
    """Bounds the asking of all probes of the daemon, and of what is measured beside them; not of those that are `prompt`."""

    def __init__(self, measure: Measure | None, at_once: int, *, prompt: bool = False) -> None:
        self._measure = measure
        self._prompt = prompt
        self._turns = Turns(at_once)
        self.on_asked: Counted = lambda _kind, _verdict: None

    def bound(self, at_once: int) -> None:
        """Ask so many at once from now on."""
        self._turns.bound(at_once)

    async def extent(self, query: str) -> Extent:
        """Ask how large a population is; without an answer its flaw says why."""
        if self._measure is None:
            return Extent(flaw="nothing is configured that could measure it")
        try:
            async with self._turns.take(), asyncio.timeout((MEASURED_WITHIN + SLACK).total_seconds()):
                total = await self._measure(query, MEASURED_WITHIN)
        except (ProbeError, TimeoutError) as error:
            return Extent(flaw=str(error)[:300] or "no answer in time")
        return Extent(int(total))

    async def ask(self, probes: Sequence[PlannedProbe]) -> list[Finding]:
        """Ask all of these, each once."""
        if self._prompt or len(probes) == 1:  # as most are, and one needs no task of its own
            findings = [await self._finding(probe) for probe in probes]
        else:
            findings = await asyncio.gather(*map(self._finding, probes)) if probes else []
        for probe, finding in zip(probes, findings, strict=True):
            self.on_asked(probe.spec.probe, finding.verdict)
        return findings

    async def _finding(self, probe: PlannedProbe) -> Finding:
        limit = probe.spec.timeout
        try:
            if self._prompt:
                return await probe.probe.ask(probe.params, limit)
            return await self._bounded(probe, limit)
        except ProbeError as error:
            return Finding(Verdict.UNKNOWN, str(error)[:300])
        except Exception as error:  # noqa: BLE001 - border: probe. Not looked means unknown
            return Finding(Verdict.UNKNOWN, f"{type(error).__name__}: {error}"[:300])

    async def _bounded(self, probe: PlannedProbe, limit: timedelta) -> Finding:
        time = asyncio.get_running_loop().time
        async with self._turns.take(), asyncio.timeout((limit + SLACK).total_seconds()):
            began = time()
            found = await probe.probe.ask(probe.params, limit)
        if found.verdict is Verdict.UNHEALTHY and time() - began > (limit + LATE).total_seconds():
            return Finding(Verdict.UNKNOWN, f"Stopgap itself stood still meanwhile: {found.why}"[:300])
        return found
