"""Original: something that can be copied, and exchanged for a copy. Its old state is kept aside by an exchange, never destroyed.

`mark` is a short word that is the same for all tries of one step, and names what belongs to it: the staged new state, and the old
state that is kept aside.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class State:
    """How things stand: what tells the live state from another one (None: there is none), and whether an old one is kept aside.

    `aside` is true only once an exchange is complete.
    """

    live: str | None
    aside: bool


class Original(ABC):
    """One thing by its locator. Making one does no I/O; a locator that it cannot take is a ValueError."""

    schemes: ClassVar[tuple[str, ...]]
    example: ClassVar[str]
    kind: ClassVar[str]
    suffix: ClassVar[str]

    @abstractmethod
    def __init__(self, locator: str, password: str | None = None) -> None:
        """Take the parts of the locator."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name it as a resource, without user and password, one way only (`postgres:db:5432/hotel`)."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Return the first part of the names of its copies."""

    @abstractmethod
    def aside(self, mark: str) -> str:
        """Say where an exchange keeps the old state."""

    def suffix_of(self, *, evidence: bool) -> str:
        """Return how the name of a copy ends; one for evidence may be of another kind."""
        return f".evidence{self.suffix}" if evidence else self.suffix

    # --- copying ---

    @abstractmethod
    async def try_tools(self) -> None:
        """See that the programs are there with which it is copied and put back. Raises PermanentError."""

    @abstractmethod
    async def size(self, within: timedelta) -> int:
        """Estimate how large a copy will be, in bytes: rather too much. Raises ActionError."""

    @abstractmethod
    async def copy(self, to: Path, within: timedelta, *, evidence: bool) -> None:
        """Write a copy into a file that is there and empty; for evidence as it is, whatever it is worth.

        Raises ActionError when that failed; nothing but the file was touched.
        """

    @abstractmethod
    async def prove(self, copy: Path, within: timedelta) -> None:
        """Prove that a copy is whole, as far as that shows without putting it back. Raises PermanentError."""

    # --- putting back ---

    @abstractmethod
    async def state(self, mark: str, within: timedelta) -> State:
        """See how things stand. Raises ActionError."""

    @abstractmethod
    async def stage(self, copy: Path, mark: str, within: timedelta) -> None:
        """Build the new state beside the live one, which is not touched, and prove it. Raises ActionError; `unstage` clears up."""

    @abstractmethod
    async def unstage(self, mark: str, within: timedelta) -> None:
        """Remove what is staged, if anything is, and put right what an exchange left that died halfway. Raises ActionError."""

    @abstractmethod
    async def exchange(self, mark: str, within: timedelta) -> None:
        """Put the staged state in the place of the live one, and that aside. Raises ActionError when known not done."""

    @abstractmethod
    async def exchange_back(self, mark: str, within: timedelta, *, nothing_before: bool) -> None:
        """Put the old state back, which may be nothing, and what is live now aside. Raises ActionError when known not done."""
