"""Folder: the directory of the store, readable by its owner alone and claimed by one process.

The claim is a lock on `stopgap.lock` (flock), which ends with the process however it ends; the file stays and names its last owner.
"""

import fcntl
import os
from pathlib import Path

from stopgap.errors import StoreError

DATABASE = "stopgap.db"
LOCK = "stopgap.lock"
PRIVATE_DIRECTORY, PRIVATE_FILE = 0o700, 0o600
OWN = "give the user that runs stopgap a directory of its own, such as --data /var/lib/stopgap"


class InUse(StoreError):  # noqa: N818 - named for what is so
    """Another process has claimed the directory."""


def claim(directory: Path) -> int:
    """Make the directory and its files private and ours; returns the lock's descriptor. Raises StoreError, with the cure."""
    _make(directory)
    try:
        _make_private(directory)
        lock = _private_file(directory / LOCK)
    except OSError as error:
        raise StoreError(f"cannot use {directory}: {error.strerror}; {OWN}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        _make_database_private(directory)
    except OSError as error:
        refusal = _refusal(directory, lock, error)
        os.close(lock)
        raise refusal from error
    return lock


def release(lock: int) -> None:
    """Give the directory up."""
    os.close(lock)


def _make(directory: Path) -> None:
    """Make the directory where there is none. Raises StoreError: a file may be there, or the place takes none."""
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    except FileExistsError as error:
        there = "a file" if directory.is_file() else "no directory"
        raise StoreError(f"{directory} is {there}; {OWN}") from error
    except OSError as error:
        raise StoreError(f"{directory} cannot be made: {error.strerror}; {OWN}") from error


def _make_private(directory: Path) -> None:
    """Tighten the directory only when it is ours alone: a wrong path must not lock others out of theirs."""
    foreign = any(not path.name.startswith("stopgap.") for path in directory.iterdir())
    if directory.stat().st_uid == os.geteuid() and not foreign:
        directory.chmod(PRIVATE_DIRECTORY)


def _private_file(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    os.fchmod(descriptor, PRIVATE_FILE)
    return descriptor


def _make_database_private(directory: Path) -> None:
    """Create the file before SQLite does: its log and shared memory take over the mode."""
    os.close(_private_file(directory / DATABASE))
    for suffix in ("-wal", "-shm"):
        path = directory / (DATABASE + suffix)
        if path.exists():
            path.chmod(PRIVATE_FILE)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(directory: Path, lock: int, error: OSError) -> StoreError:
    if not isinstance(error, BlockingIOError):
        return StoreError(
            f"cannot use {directory}: {error.strerror}; check its owner, its mode and the free space"
        )
    owner = os.pread(lock, 20, 0).decode(errors="replace") or "unknown"
    return InUse(
        f"{directory} is in use by another stopgap (pid {owner}); stop it first, or name another --data"
    )
