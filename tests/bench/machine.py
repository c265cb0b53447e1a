"""Machine: what the numbers were measured on, so that they can be compared with nothing else by mistake."""

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any


def machine(directory: Path) -> dict[str, Any]:
    """Describe cores, processor, Python, and the disk under a directory."""
    fsync = _fsync(directory)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "filesystem": _filesystem(directory),
        "fsync_ms": round(statistics.median(fsync) * 1000, 3),
        "fsync_worst_ms": round(max(fsync) * 1000, 3),
        "load_before": os.getloadavg()[0],
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(directory: Path) -> str:
    """Return the type of the filesystem with the longest mount point above the directory."""
    at = str(directory.resolve())
    mounts = (line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines())
    above = [(mount, kind) for _, mount, kind, *_ in mounts if f"{at}/".startswith(f"{mount.rstrip('/')}/")]
    return max(above, key=lambda found: len(found[0]))[1]


def _fsync(directory: Path, times: int = 100) -> list[float]:
    """Return the seconds that each of some pages, appended to a file one by one, takes to the disk."""
    path = directory / "fsync.probe"
    taken = []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    path.unlink()
    return taken
