"""Holders: which processes have a file open, as far as we may see (Linux; of other users' processes only root sees it)."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def of(files: Iterable[Path]) -> str:
    """Name a process that has one of the files open, "" when there is none."""
    wanted = set()
    for path in files:
        with suppress(OSError):
            seen = path.stat()
            wanted.add((seen.st_dev, seen.st_ino))
    with suppress(OSError), os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit() and _holds(entry.path, wanted):
                return f"process {entry.name}{_called(entry.path)}"
    return ""


def _holds(process: str, wanted: set[tuple[int, int]]) -> bool:
    with suppress(OSError), os.scandir(f"{process}/fd") as entries:
        for entry in entries:
            with suppress(OSError):
                seen = entry.stat()
                if (seen.st_dev, seen.st_ino) in wanted:
                    return True
    return False


def _called(process: str) -> str:
    with suppress(OSError):
        name = Path(process, "comm").read_text(errors="replace").strip()
        return f" ({''.join(c if c.isprintable() else '?' for c in name)})"
    return ""
