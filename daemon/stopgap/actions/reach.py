"""Reach: whether somebody accepts connections at an address; nothing is sent to them."""

import asyncio
import socket
from contextlib import suppress
from datetime import timedelta

from stopgap.errors import TemporaryError

_NEXT_ADDRESS = 0.25  # seconds until a name's next address is tried beside the first (RFC 8305)


async def reach(host: str, port: int, where: str, within: timedelta) -> None:
    """Look a name up, connect and hang up. Raises TemporaryError that says `where` and what went wrong."""
    try:
        async with asyncio.timeout(within.total_seconds()):
            await _look_up(host, port, where)
            _, writer = await asyncio.open_connection(host, port, happy_eyeballs_delay=_NEXT_ADDRESS)
    except TimeoutError:
        raise TemporaryError(f"{where}: no connection within {within.total_seconds():g} s") from None
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise TemporaryError(f"{where} cannot be reached: {reason}") from None
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _look_up(host: str, port: int, where: str) -> None:
    try:
        await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise TemporaryError(f"{where}: the name is not resolvable") from None
