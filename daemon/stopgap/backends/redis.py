"""Redis: `redis://user@host:port/0`, by redis-py. A call has one connection, one try, and what is left of its time."""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from stopgap.backends.capability import Place
from stopgap.backends.database import CONNECT_SECONDS, DatabaseFault, Trouble
from stopgap.backends.dsn import address, need
from stopgap.backends.lack import lacking
from stopgap.backends.locator import Locator

if TYPE_CHECKING:
    import redis.asyncio

_OPTIONS = frozenset({"unix_socket", "ssl_ca"})
_PORT = 6379
_MOST_DATABASES = 9999
_LATER = ("LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN")
_DENIED = ("NOAUTH", "WRONGPASS", "NOPERM", "invalid password", "invalid username", "Authentication")
_WRONG = (
    "unknown command",
    "wrong number of arguments",
    "syntax error",
    "Unknown option",
    "Unsupported CONFIG",
)


class Redis(Place):
    """`redis://cache.example.com:6379/0`, `rediss://…` with TLS, or by a socket `redis:///0?unix_socket=/run/redis/s.sock`."""

    schemes = ("redis", "rediss")
    example = "redis://cache.example.com:6379/0"
    purpose = "run Redis commands"

    def __init__(self, locator: Locator) -> None:
        need("redis", "redis")
        self._address = address(locator, _PORT, _OPTIONS)
        self._tls = locator.scheme == "rediss"
        number = self._address.path.strip("/") or "0"
        if not (number.isascii() and number.isdigit() and int(number[:6]) <= _MOST_DATABASES):
            raise ValueError(f"{str(locator)!r} names no database by its number: write {self.example}")
        if not (self._address.host or self._address.options.get("unix_socket")):
            raise ValueError(f"{str(locator)!r} lacks a host: write {self.example}")
        self._number = int(number)

    @property
    def server(self) -> str:
        """Name the server, all databases of it: `redis:host:port`."""
        return f"redis:{self._address.shown if self._address.host else self._address.options['unix_socket']}"

    @property
    def name(self) -> str:
        """Return `redis:host:port/0`."""
        return f"{self.server}/{self._number}"

    @property
    def host(self) -> tuple[str, int] | None:
        """Return where it listens; None for a socket."""
        return (self._address.host, self._address.port) if self._address.host else None

    @asynccontextmanager
    async def connect(self, password: str | None, seconds: float) -> "AsyncIterator[redis.asyncio.Redis]":
        """Connect, for the block; whatever goes wrong with Redis in it is a DatabaseFault."""
        from redis.exceptions import RedisError  # noqa: PLC0415 - an extra

        connection = None
        reached = False
        try:
            try:
                connection = self._client(password, seconds)
                await connection.initialize()
                reached = True
                yield connection
            except (RedisError, OSError) as error:
                fault = self._fault(error)
                fault.connecting = not reached
                raise fault from None
        finally:
            if connection is not None:
                with suppress(RedisError, OSError):
                    await connection.aclose()

    def _client(self, password: str | None, seconds: float) -> "redis.asyncio.Redis":
        import redis.asyncio as client  # noqa: PLC0415 - an extra
        from redis.asyncio.retry import Retry  # noqa: PLC0415 - an extra
        from redis.backoff import NoBackoff  # noqa: PLC0415 - an extra

        place, options = self._address, self._address.options
        return client.Redis(
            host=place.host or "localhost",
            port=place.port,
            db=self._number,
            unix_socket_path=options.get("unix_socket"),
            username=place.user,
            password=password,
            ssl=self._tls,
            ssl_ca_certs=options.get("ssl_ca"),
            socket_timeout=seconds,
            socket_connect_timeout=min(seconds, CONNECT_SECONDS),
            retry=Retry(NoBackoff(), 0),
            single_connection_client=True,
            protocol=2,
        )

    def _fault(self, error: Exception) -> DatabaseFault:
        text = " ".join(str(error).split())[:300] or type(error).__name__
        absent = self.host is not None and lacking(error, {errno.ENOENT})  # the file of ssl_ca
        return DatabaseFault(Trouble.ABSENT if absent else _trouble(error, text), self.name, text)


def _trouble(error: Exception, text: str) -> Trouble:
    from redis.exceptions import AuthenticationError, ResponseError  # noqa: PLC0415 - an extra

    if isinstance(error.__cause__ or error.__context__, socket.gaierror):
        return Trouble.UNRESOLVED
    if lacking(error):
        return Trouble.OURS
    if isinstance(error, AuthenticationError) or any(word in text for word in _DENIED):
        return Trouble.DENIED
    if text.startswith(_LATER) or "loading the dataset" in text:
        return Trouble.BUSY
    if not isinstance(error, ResponseError):
        return Trouble.AWAY
    return Trouble.WRONG if any(word in text for word in _WRONG) else Trouble.REFUSED
