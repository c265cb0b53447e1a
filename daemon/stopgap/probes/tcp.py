"""Tcp: the probe that asks whether somebody accepts a connection."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from stopgap.action import Params
from stopgap.context import Context
from stopgap.duration import print_duration
from stopgap.probe import Finding
from stopgap.probes.answers import healthy, unhealthy
from stopgap.probes.reach import resolve, unreachable

_HIGHEST_PORT = 65535
_NEXT_ADDRESS = 0.25  # seconds until a name's next address is tried beside the first (RFC 8305)


def split_address(address: str) -> tuple[str, int]:
    """Split `host:port` or `[::1]:port`. Raises ValueError that says how it is written."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    wrong = (
        not colon
        or not bare
        or (":" in bare) != bracketed
        or any(char.isspace() or char in "/@" for char in bare)
    )
    if wrong or not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) <= _HIGHEST_PORT:
        raise ValueError(f"{address[:200]!r} is not an address: write host:port, or [::1]:port")
    return bare, int(port)


def _checked(address: str) -> str:
    split_address(address)
    return address


class TcpParams(Params):
    """`address`: `host:port`."""

    scalar: ClassVar[str] = "address"

    address: Annotated[
        str, AfterValidator(_checked), Field(description="host:port, or [::1]:port for an IPv6 address.")
    ]


class Tcp:
    """Connects and hangs up. Healthy when the connection is accepted.

    Refused, reset and no answer in time are unhealthy; a name that does not resolve is unknown.

    ```yaml
    - tcp: db.example.com:5432
    - {tcp: {address: "[2001:db8::7]:443"}, timeout: 2s}
    ```
    """

    name: ClassVar[str] = "tcp"
    after: ClassVar[float] = 0.0
    params: type[TcpParams] = TcpParams

    def __init__(self, context: Context) -> None:
        """Take nothing from the context: a socket is enough."""

    def describe(self, params: TcpParams) -> str:
        """Say what is connected to."""
        return f"tcp {params.address}"

    async def ask(self, params: TcpParams, timeout: timedelta) -> Finding:  # noqa: ASYNC109 - the port's signature
        """Connect once. Raises ProbeError when the name does not resolve."""
        host, port = split_address(params.address)
        deadline = asyncio.get_running_loop().time() + timeout.total_seconds()
        await resolve(host, port, deadline)
        try:
            async with asyncio.timeout_at(deadline):
                _, writer = await asyncio.open_connection(host, port, happy_eyeballs_delay=_NEXT_ADDRESS)
        except TimeoutError:
            return unhealthy(f"{params.address}: no connection within {print_duration(timeout)}")
        except OSError as error:
            return unreachable(params.address, error)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return healthy(f"{params.address}: connected")
