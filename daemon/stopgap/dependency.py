"""Dependency: something outside that the daemon cannot do its work without; for each, why it is away.

Some are asked regularly (Prometheus, the store), of others it is noted what came of the last use. That one is away makes nothing
unready by itself: only what keeps notifications from being taken does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from time import monotonic

import structlog

from stopgap.duration import print_duration
from stopgap.errors import StopgapError

log = structlog.get_logger(__name__)

EVERY = timedelta(seconds=30)
AWAY_EVERY = timedelta(seconds=5)  # while one is away: who is back must not be said to be away for long
FORGOTTEN = timedelta(hours=1)
WITHIN = timedelta(seconds=10)  # an answer that takes longer is none

Ask = Callable[[], Awaitable[object]]
"""Asks a dependency for anything. Raises StopgapError when it is away."""


class Dependency(StrEnum):
    """What the daemon depends on; closed per release."""

    STORE = "store"
    PROMETHEUS = "prometheus"
    ALERTMANAGER = "alertmanager"
    CONTACTS = "contacts"
    HEARTBEAT = "heartbeat"


class Dependencies:
    """Knows of each dependency that is in use why it is away, or that it is there (an empty text).

    `contacts` are the names that can be told, asked anew each time, so that a contact that a reload removed is forgotten. So is one
    to which nobody tried to send anything for an hour: nothing is known of it any more.
    """

    def __init__(
        self,
        used: Iterable[Dependency],
        contacts: Callable[[], Collection[str]],
        time: Callable[[], float] = monotonic,
    ) -> None:
        self._away = dict.fromkeys(used, "")
        self._contacts = contacts
        self._time = time
        self._deaf: dict[str, tuple[str, float]] = {}

    def note(self, dependency: Dependency, why: str) -> None:
        """Note why a dependency is away, or with an empty text that it is there."""
        self._away[dependency] = why

    def why(self, dependency: Dependency) -> str:
        """Return why it is away, an empty text when it is there or not in use."""
        return self._away.get(dependency, "")

    def away(self) -> dict[str, str]:
        """Return all that are in use by name, with why each is away."""
        if self.why(Dependency.CONTACTS):
            self._note_contacts()
        return {dependency.value: why for dependency, why in sorted(self._away.items())}

    def told(self, contact: str, why: str) -> None:
        """Note that a contact took a message, or why it did not."""
        self._deaf.pop(contact, None)
        if why:
            self._deaf[contact] = (why, self._time())
        self._note_contacts()

    def _note_contacts(self) -> None:
        known, old = self._contacts(), self._time() - FORGOTTEN.total_seconds()
        self._deaf = {name: said for name, said in self._deaf.items() if name in known and said[1] > old}
        told = (f"{name} took no message ({why})" for name, (why, _) in sorted(self._deaf.items()))
        self.note(Dependency.CONTACTS, "; ".join(told))


class Watch:
    """Asks dependencies regularly, notes what came of it, and logs what changed. `begin` starts, `stop` ends it."""

    def __init__(
        self, dependencies: Dependencies, asks: Mapping[Dependency, Ask], every: timedelta = EVERY
    ) -> None:
        self._dependencies = dependencies
        self._asks = asks
        self._every = every.total_seconds()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Ask all at once, and then regularly."""
        self._task = asyncio.create_task(self._go_on(), name="dependencies")

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self, dependency: Dependency) -> str:
        """Ask one now; returns why it is away, or an empty text."""
        why = ""
        try:
            async with asyncio.timeout(WITHIN.total_seconds()):
                await self._asks[dependency]()
        except TimeoutError:
            why = f"no answer within {print_duration(WITHIN)}"
        except StopgapError as error:
            why = str(error) or type(error).__name__
        except Exception as error:  # noqa: BLE001 - border: dependency. Whatever keeps us from asking, it is not there for us
            why = type(error).__name__
        self._note(dependency, why)
        return why

    def _note(self, dependency: Dependency, why: str) -> None:
        before = self._dependencies.why(dependency)
        self._dependencies.note(dependency, why)
        if why and not before:
            log.warning("dependency_away", dependency=dependency.value, why=why[:300])
        elif before and not why:
            log.info("dependency_back", dependency=dependency.value)

    async def _go_on(self) -> None:
        while True:
            away = any(await asyncio.gather(*map(self.look, self._asks)))
            await asyncio.sleep(min(self._every, AWAY_EVERY.total_seconds()) if away else self._every)
