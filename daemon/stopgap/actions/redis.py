# ruff: noqa: ARG002 - the port's signatures
"""Redis: a server's settings and keys are changed by a few bounded verbs, and set back."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

from stopgap.action import Action, Danger, Json, Moment, Params, Reverted, Settled, Text, reveal
from stopgap.actions.http import NoClearAnswer
from stopgap.actions.redis_keys import ExpireKeys, SetKeys
from stopgap.actions.redis_verbs import Delete, Flush, SetConfig, Verb
from stopgap.backends import log_in
from stopgap.backends.database import DatabaseFault, Trouble
from stopgap.backends.dsn import Login
from stopgap.backends.redis import Redis as Place
from stopgap.context import Context
from stopgap.duration import Duration
from stopgap.errors import PermanentError, TemporaryError

_MOST_KEYS = 100_000
_ROOM = 0.9  # of the time is for the server, so that its silence is told apart from our impatience
_LATER = {Trouble.BUSY, Trouble.AWAY, Trouble.UNRESOLVED, Trouble.OURS}
_VERBS = ("set_config", "set", "expire", "delete", "flushdb")

T = TypeVar("T")


def _is_redis(at: Text) -> Text:
    log_in(at, None, Place)
    return at


def _prefixed(pattern: str) -> str:
    if pattern[0] in "*?[\\" or not pattern.isprintable():
        raise ValueError(
            "a pattern begins with characters that every key has: write session:*, or flushdb for all keys"
        )
    return pattern


Setting = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,99}$")]
Key = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Keys(BaseModel):
    """Which keys, and how many at most."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pattern: Annotated[
        str,
        AfterValidator(_prefixed),
        Field(
            min_length=1, max_length=500, description="A glob that does not begin with a wildcard: session:*."
        ),
    ]
    max_keys: Annotated[int, Field(ge=1, le=_MOST_KEYS, description="If more keys match, none is deleted.")]


class RedisParams(Params):
    """Where, and one verb."""

    verbatim = frozenset({"set_config", "set"})
    fixed = frozenset({"flushdb"})

    at: Annotated[
        Text,
        AfterValidator(_is_redis),
        Field(
            description="Where: redis://user@host:port/0, rediss://… with TLS, redis:///0?unix_socket=/path."
        ),
    ]
    password: Annotated[Text | None, Field(description="The password; a secret.")] = None
    set_config: Annotated[
        Mapping[Setting, Text] | None,
        Field(min_length=1, max_length=20, description="Settings of the server by name."),
    ] = None
    set: Annotated[
        Mapping[Key, Text] | None, Field(min_length=1, max_length=50, description="Keys and their new texts.")
    ] = None
    ttl: Annotated[Duration | None, Field(description="When the keys of `set` end; by default never.")] = None
    expire: Annotated[
        Mapping[Key, Duration] | None,
        Field(min_length=1, max_length=50, description="Keys, and when they end."),
    ] = None
    delete: Annotated[Keys | None, Field(description="Keys to delete, for good.")] = None
    flushdb: Annotated[bool, Field(description="Delete all keys of the database; needs an approval.")] = False

    @model_validator(mode="after")
    def _has_one_verb(self) -> Self:
        given = [name for name in _VERBS if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"write one of {', '.join(_VERBS)}")
        if self.ttl is not None and not (self.set and self.ttl >= timedelta(seconds=1)):
            raise ValueError("ttl is the time of the keys of `set`, at least 1s")
        if self.expire and min(self.expire.values()) < timedelta(seconds=1):
            raise ValueError("a key ends after 1s at least: to delete it at once write delete")
        return self

    @property
    def verb(self) -> Verb:
        """Return what is to be done."""
        if self.set_config:
            return SetConfig(self.set_config)
        if self.set:
            return SetKeys(self.set, self.ttl)
        if self.expire:
            return ExpireKeys(self.expire)
        return Delete(self.delete.pattern, self.delete.max_keys) if self.delete else Flush()

    @property
    def login(self) -> Login[Place]:
        """Return the server, and the password."""
        return log_in(self.at, self.password, Place)

    @property
    def where(self) -> str:
        """Name the server to people; nothing of an address that is a secret."""
        return "***" if isinstance(self.at, SecretStr) else self.login.place.name


