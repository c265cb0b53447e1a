"""Watchdog: ends a connection whose other side is silent for too long.

A network that drops packets, or a machine that is frozen, says nothing: who waits for an answer would wait for ever, and a thread
that waits inside the driver cannot be cancelled. Shutting the socket down wakes it, with an error.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection

INTERVAL = 0.25  # seconds between two looks


class Watchdog:
    """Watches what is within `watching`; one thread for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[int, float] = {}  # by descriptor
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stopgap watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def watching(self, connection: Connection, seconds: float) -> Iterator[None]:
        """End the connection when the block takes longer."""
        descriptor = connection.connection.dbapi_connection.fileno()  # type: ignore[union-attr]  # psycopg's
        with self._lock:
            self._due[descriptor] = time.monotonic() + seconds
        try:
            yield
        finally:
            with self._lock:  # the descriptor may be another one's from here on
                self._due.pop(descriptor, None)

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(INTERVAL):
            with self._lock:
                for descriptor in [each for each, due in self._due.items() if due < time.monotonic()]:
                    del self._due[descriptor]
                    _shut(descriptor)


def _shut(descriptor: int) -> None:
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as twin:
        twin.shutdown(socket.SHUT_RDWR)
