"""Redis's keys: values and times to live that are set, and set back with whatever was there before, of whatever type."""

import base64
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import SecretStr

from stopgap.action import Json, Reverted, Settled, Text, reveal
from stopgap.actions.redis_verbs import Verb, answered
from stopgap.backends.redis import Redis
from stopgap.duration import print_duration
from stopgap.errors import PermanentError, TemporaryError

if TYPE_CHECKING:
    import redis.asyncio
    from redis.asyncio.client import Pipeline

LARGEST = 1024 * 1024  # bytes kept of all keys together
_NEAR = 1000  # milliseconds: before Redis 7 an end is known to the second


class KeyVerb(Verb):
    """Something done to named keys. Per key the undo is None (absent), or its type, its value and when it ends."""

    reverts: ClassVar[bool] = True

    @property
    @abstractmethod
    def ends(self) -> bool:
        """Tell whether the keys end by themselves."""

    @property
    @abstractmethod
    def keys(self) -> tuple[str, ...]:
        """Return the keys."""

    @abstractmethod
    def stage(self, together: "Pipeline", key: str) -> None:
        """Add the change of one key to a transaction."""

    @abstractmethod
    def wanted(self, key: str, old: Json, there: Json) -> bool:
        """Tell whether a key is as this verb leaves it, as far as can be known without a receipt."""

    def resource(self, place: Redis) -> tuple[str, ...]:
        """Name the keys."""
        return tuple(f"{place.name}#{key}" for key in self.keys)

    def by_hand(self, before: Json) -> str:
        """Name the keys; what was in them is in the kept undo."""
        absent = [key for key in self.keys if before[key] is None]
        said = [f"delete {', '.join(absent)}"] if absent else []
        there = [key for key in self.keys if key not in absent]
        return "; ".join([*said, *([f"set {', '.join(there)} as before"] if there else [])])

    async def observe(self, client: "redis.asyncio.Redis") -> Json:
        """Read the keys: twice the same when nothing changed. Raises PermanentError when they are too large to keep."""
        kept = {key: await _read(client, key) for key in self.keys}
        if (size := sum(len(each["value"]) for each in kept.values() if each)) > LARGEST:
            raise PermanentError(f"the keys have {size} bytes, more than {LARGEST}: they cannot be put back")
        return kept

    async def run(self, client: "redis.asyncio.Redis", before: Json) -> Json:
        """Change all keys at once, if they are still as observed or already as wanted."""
        async with client.pipeline(transaction=True) as together:
            await together.watch(*self.keys)
            now = await self.observe(client)
            todo = []
            for key in self.keys:
                old, there = before[key], now[key]
                if self.wanted(key, old, there):
                    continue
                if not _same(old, there):
                    raise TemporaryError(f"{key} was changed by somebody else since it was observed")
                todo.append(key)
            await self._together(together, todo, self.stage)
        return await self.observe(client)

    async def revert(self, client: "redis.asyncio.Redis", before: Json, receipt: Json) -> Reverted:
        """Put back each key that is still as we left it."""
        back: list[str] = []
        left: list[str] = []
        async with client.pipeline(transaction=True) as together:
            await together.watch(*self.keys)
            clock, now = await _clock(client), await self.observe(client)
            for key in self.keys:
                old, there = before[key], now[key]
                if _same(old, there) or (there is None and _over(old, clock)):
                    continue
                ours = self.wanted(key, old, there) or (there is None and self.ends)
                if receipt:
                    ours = _same(receipt[key], there) or (there is None and _over(receipt[key], clock))
                (back if ours else left).append(key)

            def put(together: "Pipeline", key: str) -> None:
                _put(together, key, before[key], clock)

            await self._together(together, back, put)
        return answered(back, left)

    def settled(self, before: Json, now: Json) -> Settled:
        """Compare with what this verb leaves."""
        if all(self.wanted(key, before[key], now[key]) for key in self.keys):
            return Settled.DONE
        return Settled.NOT_DONE if all(_same(before[key], now[key]) for key in self.keys) else Settled.UNCLEAR

    def settled_revert(self, before: Json, now: Json) -> Settled:
        """Compare with what was there."""
        back = all(_same(before[key], now[key]) for key in self.keys)
        return Settled.DONE if back else Settled.NOT_DONE

    @staticmethod
    async def _together(together: "Pipeline", keys: list[str], stage: Any) -> None:
        from redis.exceptions import WatchError  # noqa: PLC0415 - an extra

        if not keys:
            return
        together.multi()  # type: ignore[no-untyped-call]
        for key in keys:
            stage(together, key)
        try:
            await together.execute()
        except WatchError:
            raise TemporaryError("the keys were changed by somebody else at this moment") from None


