"""Machine: what the numbers were measured on, so that they can be compared with nothing else by mistake."""

import os
import platform
import resource
import statistics
import time
from pathlib import Path
from typing import Any

from tests.bench.disk import fsyncs


def machine(directory: Path) -> dict[str, Any]:
    """Describe cores, processor, Python, and the disk under a directory."""
    fsync = fsyncs(directory, 100)
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


class Neighbours:
    """How much of the machine others used while we measured, so that nobody trusts the figures of a busy one."""

    def __init__(self) -> None:
        self._before = _busy_seconds() - _own_seconds()
        self._began = time.monotonic()

    @property
    def share(self) -> float:
        """Return the share of all cores' time that somebody else used, 0 to 1, since this was made."""
        others = _busy_seconds() - _own_seconds() - self._before
        return max(0.0, others / (time.monotonic() - self._began) / (os.cpu_count() or 1))


def _busy_seconds() -> float:
    """Return the seconds in which any core was busy, or was kept from us by another guest (proc(5): steal)."""
    first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(ticks) for ticks in first)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Return the processor time of this process and of all its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
