"""Who reads on a leash ends in time and within its bytes; who does not is left alone."""

import socket
import threading

import pytest

from stopgap.leash import leash


def reading(size: int, seconds: float, sent: bytes) -> bytes:
    """Read all that was sent, on a leash."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        with leash(seconds, size), ours.makefile("rb") as file:
            return file.read()


def test_what_fits_is_read_whole():
    assert reading(1000, 5, b"x" * 999) == b"x" * 999


def test_more_than_its_bytes_is_an_error():
    with pytest.raises(TimeoutError, match="too long"):
        reading(1000, 5, b"x" * 100_000)


def test_after_its_time_nothing_is_read():
    with pytest.raises(TimeoutError, match="too long"):
        reading(1000, -1, b"x")


def test_another_thread_and_whoever_reads_afterwards_are_on_no_leash():
    found: list[bytes] = []
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x" * 50_000)
        theirs.shutdown(socket.SHUT_WR)
        with ours.makefile("rb", buffering=0) as file:
            with leash(5, 10):
                other = threading.Thread(target=lambda: found.append(file.read(20_000)))
                other.start()
                other.join(5)
            found.append(file.read(20_000))
    assert [len(each) for each in found] == [20_000, 20_000]
