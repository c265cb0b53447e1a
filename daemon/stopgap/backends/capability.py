"""Capability: what a place behind a locator lets us do, so that an action knows what it does and not where."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

from stopgap.backends.locator import Locator
from stopgap.backends.network import Network
from stopgap.errors import PermanentError


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting: its value as a program reads it (None: absent), and the characters that stand there.

    `form` is the backend's own business: given back, it makes taking back exact to the byte.
    """

    value: str | None
    form: str | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """Say only whether there is one: it may be a secret."""
        return "Entry(absent)" if self.value is None else "Entry(***)"


Plan = Callable[[Mapping[str, Entry]], Mapping[str, Entry]]
"""Given what stands there now, say what shall stand there; keys left out stay. May raise ActionError: then nothing is written."""


class Place(ABC):
    """Something outside that a locator names. Making one does no I/O; a locator it cannot take is a ValueError."""

    schemes: ClassVar[tuple[str, ...]]
    kind: ClassVar[str] = ""
    """What tells it from other places of its scheme."""
    example: ClassVar[str]
    purpose: ClassVar[str]

    @abstractmethod
    def __init__(self, locator: Locator) -> None:
        """Take the parts of the locator."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name the place as a resource, one way only (`env:/etc/app.env`)."""


class Flags(Place):
    """Holds settings: keys with values."""

    purpose = "hold flags"
    legible: ClassVar[bool] = True
    """Whether values can be read back. Where not, `Entry.value` is a digest, and taking back needs the value to go back to."""
    at_once: ClassVar[int] = 50
    """How many settings one write can hold, all or none of them."""

    @abstractmethod
    async def read(self, keys: Collection[str], within: timedelta) -> dict[str, Entry]:
        """Read settings. Raises ActionError."""

    @abstractmethod
    async def change(self, keys: Collection[str], plan: Plan, within: timedelta) -> dict[str, Entry]:
        """Read `keys`, ask `plan`, write all that it says at once or nothing, and return what stands there then.

        Between reading and writing no other writer that keeps the lock comes in. Raises ActionError when nothing was written.
        """

    async def try_writing(self, writings: Collection[Mapping[str, str]], within: timedelta) -> None:
        """Prove that each of the writings could be made now, as far as that shows; write nothing. Raises ActionError."""
        for settings in writings:
            await self.read(settings, within)


@dataclass(frozen=True, slots=True)
class Running:
    """What runs: all of it up, or not; and per instance a mark that differs after each start."""

    up: bool
    starts: Mapping[str, str]


class Restartable(Place):
    """Runs something that can be started anew."""

    purpose = "restart"

    @abstractmethod
    async def observe(self, within: timedelta) -> Running:
        """See what runs. Raises ActionError."""

    @abstractmethod
    async def restart(self, within: timedelta) -> None:
        """Start it anew; what is stopped is started. Raises ActionError when known not done."""

    async def try_restarting(self, within: timedelta) -> None:
        """Prove that it could be started anew now, as far as that shows; change nothing. Raises ActionError."""
        await self.observe(within)


class Services(Restartable):
    """Runs something that can also be stopped and started. Both are idempotent."""

    purpose = "start and stop"

    @abstractmethod
    async def start(self, within: timedelta) -> None:
        """Start what is stopped. Raises ActionError when known not done."""

    @abstractmethod
    async def stop(self, within: timedelta) -> None:
        """Stop what runs. Raises ActionError when known not done."""


class Scalable(Place):
    """Runs something of which there can be more."""

    purpose = "scale"
    measures: ClassVar[tuple[str, ...]]
    """What can be changed: `count` (instances), `memory` (MiB of each)."""

    @abstractmethod
    async def size(self, measure: str, within: timedelta) -> int:
        """Read a measure. Raises ActionError."""

    @abstractmethod
    async def resize(self, measure: str, size: int, within: timedelta) -> None:
        """Set a measure. Raises ActionError when known not done."""

    async def try_resizing(self, measure: str, within: timedelta) -> int:
        """Prove that the measure could be set now, as far as that shows; change nothing, return it. Raises ActionError."""
        return await self.size(measure, within)


