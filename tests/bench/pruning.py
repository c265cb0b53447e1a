"""Pruning: what acks cost beside it, and without it, in turns of one run over a store of many closed incidents.

Run as `python -m tests.bench.pruning [INCIDENTS]`. Alerts come at a fixed rate whatever the answers do. Of each turn one part is
without pruning, one at the daemon's pace, and one with as many chunks as there can be.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from tests.journal_examples import HandClock, sighting

from stopgap import pruner as module
from stopgap.matcher import MatcherIndex
from stopgap.pruner import PAUSE, Pruner, Round
from stopgap.rulebook import Rulebook
from stopgap.store import DATABASE, Store, open_store, schema, sqlite
from stopgap.store.rows import micros

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LINES = 14  # of a timeline: opened, acted, verified, held, taken back
RATE, TURNS, SECONDS = 200, 15, 2.0  # alerts per second; seconds
PARTS = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def fill(path: Path, incidents: int) -> None:
    """Write closed incidents of the last years, oldest first, the last one a hundred days old."""
    engine = sqlite.writing(path)
    first = NOW - timedelta(days=1000)
    step = timedelta(days=900) / incidents
    with engine.begin() as connection:
        for start in range(0, incidents, 1000):
            some = [(n, micros(first + n * step)) for n in range(start, min(start + 1000, incidents))]
            for table, rows in _rows(some):
                connection.execute(table.insert(), rows)
    engine.dispose()


def _rows(some: list[tuple[int, int]]) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    told = {"rule": "pack/rule", "version": "v1", "severity": "P1", "mode": "auto", "seq": LINES, "rung": 0}
    told |= {"outcome": "recovered", "follows": "", "flaps": 0, "reverted_at": None, "mitigated_at": None}
    of = {n: f"INC-{at // 1_000_000:012d}-{n:06d}" for n, at in some}
    yield (
        schema.incident,
        [
            {
                **told,
                "id": of[n],
                "target": f"t{n % 5000}",
                "opened_at": at,
                "acted_at": at,
                "closed_at": at + 1,
            }
            for n, at in some
        ],
    )
    line = {"kind": "probe_healthy", "detail": json.dumps({"role": "verify", "text": "x" * 150})}
    yield (
        schema.journal,
        [{**line, "incident": of[n], "seq": seq, "at": at} for n, at in some for seq in range(1, LINES + 1)],
    )
    permit = {"rule": "pack/rule", "shadow": False}
    yield (
        schema.permit,
        [{**permit, "incident": of[n], "target": f"t{n % 5000}", "at": at} for n, at in some],
    )
    undo = {"act": "0/0/do", "before": '{"MODE":"normal"}', "receipt": "null"}
    yield schema.undo, [{**undo, "incident": of[n]} for n, _ in some]


async def acks(store: Store, seconds: float, name: str) -> list[float]:
    """Send alerts at the rate, and return how long each took to be on disk; late starts count as waiting."""
    loop = asyncio.get_running_loop()
    clock, began = HandClock(NOW), loop.time()

    async def one(n: int, due: float) -> float:
        await store.receive([sighting(clock, f"{name}-{n}", target=f"{name}-{n}")])
        return loop.time() - due

    tasks = []
    for n in range(int(seconds * RATE)):
        due = began + n / RATE
        await asyncio.sleep(max(due - loop.time(), 0))
        tasks.append(asyncio.create_task(one(n, due)))
    return await asyncio.gather(*tasks)


@dataclass
class Pace:
    """One way to prune, how acks fared beside it, and what it threw away."""

    name: str
    share: float  # of the writer's time; 0: no pruning
    turns: list[list[float]] = field(default_factory=list)  # of acks, in seconds, sorted
    cpu: float = 0.0
    pause: float = PAUSE
    pruned: int = 0

    def at(self, part: float) -> float:
        """Return the milliseconds that this part of the acks of a turn stayed below, in the median turn."""
        return median(took[min(int(len(took) * part), len(took) - 1)] for took in self.turns) * 1000

    def __str__(self) -> str:
        seconds = TURNS * SECONDS
        figures = "  ".join(f"{name} {self.at(part):6.2f}" for name, part in PARTS.items())
        return (
            f"{self.name:16} {figures} ms  cpu {self.cpu / seconds:.0%}  pruned {self.pruned / seconds:.0f}/s"
        )


async def turn(store: Store, pace: Pace, number: int) -> None:
    """Send alerts for a while beside one pace."""
    before, began = NOW - timedelta(days=90), time.process_time()
    module.SHARE = pace.share or 1.0
    book = Rulebook({}, MatcherIndex([]))
    pruner = Pruner(store.pruning, HandClock(NOW), lambda: book, timedelta(days=90), _pause=pace.pause)
    done = Round(before)
    pruning = asyncio.create_task(pruner.drop_incidents(done) if pace.share else asyncio.sleep(0))
    pace.turns.append(sorted(await acks(store, SECONDS, f"{pace.name}-{number}")))
    pruning.cancel()
    await asyncio.gather(pruning, return_exceptions=True)
    pace.pause = min(pruner._pause, SECONDS / 2)
    pace.cpu += time.process_time() - began
    pace.pruned += done.incidents


async def measure(incidents: int) -> None:
    """Fill, measure in turns, and print."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        await (await open_store(directory, HandClock(NOW))).close()
        began = time.perf_counter()
        fill(directory / DATABASE, incidents)
        size = (directory / DATABASE).stat().st_size / 1e6
        print(f"{incidents} closed incidents, {size:.0f} MB, written in {time.perf_counter() - began:.0f} s")
        store = await open_store(directory, HandClock(NOW))
        paces = [Pace("no pruning", 0), Pace("pruning", module.SHARE), Pace("chunk on chunk", 1.0)]
        for number in range(TURNS):
            for pace in paces:
                await turn(store, pace, number)
        print(f"{RATE} alerts/s; of {TURNS} turns of {SECONDS:g} s each the median")
        for pace in paces:
            print(pace)
        await store.close()


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
