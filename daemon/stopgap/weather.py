"""Weather: watches how many targets get incidents, and says once when that is a storm, and once when it is over.

Storms follow from the openings, which are rows; a restart replays those of the last day and finds the same weather.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import structlog

from stopgap.clock import Clock
from stopgap.errors import StoreError
from stopgap.guard import storm_text
from stopgap.incident import Event, EventKind as K, Incident, Phase
from stopgap.journal import Journal
from stopgap.rule import Limits, Rule
from stopgap.storm import Openings, Storm, StormLimit

log = structlog.get_logger(__name__)

LOOK_BACK = timedelta(days=1)
GATHER = 3.0  # seconds from a storm's beginning to its summary: what comes with it belongs into it
LONGEST_SLEEP = 60.0  # seconds: that the wall clock was taken over is noticed within this time
STORE_AGAIN = 5.0  # seconds
SAID = 1000  # control lines among which the last word of a storm is looked for
SHOWN = 10  # targets and rules that the summary names

Live = Callable[[], Iterable[Incident]]


class Weather:
    """Folds openings. `start` replays them, `stop` ends the telling."""

    def __init__(self, journal: Journal, clock: Clock, live: Live) -> None:
        self._journal = journal
        self._clock = clock
        self._live = live
        self._openings = Openings(())
        self._told = False
        self._story: asyncio.Task[None] | None = None

    async def start(self, rules: Iterable[Rule]) -> None:
        """Replay the openings, and tell of a storm, or of the end of one, that nobody was told of. Raises StoreError."""
        await self.look(rules)
        self._told = await self._was_told()
        if self._storms() or self._told:
            self._tell()

    async def look(self, rules: Iterable[Rule]) -> None:
        """Replay the openings of the last day, and tell nobody. Raises StoreError."""
        self._openings = Openings(_limits(rules))
        for target, at in await self._journal.openings(self._clock.now() - LOOK_BACK):
            self._openings.open(target, at)

    def use(self, rules: Iterable[Rule]) -> None:
        """Judge by the limits of other rules from now on."""
        self._openings = self._openings.under(_limits(rules))
        self._tell()

    async def stop(self) -> None:
        """Say no more."""
        if self._story is not None:
            self._story.cancel()
            await asyncio.gather(self._story, return_exceptions=True)

    def opened(self, state: Incident) -> None:
        """Take note of an incident that opened."""
        self._openings.open(state.target, state.opened_at or self._clock.now())
        self._tell()

    def storm(self, limits: Limits) -> Storm | None:
        """Return the storm by these limits, None in calm weather."""
        return self._openings.storm(limits.storm, self._clock.now())

    @property
    def stormy(self) -> bool:
        """Tell whether it storms by any limit."""
        return bool(self._storms())

    # --- telling ---

    def _storms(self) -> dict[StormLimit, Storm]:
        return self._openings.storms(self._clock.now())

    def _tell(self) -> None:
        if self._story is None and (self._told or self._openings.stormy):
            self._story = asyncio.create_task(self._until_calm(), name="storm")

    async def _until_calm(self) -> None:
        if not self._told:
            await asyncio.sleep(GATHER)
            await self._note(K.STORM_BEGAN, self._summary)
            self._told = True
        while storms := self._storms():
            left = (min(storm.until for storm in storms.values()) - self._clock.now()).total_seconds()
            await asyncio.sleep(min(max(left, 0.1), LONGEST_SLEEP))
        await self._note(K.STORM_ENDED, self._rest)
        self._told, self._story = False, None
        self._tell()

    async def _note(self, kind: K, detail: Callable[[], dict[str, Any]]) -> None:
        while True:
            try:
                await self._journal.control(Event(kind, self._clock.now(), detail()))
            except StoreError as error:
                log.warning("store_unavailable", untold=str(kind), why=str(error))
                await asyncio.sleep(STORE_AGAIN)
            except Exception:  # border: message. No later storm is kept from being told
                log.exception("storm_fault", untold=str(kind))
                return
            else:
                return

    def _summary(self) -> dict[str, Any]:
        now = self._clock.now()
        told = [(limit, storm) for limit, storm in self._storms().items()]
        live = [state for state in self._live() if state.phase in (Phase.OPEN, Phase.WAITING)]
        rules = Counter(state.rule for state in live).most_common(SHOWN)
        detail: dict[str, Any] = {"rules": dict(rules), "waiting": len(live)}
        detail["examples"] = list(dict.fromkeys(state.target for state in live if state.target))[:SHOWN]
        if told:
            limit, storm = max(told, key=lambda one: one[1].targets)
            detail |= {"targets": storm.targets, "text": storm_text(Limits(storm=limit), storm, now)}
        return detail

    def _rest(self) -> dict[str, Any]:
        waiting = sum(1 for state in self._live() if state.phase is Phase.WAITING)
        return {"waiting": waiting, "text": f"calm again: {waiting} incidents wait, the most severe go first"}

    async def _was_told(self) -> bool:
        said = [event.kind for event in await self._journal.lately(SAID)]
        last = [kind for kind in said if kind in (K.STORM_BEGAN, K.STORM_ENDED)][-1:]
        return last == [K.STORM_BEGAN]


def _limits(rules: Iterable[Rule]) -> set[StormLimit]:
    return {rule.limits.storm for rule in rules}
