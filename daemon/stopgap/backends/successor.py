"""Successor: the new file that takes the place of an old one: what it must take after, and whether there could be one now."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from stopgap.errors import PermanentError

MOUNTS = Path("/proc/self/mountinfo")
_NO_NAMELESS_FILES = (errno.EOPNOTSUPP, errno.EISDIR)  # of this file system; of this kernel


def take_after(path: Path, descriptor: int, before: os.stat_result) -> None:
    """Give a new file the owner, the attributes and the mode of the one that it replaces."""
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    _copy_attributes(path, descriptor)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def check_links(path: Path, before: os.stat_result) -> None:
    """Refuse a file that has other names. Raises PermanentError."""
    if before.st_nlink > 1:
        raise PermanentError(f"{path} has hard links, which a replaced file would leave behind")


def check_replaceable(path: Path, before: os.stat_result) -> None:
    """Prove that a file could be replaced: by a successor that never gets a name and is gone at once. Raises PermanentError."""
    check_links(path, before)
    if str(path) in _mount_points():
        raise PermanentError(
            f"cannot write {path}: it is mounted by itself and cannot be replaced: mount its folder instead"
        )
    try:
        descriptor = _nameless(path.parent)
    except OSError as error:
        why = f"its folder {path.parent}: {error.strerror}"
        raise PermanentError(f"cannot write {path}: {why}") from None
    if descriptor is None:
        return
    try:
        take_after(path, descriptor, before)
    except OSError as error:
        why = f"its owner {before.st_uid}:{before.st_gid} could not be kept: {error.strerror}"
        raise PermanentError(f"cannot write {path}: {why}") from None
    finally:
        os.close(descriptor)


def _nameless(folder: Path) -> int | None:
    """Open a new file that has no name in a folder; None where there are no such files. Raises OSError."""
    os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))  # the lock is on it
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in _NO_NAMELESS_FILES:
            raise
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return None


def _copy_attributes(path: Path, descriptor: int) -> None:
    with suppress(OSError):  # a file system without them, or attributes that only root may set
        for name in os.listxattr(path):
            os.setxattr(descriptor, name, os.getxattr(path, name))


def _mount_points() -> frozenset[str]:
    """Return where something is mounted (proc_pid_mountinfo(5), field 5: blanks and the like are octal)."""
    with suppress(OSError):
        fields = [line.split() for line in MOUNTS.read_bytes().splitlines()]
        return frozenset(os.fsdecode(each[4].decode("unicode_escape").encode("latin-1")) for each in fields)
    return frozenset()