class Redis(Action[RedisParams]):
    """Change a Redis: its settings, some keys, or the keys of a pattern within a bound.

    `set_config`, `set` and `expire` are taken back, each setting and key unless somebody changed it meanwhile; a key comes back
    with its type and its time to live. `delete` finds keys by SCAN and deletes none if more than `max_keys` match; it is not
    taken back, and neither is `flushdb`, which needs an approval. Settings last until the server restarts.

    ```yaml
    redis:
      at: redis://cache.example.com:6379/0
      password: "{{ secrets.redis_password }}"
      set_config: {maxmemory-policy: allkeys-lru}
    ```

    ```yaml
    redis: {at: "redis://127.0.0.1:6379/0", delete: {pattern: "cache:views:*", max_keys: 20000}}
    ```

    ```yaml
    redis: {at: "redis://127.0.0.1:6379/0", set: {feature:audio: off}, ttl: 4h}
    ```
    """

    name: ClassVar[str] = "redis"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=30)
    params = RedisParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context: a locator says it all."""

    def danger_of(self, given: Mapping[str, Any]) -> Danger:
        """Tell that only a flush has no bound."""
        flush = given.get("flushdb", False)
        return Danger.BOUNDED if flush is False or flush == "false" else Danger.DESTRUCTIVE

    def describe(self, params: RedisParams) -> str:
        """Show what is done, secrets masked."""
        return f"in {params.where} {params.verb.describe()}"[:500]

    def idempotent(self, params: RedisParams) -> bool:
        """Tell that doing any of it twice is doing it once."""
        return True

    def reverts(self, params: RedisParams) -> bool:
        """Tell whether there is something to put back."""
        return params.verb.reverts

    def resource(self, params: RedisParams) -> tuple[str, ...]:
        """Name the settings or keys; of a secret address only a digest."""
        names = params.verb.resource(params.login.place)
        if not isinstance(params.at, SecretStr):
            return names
        digest = hashlib.sha256(reveal(params.at).encode()).hexdigest()[:16]
        return tuple(f"redis:{digest}#{name.partition('#')[2]}" for name in names)

    def undo_by_hand(self, params: RedisParams, before: Json) -> str:
        """Show the old values of settings, and name keys."""
        return f"in {params.where}: {params.verb.by_hand(before)}" if params.verb.reverts else "nothing"

    async def observe(self, params: RedisParams, moment: Moment) -> Json:
        """Read what is about to change."""
        return await _with(params, moment, params.verb.observe, looks=True) if params.verb.reverts else None

    async def rehearse(self, params: RedisParams, moment: Moment) -> None:
        """Connect and observe, or count the keys."""
        await _with(params, moment, params.verb.rehearse, looks=True)

    def settled(self, params: RedisParams, before: Json, now: Json) -> Settled:
        """Compare."""
        return params.verb.settled(before, now)

    def settled_revert(self, params: RedisParams, before: Json, now: Json) -> Settled:
        """Compare."""
        return params.verb.settled_revert(before, now)

    async def run(self, params: RedisParams, before: Json, moment: Moment) -> Json:
        """Do it by one command, or one transaction."""
        return await _with(params, moment, lambda client: params.verb.run(client, before))

    async def revert(self, params: RedisParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Put back what is still as we left it."""
        return await _with(params, moment, lambda client: params.verb.revert(client, before, receipt))


async def _with(
    params: RedisParams, moment: Moment, does: Callable[[Any], Awaitable[T]], *, looks: bool = False
) -> T:
    """Do something with a connection. Raises ActionError when known not done, NoClearAnswer when not known."""
    login, seconds = params.login, moment.timeout.total_seconds() * _ROOM
    try:
        async with login.place.connect(login.password, seconds) as client:
            return await does(client)
    except DatabaseFault as fault:
        given = (*(params.set_config or {}).values(), *(params.set or {}).values(), params.password)
        secrets = [reveal(each) for each in given if isinstance(each, SecretStr)]
        text = fault.told(secrets, hidden=isinstance(params.at, SecretStr))
        if fault.trouble is Trouble.AWAY and not (looks or fault.connecting):
            raise NoClearAnswer(text) from None
        raise (TemporaryError if fault.trouble in _LATER else PermanentError)(text) from None
