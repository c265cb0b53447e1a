"""Dispatch: messages under way: how many at once, how often each is tried, and when it is given up.

To each contact there is one attempt at a time, so that one that never answers keeps only itself waiting; the pause between two
attempts grows. What finds no room is refused, and whoever wanted it sent comes again with it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from stopgap.clock import Clock
from stopgap.contacts import Contacts
from stopgap.errors import ActionError, TemporaryError

log = structlog.get_logger(__name__)

IN_FLIGHT, OF_ONE_CONTACT = 1000, 100  # messages that are being sent or tried again
AT_ONCE = 4  # attempts
GIVE_UP = timedelta(minutes=15)
LONGEST_PAUSE = 60.0  # seconds between two attempts

Address = tuple[str, str]
"""A pack and the name of a contact."""

Write = Callable[[], Awaitable[tuple[str, str] | None]]
"""Returns title and body right before an attempt, None once the message is not wanted any more. May raise TemporaryError."""

Ended = Callable[[str | None], Awaitable[None]]
"""Takes what came of a message: None when it was delivered, else why it was given up."""


class Dispatch:
    """Sends messages side by side. `on_room` is called whenever one of them is over, with whether others are under way."""

    def __init__(self, contacts: Contacts, clock: Clock, on_room: Callable[[bool], None]) -> None:
        self._contacts = contacts
        self._clock = clock
        self._on_room = on_room
        self._flights: set[asyncio.Task[None]] = set()
        self._busy: Counter[Address] = Counter()
        self._turns: dict[Address, asyncio.Lock] = {}
        self._seats = asyncio.Semaphore(AT_ONCE)

    def __len__(self) -> int:
        """Count the messages under way."""
        return len(self._flights)

    def send(self, address: Address, write: Write, ended: Ended) -> bool:
        """Begin to send a message; False when too much is under way. `ended` is not called for one that nobody wants any more."""
        if len(self._flights) >= IN_FLIGHT or self._busy[address] >= OF_ONE_CONTACT:
            return False
        self._busy[address] += 1
        task = asyncio.create_task(self._fly(address, write, ended), name=f"tell {address[1]}")
        self._flights.add(task)
        task.add_done_callback(lambda task: self._landed(task, address))
        return True

    def _landed(self, task: asyncio.Task[None], address: Address) -> None:
        self._flights.discard(task)
        self._busy[address] -= 1
        if not self._busy[address]:
            del self._busy[address]
            self._turns.pop(address, None)
        if task.cancelled():
            return
        if (fault := task.exception()) is not None:
            log.error("message_fault", contact=address[1], exc_info=fault)
        self._on_room(bool(self._flights))

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._flights:
            await asyncio.wait(set(self._flights))

    async def kill(self) -> None:
        """Give up at once, and call nobody."""
        for task in self._flights:
            task.cancel()
        await asyncio.gather(*self._flights, return_exceptions=True)

    async def _fly(self, address: Address, write: Write, ended: Ended) -> None:
        why: str | None = None
        try:
            if not await self._try(address, write):
                return
        except ActionError as error:
            why = str(error)[:300]
        except Exception as error:  # border: message. One hides no other
            log.exception("message_fault", contact=address[1])
            why = f"a fault of Stopgap itself: {type(error).__name__}"
        await ended(why)

    async def _try(self, address: Address, write: Write) -> bool:
        """Send one message, for as long as it takes and is wanted; False when it is not wanted any more. Raises ActionError."""
        until = self._clock.now() + GIVE_UP
        wanted = True

        def over(_: RetryCallState) -> bool:
            return self._clock.now() >= until

        async for attempt in AsyncRetrying(
            stop=over,
            wait=wait_random_exponential(1, LONGEST_PAUSE),
            retry=retry_if_exception_type(TemporaryError),
            reraise=True,
        ):
            with attempt:
                wanted = await self._attempt(address, write)
        return wanted

    async def _attempt(self, address: Address, write: Write) -> bool:
        async with self._turns.setdefault(address, asyncio.Lock()), self._seats:
            message = await write()
            if message is None:
                return False
            await self._contacts.send(*address, *message)
        return True
