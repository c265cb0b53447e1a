"""Leash: how long a thread may read from sockets, and how much, whatever library does the reading.

Libraries bound each read of a socket, and none bounds all of them together: a receiver that sends a byte now and then keeps a
thread for ever, and one that never ends its answer takes all memory. Here the reading itself ends, for what runs on a leash.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_of_thread = threading.local()


class _Leashed(socket.SocketIO):
    """What `socket.makefile` reads through, so http.client and smtplib do, with TLS and without."""

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        """Read, unless the thread's leash is at its end: then raises TimeoutError."""
        leash: _Leash | None = getattr(_of_thread, "leash", None)
        if leash is None:
            return super().readinto(buffer)
        if time.monotonic() > leash.until or leash.left <= 0:
            raise TimeoutError("the answer takes too long, or is too long")
        read = super().readinto(buffer)
        leash.left -= read or 0
        return read


class _Leash:
    def __init__(self, seconds: float, size: int) -> None:
        self.until = time.monotonic() + seconds
        self.left = size


@contextmanager
def leash(seconds: float, size: int) -> Iterator[None]:
    """Let this thread read from sockets for so many seconds, and so many bytes, while inside."""
    socket.SocketIO = _Leashed  # type: ignore[misc]  # `makefile` looks it up at each call
    _of_thread.leash = _Leash(seconds, size)
    try:
        yield
    finally:
        _of_thread.leash = None
