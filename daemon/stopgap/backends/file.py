"""File: a text file with settings, changed by one atomic write while a lock on its folder is held.

Mode, owner, extended attributes and every byte that is not a changed value are kept. A symbolic link is followed on purpose and the
file it leads to is replaced, so the link stays (releases that share one `.env` are linked that way). What cannot be kept is refused
before anything is written: another owner when we are not root, hard links, a file that is not regular or larger than 1 MiB.
"""

import fcntl
import os
import stat
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, TypeVar

from stopgap import errand
from stopgap.backends.capability import Entry, Flags, Plan
from stopgap.backends.locator import Locator
from stopgap.backends.successor import check_links, check_replaceable, take_after
from stopgap.errors import PermanentError, TemporaryError

_LARGEST = 1024 * 1024
_LOCK_SECONDS = 5.0
T = TypeVar("T")


class FileFlags(Flags):
    """Settings in a text file. Subclasses know the syntax: two pure functions."""

    largest: ClassVar[int] = _LARGEST

    def __init__(self, locator: Locator) -> None:
        locator.only("path", "fragment?")
        self._scheme, self._path, self.section = locator.scheme, Path(locator.path), locator.fragment

    @property
    def name(self) -> str:
        """Name the place as a resource."""
        return f"{self._scheme}:{self._path}" + (f"#{self.section}" if self.section else "")

    @abstractmethod
    def find(self, text: str, keys: Collection[str]) -> dict[str, Entry]:
        """Find settings in the text. Raises PermanentError."""

    @abstractmethod
    def edit(self, text: str, entries: Mapping[str, Entry]) -> str:
        """Return the text with these settings. Raises PermanentError for what cannot be written."""

    async def read(self, keys: Collection[str], within: timedelta) -> dict[str, Entry]:
        """Read settings in a thread."""
        return await whole(lambda: self.find(self._load()[0], keys), within)

    async def change(self, keys: Collection[str], plan: Plan, within: timedelta) -> dict[str, Entry]:
        """Change settings in a thread that a cancellation waits for: it finishes or it does not begin."""
        return await whole(lambda: self._change(keys, plan), within)

    def _change(self, keys: Collection[str], plan: Plan) -> dict[str, Entry]:
        with _told(self._path):
            real = self._path.resolve(strict=True)
            with _locked(real.parent):
                _fresh(real).unlink(missing_ok=True)  # under the lock, a leftover is a dead process's
                text, before = self._load()
                after, found = self._edited(text, plan(self.find(text, keys)), keys)
                if after != text:
                    _replace(real, after.encode("utf-8", "surrogateescape"), before)
                return found

    def _edited(
        self, text: str, changes: Mapping[str, Entry], keys: Collection[str]
    ) -> tuple[str, dict[str, Entry]]:
        after = self.edit(text, changes)
        found = self.find(after, keys)
        for key, entry in changes.items():
            if found[key].value != entry.value:
                raise PermanentError(f"{key} would not read back from {self._path} as it was written")
        return after, found

    async def try_writing(self, writings: Collection[Mapping[str, str]], within: timedelta) -> None:
        """Do all that `change` does but the writing."""
        await whole(lambda: self._try_writing(writings), within)

    def _try_writing(self, writings: Collection[Mapping[str, str]]) -> None:
        with _told(self._path):
            real = self._path.resolve(strict=True)
            text, before = self._load()
            for settings in writings:
                self._edited(text, {key: Entry(value) for key, value in settings.items()}, settings)
            check_replaceable(real, before)

    def _load(self) -> tuple[str, os.stat_result]:
        with _told(self._path):
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                seen = os.fstat(descriptor)
                if not stat.S_ISREG(seen.st_mode):
                    raise PermanentError(f"{self._path} is not a regular file")
                body = file.read(self.largest + 1)
        if len(body) > self.largest:
            raise PermanentError(f"{self._path} is larger than {self.largest} bytes")
        return body.decode("utf-8", "surrogateescape"), seen


async def whole(work: Callable[[], T], within: timedelta) -> T:
    """Do blocking work in a thread. A cancellation, and a late answer, wait for its end: no half state, no surprise afterwards."""
    return await errand.run(lambda _: work(), within)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a PermanentError with the path."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        reason = error.strerror if isinstance(error, OSError) else "its links form a loop"
        raise PermanentError(f"{path}: {reason}") from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which leaves no lock file behind. Raises TemporaryError when somebody keeps it for 5 s."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TemporaryError(f"{folder} is locked by another process") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, body: bytes, before: os.stat_result) -> None:
    """Put a new file in the place of one, with its mode, owner and attributes, durably; all or nothing."""
    check_links(path, before)
    fresh = _fresh(path)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            take_after(path, descriptor, before)
            file.write(body)
            file.flush()
            os.fsync(descriptor)
        _unchanged(path, before)
        fresh.replace(path)
    except BaseException:  # whatever it was, no half-written file stays
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _fresh(path: Path) -> Path:
    """Return where a file is written before it takes the other one's place: one name, so that none can pile up."""
    return path.with_name(f".{path.name}.stopgap")


def _unchanged(path: Path, before: os.stat_result) -> None:
    """Look once more, for writers that keep no lock."""
    now = path.stat()
    if (now.st_ino, now.st_mtime_ns, now.st_size) != (before.st_ino, before.st_mtime_ns, before.st_size):
        raise TemporaryError(f"{path} was changed by somebody else just now")
