"""Letters: what daemons that stand by have taken. The one that leads works them off as if it had been told itself."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from stopgap.alert import Alert
from stopgap.errors import StoreError
from stopgap.intake import Received
from stopgap.seldom import Seldom
from stopgap.store import Letter, Standby, Store

log = structlog.get_logger(__name__)

MOST = 100  # letters at once
EVERY = 0.1  # seconds between two looks into an empty box
AGAIN = 1.0  # seconds after a look that failed
SAID_EVERY = timedelta(minutes=1)


class Letterbox:
    """The intake of a daemon that stands by: what it takes is on disk, and is decided about elsewhere."""

    def __init__(self, standby: Standby) -> None:
        self._standby = standby
        self._heard = ("", 0)

    def heard(self, receiver: str, truncated: int) -> None:
        """Take note of what the notification that comes next says beside its alerts."""
        self._heard = (receiver, truncated)

    async def receive(self, alerts: Sequence[Alert]) -> Received:
        """Leave the alerts for the daemon that leads. Raises StoreError."""
        receiver, truncated = self._heard
        if alerts or truncated:
            await self._standby.put_by(Letter(receiver, truncated, [alert.as_json() for alert in alerts]))
        return Received()


class Intake(Protocol):
    """The engine, as far as the postman knows it."""

    async def receive(self, alerts: Sequence[Alert], by: str = "") -> Received:
        """Make what these alerts change durable. Raises StoreError."""
        ...


class Tally(Protocol):
    """Who counts what comes in (the metrics)."""

    def took(self, firing: int, resolved: int, taken: Received) -> None:
        """Count alerts that are on disk; whoever wrote the letter counted them as received."""
        ...

    def waiting(self, letters: int) -> None:
        """Note how many letters were found."""
        ...

    def waiting_since(self, at: datetime | None) -> None:
        """Note when the first of all that wait came."""
        ...

    def unreadable(self) -> None:
        """Count one letter that could not be read."""
        ...


class Postman:
    """Brings letters to the engine, until `stop`; also the intake of the daemon that leads: letters that came before come first."""

    def __init__(self, store: Store, intake: Intake, tally: Tally, heard: Callable[[str, int], None]) -> None:
        self._store = store
        self._intake = intake
        self._tally = tally
        self._heard = heard
        self._task: asyncio.Task[None] | None = None
        self._seldom = Seldom(SAID_EVERY)
        self._round_under_way = asyncio.Lock()
        self._rounds = 0  # begun
        self._done = 0  # the last round that worked off all that was there

    def begin(self) -> None:
        """Look into the box from now on."""
        self._task = asyncio.create_task(self._go(), name="letters")

    async def stop(self) -> None:
        """Leave what comes to the next one who leads."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def receive(self, alerts: Sequence[Alert]) -> Received:
        """Make what these alerts change durable, after what others were told before. Raises StoreError."""
        asked = self._rounds
        async with self._round_under_way:
            if self._done <= asked:  # none that began since worked
                await self._round()
        taken = await self._intake.receive(alerts)
        if not taken.news and not self._store.leads:  # nothing was written, which would have proved that
            raise StoreError(
                "it is not certain that no other daemon leads by now: what is no news here may be news there"
            )
        return taken

    async def _go(self) -> None:
        given_up = True
        while True:
            pause = AGAIN
            try:
                if given_up:
                    await self._store.try_anew()
                    given_up = False
                async with self._round_under_way:
                    await self._round()
                pause = EVERY
            except StoreError:
                pass  # said by whoever writes
            except Exception as error:  # border: task. One look that goes wrong must not be the last
                unsaid = self._seldom.ask(type(error).__name__)
                if unsaid is not None:
                    log.exception("letters_fault", unsaid=unsaid)
            await asyncio.sleep(pause)

    async def _round(self) -> None:
        """Work off all that is there, and not what comes meanwhile: others wait for the end."""
        self._rounds += 1
        this = self._rounds
        found = await self._store.letters_waiting()
        self._tally.waiting_since(found.since)
        if not found.newest:
            self._tally.waiting(0)
        while found.newest and await self._some(found.newest):
            pass
        self._done = this

    async def _some(self, newest: int) -> bool:
        """Work off the oldest letters; False when there was none."""
        letters = await self._store.letters(MOST, newest)
        if letters:  # else more may have come meanwhile: the next round looks
            self._tally.waiting(len(letters))
        for each in apart(letters):
            read = await asyncio.gather(*map(self._read, each), return_exceptions=True)
            done = [letter.number for letter, taken in zip(each, read, strict=True) if taken is True]
            if done:
                await self._store.answered(done)
            for error in read:
                if isinstance(error, BaseException):
                    raise error
        return bool(letters)

    async def _read(self, letter: Letter) -> bool:
        try:
            self._heard(letter.receiver, letter.truncated)
            taken = await self._intake.receive([Alert.from_json(each) for each in letter.alerts])
        except StoreError:
            raise
        except Exception:  # border: letter. One that another version wrote must not hold up the others
            log.exception("letter_unreadable", number=letter.number)
            if await self._store.unreadable(letter.number):
                self._tally.unreadable()
            return False
        self._tally.took(0, 0, taken)
        return True


def apart(letters: Sequence[Letter]) -> Iterator[list[Letter]]:
    """Yield neighbours that speak of different alerts: read twice, because of a crash, they change nothing.

    Letters that say of one alert that it fires, and then that it is over, would open a second incident.
    """
    together: list[Letter] = []
    named: set[str] = set()
    for letter in letters:
        alerts = {str(alert.get("fingerprint")) for alert in letter.alerts if isinstance(alert, dict)}
        if together and not named.isdisjoint(alerts):
            yield together
            together, named = [], set()
        together.append(letter)
        named |= alerts
    if together:
        yield together
