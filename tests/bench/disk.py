"""Disk: what one fsync takes here, which nobody who is durable can undercut, and how many of them group commit saves."""

import os
import time
from pathlib import Path

from tests.bench.ground import Ground
from tests.bench.report import Row, percentile
from tests.bench.rules import TOLD
from tests.bench.storm import news_of

PAGE = 4096  # bytes


def rows(ground: Ground) -> list[Row]:
    """Measure the disk alone, and new incidents per second against one fsync after the other."""
    with ground.daemon("disk") as daemon:
        before = daemon.metrics()
        flood = news_of({"stopgap": (daemon, TOLD)}, ground)
        after = daemon.metrics()
    taken = fsyncs(ground.directory, 200 if ground.scale.name != "tiny" else 20)
    each_second = len(taken) / sum(taken)
    commits = after["stopgap_journal_commit_seconds_count"] - before["stopgap_journal_commit_seconds_count"]
    news, opened = flood.median("stopgap"), sum(run["requests"] for run in flood.runs["stopgap"])
    return [
        Row("fsync of 4 KiB: p50", percentile(taken, 0.5) * 1000, "ms"),
        Row("  p99", percentile(taken, 0.99) * 1000, "ms"),
        Row("new incidents, to single fsyncs", news, "/s", each_second, news / each_second),
        Row("  incidents to one commit", opened / commits, "", detail={"commits": commits}),
    ]


def fsyncs(directory: Path, times: int) -> list[float]:
    """Return the seconds that each of some pages, appended to a file one by one, takes to the disk."""
    path = directory / "fsync.probe"
    taken = []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * PAGE)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    path.unlink()
    return taken
