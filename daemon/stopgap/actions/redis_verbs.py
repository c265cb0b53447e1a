"""Redis's verbs: what the action `redis` can do to a server, each bounded, each whole or not at all.

A verb acts by one command or one MULTI, so that a cancellation finds all of it or nothing.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import SecretStr

from stopgap.action import Json, Restored, Reverted, Settled, Text, reveal
from stopgap.actions import observed
from stopgap.backends.redis import Redis
from stopgap.errors import PermanentError, TemporaryError

if TYPE_CHECKING:
    import redis.asyncio

_SECRET_NAME = re.compile(r"pass|auth", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
_SIZE = re.compile(r"([0-9]{1,15})([kmg]?b?)", re.IGNORECASE)
_AT_ONCE = 500  # keys that one SCAN or UNLINK handles


class Verb(ABC):
    """One thing to do. `client` is connected, and commands fail as DatabaseFault."""

    reverts: ClassVar[bool] = False

    @abstractmethod
    def describe(self) -> str:
        """Say what, secrets masked."""

    @abstractmethod
    def resource(self, place: Redis) -> tuple[str, ...]:
        """Name what is changed."""

    def by_hand(self, before: Json) -> str:  # noqa: ARG002 - for those with an undo
        """Say how a person takes it back."""
        return "nothing"

    async def observe(self, client: "redis.asyncio.Redis") -> Json:  # noqa: ARG002 - for those with an undo
        """Read what is about to change. Raises PermanentError."""
        return None

    async def rehearse(self, client: "redis.asyncio.Redis") -> None:
        """Prove, changing nothing, that it could be done. Raises PermanentError."""
        await client.ping()
        await self.observe(client)

    @abstractmethod
    async def run(self, client: "redis.asyncio.Redis", before: Json) -> Json:
        """Do it, and return what is there then. Raises ActionError when known not done."""

    async def revert(self, client: "redis.asyncio.Redis", before: Json, receipt: Json) -> Reverted:  # noqa: ARG002 - the same
        """Put back what is still as we left it."""
        return Reverted(Restored.NOTHING)

    def settled(self, before: Json, now: Json) -> Settled:
        """Judge an act."""
        return observed.settled(before, now)

    def settled_revert(self, before: Json, now: Json) -> Settled:
        """Judge a revert."""
        return observed.settled_revert(before, now)


@dataclass(frozen=True, slots=True)
class SetConfig(Verb):
    """Change settings of a running server: CONFIG SET, all together (several of them: Redis 7)."""

    reverts: ClassVar[bool] = True
    settings: Mapping[str, Text]

    def describe(self) -> str:
        """Name the settings."""
        return f"set {', '.join(f'{key}={_shown(key, value)}' for key, value in self.settings.items())}"

    def resource(self, place: Redis) -> tuple[str, ...]:
        """Name each setting; they are those of the server, not of a database."""
        return tuple(f"{place.server}#{key}" for key in self.settings)

    def by_hand(self, before: Json) -> str:
        """Show the old values."""
        return f"CONFIG SET {' '.join(f'{key} {_shown(key, before[key])}' for key in self.settings)}"

    async def observe(self, client: "redis.asyncio.Redis") -> Json:
        """Read the values."""
        found = await client.config_get(*self.settings)
        if missing := sorted(set(self.settings) - set(found)):
            raise PermanentError(f"the server has no setting {missing[0]}")
        return {key: str(found[key]) for key in self.settings}

    async def run(self, client: "redis.asyncio.Redis", before: Json) -> Json:
        """Set them, if they are still as observed or already as wanted."""
        now = await self.observe(client)
        for key, value in now.items():
            if value != before[key] and not self._wanted(key, value):
                raise TemporaryError(f"{key} was changed by somebody else since it was observed")
        await _configure(client, {key: reveal(value) for key, value in self.settings.items()})
        return await self.observe(client)

    async def revert(self, client: "redis.asyncio.Redis", before: Json, receipt: Json) -> Reverted:
        """Set back each that is still as we left it."""
        back: dict[str, str] = {}
        left: list[str] = []
        for key, value in (await self.observe(client)).items():
            if value == before[key]:
                continue
            if value == receipt[key] if receipt else self._wanted(key, value):
                back[key] = before[key]
            else:
                left.append(key)
        if back:
            await _configure(client, back)
        return answered(list(back), left)

    def settled(self, before: Json, now: Json) -> Settled:
        """Compare with the new values, however the server writes them."""
        if all(self._wanted(key, now[key]) for key in self.settings):
            return Settled.DONE
        return Settled.NOT_DONE if now == before else Settled.UNCLEAR

    def settled_revert(self, before: Json, now: Json) -> Settled:
        """Compare with the old values."""
        return Settled.DONE if now == before else Settled.NOT_DONE

    def _wanted(self, key: str, value: str) -> bool:
        return _plain(value) == _plain(reveal(self.settings[key]))


@dataclass(frozen=True, slots=True)
class Delete(Verb):
    """Delete the keys of a pattern, if they are not more than so many: SCAN and UNLINK, never KEYS."""

    pattern: str
    most: int

    def describe(self) -> str:
        """Name the pattern and the bound."""
        return f"delete at most {self.most} keys {self.pattern}"

    def resource(self, place: Redis) -> tuple[str, ...]:
        """Name the keys by their pattern."""
        return (f"{place.name}#{self.pattern}",)

    async def rehearse(self, client: "redis.asyncio.Redis") -> None:
        """Count the keys."""
        await self._keys(client)

    async def run(self, client: "redis.asyncio.Redis", before: Json) -> Json:  # noqa: ARG002 - nothing was observed
        """Delete them in one transaction."""
        keys = sorted(await self._keys(client))
        if keys:
            async with client.pipeline(transaction=True) as together:
                for start in range(0, len(keys), _AT_ONCE):
                    together.unlink(*keys[start : start + _AT_ONCE])
                await together.execute()
        return None

    async def _keys(self, client: "redis.asyncio.Redis") -> set[bytes]:
        """Find the keys. Raises PermanentError with their number when they are too many."""
        found: set[bytes] = set()
        more = 0
        async for key in client.scan_iter(match=self.pattern, count=_AT_ONCE):
            if len(found) <= self.most:
                found.add(key)
            else:
                more += 1
        if len(found) > self.most:
            count = f"{len(found)}" if not more else f"about {len(found) + more}"
            raise PermanentError(
                f"{count} keys match {self.pattern}, at most {self.most} may be deleted: none was deleted"
            )
        return found


@dataclass(frozen=True, slots=True)
class Flush(Verb):
    """Delete all keys of a database."""

    def describe(self) -> str:
        """Say it."""
        return "delete all keys"

    def resource(self, place: Redis) -> tuple[str, ...]:
        """Name the database."""
        return (place.name,)

    async def run(self, client: "redis.asyncio.Redis", before: Json) -> Json:  # noqa: ARG002 - nothing was observed
        """Let the server free the memory beside its work."""
        await client.flushdb(asynchronous=True)
        return None


def answered(back: list[str], left: list[str]) -> Reverted:
    """Say what was put back and what was left."""
    done = f"set back: {', '.join(back)}"
    if left:
        text = f"changed by somebody else and left alone: {', '.join(left)}" + (f", {done}" if back else "")
        return Reverted(Restored.DRIFTED, text, partly=bool(back))
    return (
        Reverted(Restored.REVERTED, done)
        if back
        else Reverted(Restored.NOTHING, "the old values were in place")
    )


async def _configure(client: "redis.asyncio.Redis", settings: Mapping[str, str]) -> None:
    pairs = [part for pair in settings.items() for part in pair]
    await client.execute_command("CONFIG SET", *pairs)  # type: ignore[no-untyped-call]


def _plain(value: str) -> str:
    """Return a value as the server would write it: sizes in bytes, words in lower case."""
    if size := _SIZE.fullmatch(value):
        return str(int(size[1]) * _UNITS[size[2].lower()])
    return value.lower()


def _shown(key: str, value: Text) -> str:
    if isinstance(value, SecretStr) or _SECRET_NAME.search(key):
        return "***"
    return "".join(c if c.isprintable() else "?" for c in value)[:100] or '""'
