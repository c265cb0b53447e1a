"""Deeds: what is done with one file that was found, relative to its open folder. A file that is another one by now is left alone.

Each returns whether it was done. Deleting and emptying need no space, so they work on a full disk.
"""

import errno
import gzip
import os
import stat
from contextlib import suppress
from typing import IO

from stopgap.errand import Errand
from stopgap.sweep.folder import Found

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1024 * 1024


def delete(folder: int, file: Found) -> bool:
    """Remove a file. Were it a link by now, the link would go and not what it leads to."""
    if not file.still(os.lstat(file.name, dir_fd=folder)):
        return False
    os.unlink(file.name, dir_fd=folder)
    return True


def truncate(folder: int, file: Found) -> bool:
    """Empty a file and keep it: whoever has it open goes on writing to it."""
    descriptor = os.open(file.name, _WRITE, dir_fd=folder)
    try:
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode) or seen.st_ino != file.inode:
            return False  # an open log may well have grown
        if seen.st_nlink > 1:
            raise OSError(errno.EMLINK, "has another name, under which it would be emptied, too")
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
    return True


def compress(folder: int, file: Found, errand: Errand) -> bool:
    """Put `name.gz` in the place of a file, with its owner, mode and times. Raises FileExistsError where there is one."""
    fresh = f".{file.name[:200]}.stopgap"
    with suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=folder)  # what a killed process left
    with os.fdopen(os.open(file.name, _READ, dir_fd=folder), "rb") as source:
        seen = os.fstat(source.fileno())
        if not file.still(seen):
            return False
        try:
            with os.fdopen(os.open(fresh, _NEW, 0o600, dir_fd=folder), "wb") as target:
                with gzip.GzipFile("", "wb", 6, target, seen.st_mtime) as packed:
                    _pour(source, packed, errand)
                _settle(target, seen)
            os.link(fresh, file.name + ".gz", src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.unlink(fresh, dir_fd=folder)
    if delete(folder, file):
        return True
    os.unlink(file.name + ".gz", dir_fd=folder)  # it was written to meanwhile: the copy is not all of it
    return False


def move(folder: int, file: Found, to: int, errand: Errand) -> bool:
    """Move a file into another open folder, across file systems too. Raises FileExistsError rather than replace one."""
    if not file.still(os.lstat(file.name, dir_fd=folder)):
        return False
    try:
        os.link(file.name, file.name, src_dir_fd=folder, dst_dir_fd=to, follow_symlinks=False)
    except FileExistsError:  # or an earlier try has died between both names
        if not os.path.samestat(os.lstat(file.name, dir_fd=folder), os.lstat(file.name, dir_fd=to)):
            raise
    except OSError:  # another file system, or one without hard links
        if not _copy(folder, file, to, errand):
            return False
    if file.still(os.lstat(file.name, dir_fd=folder)):
        os.unlink(file.name, dir_fd=folder)
        return True
    os.unlink(file.name, dir_fd=to)
    return False


def _copy(folder: int, file: Found, to: int, errand: Errand) -> bool:
    with os.fdopen(os.open(file.name, _READ, dir_fd=folder), "rb") as source:
        seen = os.fstat(source.fileno())
        if not file.still(seen):
            return False
        descriptor = os.open(file.name, _NEW, 0o600, dir_fd=to)
        try:
            with os.fdopen(descriptor, "wb") as target:
                _pour(source, target, errand)
                _settle(target, seen)
        except BaseException:  # whatever it was, no half file stays
            os.unlink(file.name, dir_fd=to)
            raise
    return True


def _pour(source: IO[bytes], target: IO[bytes] | gzip.GzipFile, errand: Errand) -> None:
    while chunk := source.read(_CHUNK):
        errand.pause()
        target.write(chunk)


def _settle(target: IO[bytes], seen: os.stat_result) -> None:
    """Give a new file the owner, mode and times of the old one, durably."""
    target.flush()
    descriptor = target.fileno()
    with suppress(PermissionError):  # only root gives files away
        os.fchown(descriptor, seen.st_uid, seen.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(seen.st_mode))
    os.utime(descriptor, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    os.fsync(descriptor)
