"""Folder: one tree of files, opened from the top down and never by its path again.

A link on the way is refused, wherever it stands; below the root, links, other mounts and protected folders are passed by.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from stopgap.errand import Errand
from stopgap.errors import PermanentError
from stopgap.sweep.protected import LANDMARK, NEVER_ENTERED

DEEPEST = 32
MOST = 200_000  # entries that are looked at
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 512  # st_blocks is in these, whatever the file system (stat(2))


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file as it was seen: where (the folders below the root, and its name), and what tells it from another one."""

    parts: tuple[str, ...]
    name: str
    inode: int
    modified_ns: int
    size: int
    frees: int  # bytes of disk that are free when it is gone: none while it has another name

    @property
    def shown(self) -> str:
        """Return its path below the root, fit for a line."""
        return shown("/".join((*self.parts, self.name)))

    def still(self, seen: os.stat_result) -> bool:
        """Tell whether this is the file that was found, unchanged."""
        return stat.S_ISREG(seen.st_mode) and (seen.st_ino, seen.st_mtime_ns, seen.st_size) == (
            self.inode,
            self.modified_ns,
            self.size,
        )


def shown(name: str) -> str:
    """Make any file name fit for a line: what is not printable is escaped."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)[:200]


@contextmanager
def opened(path: str) -> Iterator[int]:
    """Open a folder by an absolute path of which no part is a link. Raises PermanentError."""
    descriptor = os.open("/", _DIRECTORY)
    done = ""
    try:
        for part in filter(None, path.split("/")):
            done += "/" + part
            descriptor = _into(descriptor, part, done)
        yield descriptor
    finally:
        os.close(descriptor)


def _into(above: int, part: str, path: str) -> int:
    try:
        below = os.open(part, _DIRECTORY, dir_fd=above)
    except OSError as error:
        linked = False
        with suppress(OSError):
            linked = stat.S_ISLNK(os.lstat(part, dir_fd=above).st_mode)
        why = "is a link: write the path that it leads to" if linked else (error.strerror or "").lower()
        raise PermanentError(f"{path}: {why}") from None
    os.close(above)
    return below


@contextmanager
def below(root: int, parts: Sequence[str]) -> Iterator[int]:
    """Open a folder below an open one, through no link. Raises OSError."""
    descriptor = os.dup(root)
    try:
        for part in parts:
            inner = os.open(part, _DIRECTORY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def walk(root: int, errand: Errand) -> Iterator[Found]:
    """Find every regular file below an open folder. Raises PermanentError for a tree that is too large, or that is our own."""
    home, looked_at = _mount(root), 0
    todo: list[tuple[str, ...]] = [()]
    while todo:
        errand.pause()
        parts = todo.pop()
        with suppress(FileNotFoundError, NotADirectoryError), below(root, parts) as folder:
            if _mount(folder) != home:
                continue
            files, folders = _listed(folder, parts)
            looked_at += len(files) + len(folders)
            if looked_at > MOST:
                raise PermanentError(f"there are more than {MOST} files: narrow `under`")
            if len(parts) < DEEPEST:
                todo += [(*parts, name) for name in folders]
            yield from files


def _listed(folder: int, parts: tuple[str, ...]) -> tuple[list[Found], list[str]]:
    """List the files and the folders in a folder; neither where it is the daemon's own."""
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == LANDMARK and not parts:
                raise PermanentError("it is the daemon's own data directory, which is never cleared")
            if entry.name == LANDMARK:
                return [], []
            with suppress(FileNotFoundError):
                seen = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(seen.st_mode):
                    frees = seen.st_blocks * _BLOCK if seen.st_nlink == 1 else 0
                    files.append(Found(parts, entry.name, seen.st_ino, seen.st_mtime_ns, seen.st_size, frees))
                elif stat.S_ISDIR(seen.st_mode) and entry.name not in NEVER_ENTERED:
                    folders.append(entry.name)
    return files, sorted(folders, reverse=True)


def _mount(folder: int) -> str:
    """Return what tells one mount from another: a bind mount has the device of its source (proc_pid_fdinfo(5))."""
    with suppress(OSError):
        for line in Path(f"/proc/self/fdinfo/{folder}").read_text().splitlines():
            if line.startswith("mnt_id:"):
                return line
    return str(os.fstat(folder).st_dev)
