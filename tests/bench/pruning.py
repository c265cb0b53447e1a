"""Pruning: what acks cost beside it, and without it, in turns of one run over a store of many closed incidents.

Run as `python -m tests.bench.pruning [INCIDENTS]`. Alerts come at a fixed rate whatever the answers do; of each turn the first half
is without pruning, the second with. A chunk and its pause are those of the daemon.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.journal_examples import HandClock, sighting

from stopgap.matcher import MatcherIndex
from stopgap.pruner import Pruner
from stopgap.rulebook import Rulebook
from stopgap.store import DATABASE, Store, open_store, schema, sqlite
from stopgap.store.rows import micros

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LINES = 14  # of a timeline: opened, acted, verified, held, taken back
RATE, TURNS, HALF = 200, 6, 5.0  # alerts per second; seconds


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


def told(name: str, took: list[float]) -> str:
    """Return the figures of one half."""
    took = sorted(took)
    p50, p99, p999 = (took[int(len(took) * part)] * 1000 for part in (0.5, 0.99, 0.999))
    return f"{name:16} {len(took):6} acks  p50 {p50:6.2f}  p99 {p99:6.2f}  p99.9 {p999:6.2f}  max {took[-1] * 1000:6.2f} ms"


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
        costs: list[float] = []
        store.on_batch = lambda _, seconds: costs.append(seconds)
        pruner = Pruner(
            store.pruning, HandClock(NOW), lambda: Rulebook({}, MatcherIndex([])), timedelta(days=90)
        )
        without: list[float] = []
        beside: list[float] = []
        round_ = asyncio.create_task(asyncio.sleep(0))
        cpu = [0.0, 0.0]
        for turn in range(TURNS):
            for pruning, took in ((False, without), (True, beside)):
                if pruning:
                    round_ = asyncio.create_task(pruner.round())
                before = time.process_time()
                took.extend(await acks(store, HALF, f"{turn}-{pruning}"))
                cpu[pruning] += time.process_time() - before
                round_.cancel()
                await asyncio.gather(round_, return_exceptions=True)
        left = len(await store.closed(rule=None, target=None, before=None, limit=incidents))
        seconds = TURNS * HALF
        print(told("without pruning", without), f" cpu {cpu[0] / seconds:.0%}")
        print(told("beside pruning", beside), f" cpu {cpu[1] / seconds:.0%}")
        print(f"pruned {incidents - left} in {seconds:.0f} s ({(incidents - left) / seconds:.0f}/s)")
        await store.close()


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
