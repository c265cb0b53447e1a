"""Shelf: the folder in which copies stand. A copy appears there whole, with its manifest, or not at all."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stopgap.copies.manifest import LARGEST, SUFFIX, Manifest
from stopgap.errand import Errand
from stopgap.errors import PermanentError, TemporaryError

MOST = 10_000  # entries of a folder
PART = ".part"
ABANDONED = timedelta(days=1)
_CHUNK = 1024 * 1024
_WRITABLE_BY_ALL = 0o002


@dataclass(frozen=True, slots=True)
class Copy:
    """A file on the shelf, with its manifest if it has one."""

    path: Path
    manifest: Manifest | None
    bytes: int
    changed_at: datetime

    @property
    def made_at(self) -> datetime:
        """Return when it was made, as far as that is known."""
        return self.manifest.made_at if self.manifest else self.changed_at


def copies(folder: Path) -> list[Copy]:
    """List the copies in a folder, the newest first. Raises PermanentError."""
    with told(folder), os.scandir(folder) as entries:
        listed = [entry for entry, _ in zip(entries, range(MOST + 1), strict=False)]
        if len(listed) > MOST:
            raise PermanentError(f"{folder} holds more than {MOST} files: choose another folder for copies")
        found = list(_read(listed))
    return sorted(found, key=lambda copy: (copy.made_at, copy.path.name), reverse=True)


def _read(entries: list["os.DirEntry[str]"]) -> Iterator[Copy]:
    names = {entry.name for entry in entries}
    for entry in entries:
        with suppress(FileNotFoundError):
            seen = entry.stat(follow_symlinks=False)
            own = entry.name.endswith(SUFFIX) and entry.name.removesuffix(SUFFIX) in names
            if own or not stat.S_ISREG(seen.st_mode) or not entry.name.isprintable() or entry.name[0] == ".":
                continue
            changed_at = datetime.fromtimestamp(seen.st_mtime, UTC)
            yield Copy(Path(entry.path), _manifest(Path(entry.path)), seen.st_size, changed_at)


def _manifest(copy: Path) -> Manifest | None:
    with suppress(OSError, ValueError):
        path = beside(copy)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, encoding="utf-8") as file:
            return Manifest.read(file.read(LARGEST))
    return None


def beside(copy: Path) -> Path:
    """Return where the manifest of a copy stands."""
    return copy.with_name(copy.name + SUFFIX)


def part_of(folder: Path, mark: str) -> Path:
    """Return where a copy is written before it has a name: the same for all tries of one step."""
    return folder / f".stopgap-{mark}{PART}"


def check(folder: Path, needed: int, min_free: int) -> None:
    """Prove that a copy could be put here, privately and with room left. Raises PermanentError."""
    with told(folder):
        there = folder if folder.exists() else folder.parent
        if not stat.S_ISDIR(there.stat().st_mode):
            raise PermanentError(f"{there} is not a folder")
        if stat.S_IMODE(there.stat().st_mode) & _WRITABLE_BY_ALL and there == folder:
            raise PermanentError(f"anybody may write into {folder}: chmod o-w it")
        if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
            raise PermanentError(f"{there}: {os.strerror(errno.EACCES).lower()}")
        room = os.statvfs(there)
    free = room.f_bavail * room.f_frsize
    if free < needed + min_free:
        raise PermanentError(
            f"{there} has {free} bytes free, and a copy of about {needed} must leave {min_free}: make room, or lower min_free"
        )


def begin(folder: Path, mark: str, now: datetime) -> Path:
    """Make the folder if it is missing, remove what dead tries left, and return a new private file to write to."""
    with told(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        part = part_of(folder, mark)
        part.unlink(missing_ok=True)
        for leftover in folder.glob(f".stopgap-*{PART}"):
            with suppress(FileNotFoundError):
                if datetime.fromtimestamp(leftover.lstat().st_mtime, UTC) < now - ABANDONED:
                    leftover.unlink()
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        return part


def digest(path: Path, errand: Errand) -> tuple[str, int]:
    """Return the SHA-256 of a file and its size. Raises PermanentError."""
    found, size = hashlib.sha256(), 0
    with told(path), path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            errand.pause()
            found.update(chunk)
            size += len(chunk)
    return found.hexdigest(), size


def publish(part: Path, path: Path, manifest: Manifest) -> None:
    """Give a copy its name, durably, its manifest first: a copy without one never looks like ours.

    Raises TemporaryError when somebody else's file has that name.
    """
    with told(path):
        if path.exists():
            raise TemporaryError(f"{path} is there already")
        scribble = part.with_name(f"{part.name}{SUFFIX}")
        try:
            _write(part, None)
            _write(scribble, manifest.text())
            scribble.replace(beside(path))
            part.replace(path)
        finally:
            scribble.unlink(missing_ok=True)
        sync(path.parent)


def _write(path: Path, text: str | None) -> None:
    """Write a text, or leave what there is; have it on disk, for its owner alone."""
    path.touch(0o600)
    with path.open("r+b") as file:
        os.fchmod(file.fileno(), 0o600)
        if text is not None:
            file.truncate()
            file.write(text.encode())
            file.flush()
        os.fsync(file.fileno())


def prune(folder: Path, like: Manifest, keep: int) -> list[str]:
    """Remove the oldest of our copies of the same thing and kind, until so many are left; returns their names.

    What has no manifest is not ours.
    """
    same = [
        copy
        for copy in copies(folder)
        if copy.manifest and (copy.manifest.of, copy.manifest.evidence) == (like.of, like.evidence)
    ]
    same.sort(
        key=lambda copy: copy.manifest is None or copy.manifest.key != like.key
    )  # whatever the clock says: ours is new
    removed = []
    for copy in same[keep:]:
        with suppress(OSError):  # what cannot be removed stays, and is tried again after the next copy
            copy.path.unlink()
            beside(copy.path).unlink(missing_ok=True)
            removed.append(copy.path.name)
    return removed


def sync(folder: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a PermanentError with the path."""
    try:
        yield
    except OSError as error:
        raise PermanentError(f"{path}: {(error.strerror or 'refused').lower()}") from None
