"""Redis: the probe that asks a Redis whether it answers, and how it is."""

import asyncio
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from stopgap.action import Params, Text, reveal
from stopgap.backends import log_in
from stopgap.backends.database import DatabaseFault, Trouble
from stopgap.backends.dsn import Login
from stopgap.backends.redis import Redis as Place
from stopgap.context import Context
from stopgap.duration import print_duration
from stopgap.probe import Finding
from stopgap.probes.answers import healthy, one_line, unhealthy, unknown
from stopgap.probes.condition import Is
from stopgap.probes.reach import resolve

_NOT_LOOKED = {Trouble.UNRESOLVED, Trouble.DENIED, Trouble.WRONG, Trouble.ABSENT, Trouble.OURS}
_RATIO = "used_memory_ratio"


def _is_redis(at: Text) -> Text:
    log_in(at, None, Place)
    return at


class RedisParams(Params):
    """Where; a field of INFO, and what it must be."""

    scalar: ClassVar[str] = "at"
    siblings: ClassVar[frozenset[str]] = frozenset({"is"})

    at: Annotated[
        Text,
        AfterValidator(_is_redis),
        Field(
            description="Where: redis://user@host:port/0, rediss://… with TLS, redis:///0?unix_socket=/path."
        ),
    ]
    password: Annotated[Text | None, Field(description="The password; a secret.")] = None
    info: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,99}$")] | None,
        Field(description="A field of INFO, or used_memory_ratio; without it PING must be answered."),
    ] = None
    is_: Annotated[
        Is | None, Field(alias="is", description="What the field must be: '< 0.9', '== \"ok\"'.")
    ] = None

    @model_validator(mode="after")
    def _compares_a_field(self) -> Self:
        if (self.info is None) != (self.is_ is None):
            raise ValueError(
                "info names a field and is says what it must be: write both, or neither for a PING"
            )
        return self

    @property
    def login(self) -> Login[Place]:
        """Return the server, and the password."""
        return log_in(self.at, self.password, Place)


class Redis:
    """Asks a Redis on a fresh connection: PING, or a field of INFO that must be as `is` says.

    `used_memory_ratio` is the part of `maxmemory` that is used; of the machine's memory where there is no maxmemory. Refused,
    reset, no answer in time, a server that loads its data and a field that is not as wanted are unhealthy. A login or a right
    that is refused, a name that does not resolve and a field that is not there are unknown.

    ```yaml
    - redis: redis://127.0.0.1:6379/0
    - {redis: {at: "redis://127.0.0.1:6379/0", password: "{{ secrets.redis_password }}", info: used_memory_ratio}, is: '< 0.9'}
    - {redis: {at: "redis://127.0.0.1:6379/0", info: rdb_last_bgsave_status}, is: '== "ok"'}
    ```
    """

    name: ClassVar[str] = "redis"
    after: ClassVar[float] = 0.0
    params: type[RedisParams] = RedisParams

    def __init__(self, context: Context) -> None:
        """Take nothing from the context: a locator says it all."""

    def describe(self, params: RedisParams) -> str:
        """Show where, and what is wanted."""
        return one_line(f"redis {_where(params)} {f'{params.info} {params.is_}' if params.info else 'ping'}")

    async def ask(self, params: RedisParams, timeout: timedelta) -> Finding:  # noqa: ASYNC109 - the port's signature
        """Ask once. Raises ProbeError when the name does not resolve."""
        login, seconds = params.login, timeout.total_seconds()
        deadline = asyncio.get_running_loop().time() + seconds
        if login.place.host is not None:
            await resolve(*login.place.host, deadline)
        try:
            async with asyncio.timeout_at(deadline), login.place.connect(login.password, seconds) as client:
                if params.info is None:
                    await client.ping()
                    return healthy(f"{_where(params)}: answers")
                return judge(await client.info(), params)
        except TimeoutError:
            return unhealthy(f"{_where(params)}: no answer within {print_duration(timeout)}")
        except DatabaseFault as fault:
            secrets = [reveal(params.password)] if params.password is not None else []
            verdict = unknown if fault.trouble in _NOT_LOOKED else unhealthy
            return verdict(fault.told(secrets, hidden=isinstance(params.at, SecretStr)))


def judge(said: dict[str, Any], params: RedisParams) -> Finding:
    """Judge an answer to INFO."""
    assert params.info is not None  # noqa: S101 - said by whoever asks
    assert params.is_ is not None  # noqa: S101 - by the parameters
    found = _ratio(said) if params.info == _RATIO else said.get(params.info)
    if isinstance(found, str) != isinstance(params.is_.wanted, str) or not isinstance(
        found, str | int | float
    ):
        what = (
            "absent"
            if found is None
            else f"{one_line(repr(found), 80)}, not to be compared with {params.is_}"
        )
        return unknown(f"{_where(params)}: {params.info} is {what}")
    shown = found if isinstance(found, str) else f"{found:.4g}" if isinstance(found, float) else found
    verdict = healthy if params.is_.holds(found) else unhealthy
    return verdict(f"{_where(params)}: {params.info} = {shown}, wanted {params.is_}")


def _ratio(said: dict[str, Any]) -> float | None:
    room = said.get("maxmemory") or said.get("total_system_memory")
    return said["used_memory"] / room if room and "used_memory" in said else None


def _where(params: RedisParams) -> str:
    return "***" if isinstance(params.at, SecretStr) else params.login.place.name
