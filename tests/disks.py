"""A disk that is really full: a file system of its own for root, a limit on the size of files for anybody else."""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Make a folder on which no more than so much can be written, within the block."""
    folder.mkdir(exist_ok=True)
    if os.geteuid() == 0 and _mounted(folder, kilobytes):
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", folder], check=True, timeout=20)
        return
    old, heard = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, old[1]))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, heard)


def _mounted(folder: Path, kilobytes: int) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=0700", "stopgap-test", folder]
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


def fill(folder: Path) -> Path:
    """Write until there is no room, and return the file."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096) == 4096:
                pass
        except OSError:
            pass
    return path