@dataclass(frozen=True, slots=True)
class Version:
    """What is in place: a commit or an image; `branch` is the name under which it was checked out, if any."""

    name: str
    branch: str = ""

    @property
    def shown(self) -> str:
        """Say it as people know it."""
        return self.branch or self.name


class Versioned(Place):
    """Has versions, of which one is in place."""

    purpose = "go back to an older version"
    previous: ClassVar[str]
    """What names the version before the one in place."""

    @abstractmethod
    def check(self, to: str) -> None:
        """Refuse what cannot name a version. Raises ValueError."""

    @abstractmethod
    async def current(self, within: timedelta) -> Version:
        """Read what is in place. Raises ActionError."""

    @abstractmethod
    async def find(self, to: str, within: timedelta) -> str:
        """Return the version that `to` names now. Raises ActionError."""

    @abstractmethod
    async def switch(self, to: Version, within: timedelta) -> None:
        """Put a version in place. Raises ActionError when known not done."""

    async def try_switching(self, to: Version, within: timedelta) -> None:
        """Prove that a version could be put in place now, as far as that shows; change nothing. Raises ActionError."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What a blocklist has for an address: the `mark` of its entry ("": somebody else's; None: no entry), and how many are `ours`.

    `instead` names what an entry does that does not block: somebody lets the address in on purpose.
    """

    mark: str | None
    ours: int
    instead: str = ""

    def wants(self, network: Network, most: int, where: str) -> bool:
        """Tell whether an entry is to be added. Raises PermanentError where one must not be."""
        if self.instead:
            raise PermanentError(
                f"{where} says {self.instead} for {network}, which somebody decided: remove that entry first"
            )
        if self.mark is None and self.ours >= most:
            raise PermanentError(
                f"{where} holds {self.ours} entries of ours, and cap is {most}: a person judges whether to block more"
            )
        return self.mark is None


class Blocklist(Place):
    """Keeps addresses out. Each entry of ours carries a mark, and nothing else is ever removed."""

    purpose = "block addresses"

    @abstractmethod
    def check_network(self, network: Network) -> None:
        """Refuse what the list cannot hold. Raises ValueError."""

    @abstractmethod
    async def look(self, network: Network, within: timedelta) -> Listed:
        """Read what the list has. Raises ActionError."""

    @abstractmethod
    async def ban(self, network: Network, mark: str, most: int, within: timedelta) -> None:
        """Add an entry where there is none, as long as at most so many are ours. Raises ActionError when known not done."""

    @abstractmethod
    async def lift(self, network: Network, mark: str, within: timedelta) -> Listed:
        """Remove the entry with this mark, and return what was there before. Raises ActionError when known not done."""

    async def try_banning(self, network: Network, most: int, within: timedelta) -> None:
        """Prove that an entry could be added now, as far as that shows; change nothing. Raises ActionError."""
        (await self.look(network, within)).wants(network, most, self.name)


@dataclass(frozen=True, slots=True)
class Record:
    """A DNS record: what it says, how many seconds resolvers keep it (1: the server's choice), and whether it is proxied."""

    id: str
    content: str
    ttl: int
    proxied: bool


class Records(Place):
    """Holds DNS records."""

    purpose = "hold DNS records"

    @abstractmethod
    def check_record(self, record: str) -> None:
        """Refuse a name that is not in the zone. Raises ValueError."""

    @abstractmethod
    async def records(self, record: str, kind: str, within: timedelta) -> tuple[Record, ...]:
        """Read the records of a name and a type. Raises ActionError."""

    @abstractmethod
    async def point(self, record: str, kind: str, to: Record, within: timedelta) -> Record:
        """Change one record, by its id, and return it as it is then. Raises ActionError when known not done."""

    async def try_pointing(self, record: str, kind: str, within: timedelta) -> tuple[Record, ...]:
        """Prove that a record could be changed now, as far as that shows; change nothing, return it. Raises ActionError."""
        return await self.records(record, kind, within)