@dataclass(frozen=True, slots=True)
class SetKeys(KeyVerb):
    """Set keys to texts, for a time or for good."""

    values: Mapping[str, Text]
    ttl: timedelta | None

    @property
    def ends(self) -> bool:
        """Tell whether they have a time to live."""
        return self.ttl is not None

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys."""
        return tuple(self.values)

    def describe(self) -> str:
        """Show keys and values, secrets masked."""
        shown = (f"{key}={'***' if isinstance(v, SecretStr) else v[:100]}" for key, v in self.values.items())
        line = "".join(c if c.isprintable() else "?" for c in ", ".join(shown))
        return f"set {line}{f' for {print_duration(self.ttl)}' if self.ttl else ''}"

    def stage(self, together: "Pipeline", key: str) -> None:
        """Set one key."""
        together.set(key, reveal(self.values[key]), px=self.ttl)

    def wanted(self, key: str, old: Json, there: Json) -> bool:  # noqa: ARG002 - the other verb's
        """Compare type and value, and whether it has an end."""
        if there is None or there["type"] != "string" or there["value"] != _text(reveal(self.values[key])):
            return False
        return (there["ends_at"] is None) == (self.ttl is None)


@dataclass(frozen=True, slots=True)
class ExpireKeys(KeyVerb):
    """Let keys end after a time; those that are absent stay so."""

    times: Mapping[str, timedelta]

    @property
    def ends(self) -> bool:
        """Tell that they do: that is what is done."""
        return True

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys."""
        return tuple(self.times)

    def describe(self) -> str:
        """Show keys and times."""
        return f"expire {', '.join(f'{key} in {print_duration(time)}' for key, time in self.times.items())}"

    def stage(self, together: "Pipeline", key: str) -> None:
        """Give one key its end."""
        together.pexpire(key, self.times[key])

    def wanted(self, key: str, old: Json, there: Json) -> bool:  # noqa: ARG002 - the other verb's
        """Compare the value with the one that was there, and see that its end is another one."""
        if old is None or there is None:
            return old is there
        unchanged = (there["type"], there["value"]) == (old["type"], old["value"])
        return unchanged and there["ends_at"] is not None and not _same(old, there)


async def _clock(client: "redis.asyncio.Redis") -> int:
    seconds, microseconds = await client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


async def _read(client: "redis.asyncio.Redis", key: str) -> Json:
    kind = _characters(await client.type(key))
    if kind == "none":
        return None
    if ((await client.memory_usage(key)) or 0) > LARGEST * 2:
        raise PermanentError(f"{key} is larger than {LARGEST} bytes: it cannot be put back")
    value = await (client.get(key) if kind == "string" else client.dump(key))
    if value is None:
        return None
    return {"type": kind, "value": _text(value), "ends_at": await _end(client, key)}


async def _end(client: "redis.asyncio.Redis", key: str) -> int | None:
    """Return when a key ends; before Redis 7 to the second, so that it does not differ from one time to the next."""
    from redis.exceptions import ResponseError  # noqa: PLC0415 - an extra

    try:
        ends_at = int(await client.pexpiretime(key))
    except ResponseError as error:
        if "unknown command" not in str(error):
            raise
        left = int(await client.pttl(key))
        ends_at = -1 if left < 0 else round((await _clock(client) + left) / 1000) * 1000
    return ends_at if ends_at >= 0 else None


def _put(together: "Pipeline", key: str, old: Json, clock: int) -> None:
    """Add to a transaction that a key is as it was; one that would have ended meanwhile is deleted."""
    if old is None or _over(old, clock):
        together.delete(key)
        return
    value = base64.b64decode(old["value"])
    if old["type"] == "string":
        together.set(key, value)
    else:
        together.restore(key, 0, value, replace=True)
    if old["ends_at"] is not None:
        together.pexpireat(key, old["ends_at"])


def _same(one: Json, other: Json) -> bool:
    if one is None or other is None:
        return one is other
    if (one["type"], one["value"]) != (other["type"], other["value"]):
        return False
    mine, theirs = one["ends_at"], other["ends_at"]
    if mine is None or theirs is None:
        return mine is theirs
    return bool(abs(mine - theirs) <= _NEAR)


def _over(state: Json, clock: int) -> bool:
    return state is not None and state["ends_at"] is not None and state["ends_at"] <= clock + _NEAR


def _characters(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()


def _text(value: bytes | str) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
