"""Reach: what it says of the other side that a connection did not come about.

Refused, reset, timed out, TLS failed: the other side is unhealthy. A name that does not resolve, and anything that this machine
lacks (descriptors, ports, a route, permission), mean that we did not look: unknown.
"""

import asyncio
import ipaddress
import socket
import ssl

from stopgap.backends.lack import LACKS
from stopgap.errors import ProbeError
from stopgap.probe import Finding
from stopgap.probes.answers import unhealthy, unknown


async def resolve(host: str, port: int, deadline: float) -> None:
    """Look a name up first, so that a resolver's silence is not taken for the server's; `deadline` is of the loop's clock.

    Raises ProbeError when the name does not resolve in time.
    """
    if _is_address(host):
        return
    try:
        async with asyncio.timeout_at(deadline):
            await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (TimeoutError, socket.gaierror, UnicodeError) as error:
        why = "in time" if isinstance(error, TimeoutError) else "at all"
        raise ProbeError(f"{host}: the name does not resolve {why}") from None


def unreachable(where: str, error: OSError) -> Finding:
    """Judge a connection that failed."""
    if isinstance(error, ssl.SSLError):
        return unhealthy(
            f"{where}: TLS failed: {(error.reason or type(error).__name__).replace('_', ' ').lower()}"
        )
    if isinstance(error, socket.gaierror):
        return unknown(f"{where}: the name does not resolve")
    says = error.strerror or str(error) or type(error).__name__
    if error.errno in LACKS:
        return unknown(f"{where}: not reached from here: {says}")
    return unhealthy(f"{where}: {says}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
