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
        self._own: set[int] = set()  # descriptors that are ours to close
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

    def await_first_word(self, descriptor: int, seconds: float) -> int:
        """End a connection that is still being set up unless `heard` is told in time what this returns."""
        own = os.dup(descriptor)  # whoever gives up closes theirs, and its number may be another one's then
        with self._lock:
            self._own.add(own)
            self._due[own] = time.monotonic() + seconds
        return own

    def heard(self, own: int) -> None:
        """Wait for it no more."""
        with self._lock:
            self._drop(own)

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()
        self._thread.join()
        for own in tuple(self._own):
            self.heard(own)

    def _run(self) -> None:
        while not self._over.wait(INTERVAL):
            with self._lock:
                for descriptor in [each for each, due in self._due.items() if due < time.monotonic()]:
                    _shut(descriptor)
                    self._drop(descriptor)

    def _drop(self, descriptor: int) -> None:
        self._due.pop(descriptor, None)
        if descriptor in self._own:
            self._own.remove(descriptor)
            os.close(descriptor)


def _shut(descriptor: int) -> None:
    with suppress(OSError):
        twin = socket.socket(fileno=descriptor)
        try:
            twin.shutdown(socket.SHUT_RDWR)
        finally:
            twin.detach()  # it is closed by whose it is
