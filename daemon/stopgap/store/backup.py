"""Backup: a consistent, compact copy of a store in a file, made while a daemon works on it, or while none does.

It only reads, and takes no claim: SQLite copies one snapshot (`VACUUM INTO`) while the daemon goes on. The copy is checked before
it gets its name, and nothing that is there is ever overwritten.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stopgap.errors import StoreError
from stopgap.store.folder import DATABASE, PRIVATE_FILE

PATIENCE = 5.0  # seconds for a store that is being opened or closed
_COUNT = "SELECT count(*), coalesce(max(number), 0) FROM incident"
_COUNT_UP_TO = "SELECT count(*) FROM incident WHERE number <= ?"
_LIVE = "SELECT count(*) FROM incident WHERE closed_at IS NULL"


@dataclass(frozen=True, slots=True)
class Backup:
    """What a copy holds: its size in bytes, its incidents, and how many of them are live."""

    size: int
    incidents: int
    live: int


def back_up(directory: Path, file: Path) -> Backup:
    """Copy the store in a directory into a new file. Raises StoreError, with the cure; nothing is left then."""
    partial = file.with_name(file.name + ".partial")
    try:
        with _reserved(partial) as descriptor:
            if file.exists() or file.is_symlink():
                raise StoreError(f"{file} exists: name another file, nothing is overwritten")
            found = _copied(directory / DATABASE, partial)
            os.fsync(descriptor)
            partial.rename(file)
        _sync(file.parent)
    except sqlite3.Error as error:
        raise StoreError(f"{directory / DATABASE} cannot be copied: {error}; {_cure(error)}") from error
    except OSError as error:
        raise StoreError(
            f"cannot write {partial}: {error.strerror}; name a file where there is room"
        ) from error
    return found


@contextmanager
def _reserved(partial: Path) -> Iterator[int]:
    """Own an empty private file within the block; what is left of it afterwards was not worth a name."""
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.fstat(descriptor), partial.stat())
        except (BlockingIOError, FileNotFoundError):
            ours = False
        if not ours:  # the other one gave it its name meanwhile, or still writes
            raise StoreError(f"another backup writes {partial}: wait for its end")
        os.fchmod(descriptor, PRIVATE_FILE)
        os.ftruncate(descriptor, 0)
        with ExitStack() as half:
            half.callback(partial.unlink, missing_ok=True)
            yield descriptor
            half.pop_all()
    finally:
        os.close(descriptor)


def _copied(database: Path, partial: Path) -> Backup:
    """Copy one snapshot, and prove that the copy is sound and holds what was there before and after."""
    with closing(_reading(database)) as source:
        before, newest = source.execute(_COUNT).fetchone()
        source.execute("VACUUM INTO ?", (str(partial),))
        after = source.execute(_COUNT_UP_TO, (newest,)).fetchone()[0]
    with closing(_reading(partial)) as copy:
        flaw = " ".join(str(copy.execute("PRAGMA integrity_check(1)").fetchone()[0]).split())
        if flaw == "ok" and copy.execute("PRAGMA foreign_key_check").fetchone():
            flaw = "rows that belong to nothing"
        if flaw != "ok":
            raise StoreError(
                f"{database} is damaged ({flaw}): its copy is not worth keeping; restore an older one"
            )
        known = copy.execute(_COUNT_UP_TO, (newest,)).fetchone()[0]
        if not after <= known <= before:  # pruning may have taken some meanwhile
            raise StoreError(
                f"the copy holds {known} incidents of {before}: it is not worth keeping; try again"
            )
        incidents, live = copy.execute(_COUNT).fetchone()[0], copy.execute(_LIVE).fetchone()[0]
    return Backup(partial.stat().st_size, incidents, live)


def _reading(path: Path) -> sqlite3.Connection:
    """Open for reading only; every statement is a transaction of its own."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)


def _sync(directory: Path) -> None:
    """Let the new name survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cure(error: sqlite3.Error) -> str:
    text = str(error)
    if "no such table" in text:
        return "no daemon ever began to work with it"
    if "malformed" in text or "not a database" in text:
        return "it is damaged: restore an older backup"
    if "full" in text:
        return "make room, or name a file on another disk"
    return "run this as the user that the daemon runs as, and check the free space"
