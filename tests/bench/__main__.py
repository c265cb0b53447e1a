"""Bench: how fast and how large the daemon is, against a bare aiohttp handler in the same run, and a backtest (`make bench`).

Prints a table and writes `bench-DATE.json`. It asserts no times: it ends with 1 only when something could not be measured.
"""

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import backtest, measure, servers
from tests.bench.machine import machine
from tests.bench.report import Goal, Row, Sense, table
from tests.bench.rules import write_rules


def run(directory: Path, rounds: int, alerts: int) -> list[Row]:
    """Measure everything, in a directory that is ours."""
    sink = servers.free_port()
    few = write_rules(directory / "few", 10, sink)
    many = write_rules(directory / "many", measure.MANY, sink)
    rows: list[Row] = []
    with ExitStack() as stack:
        plain = servers.bare(directory / "bare.log")
        stack.callback(plain.stop)
        own = servers.stopgap(few, directory / "few-data")
        stack.callback(own.stop)
        idle = own.rss_mb
        rows += measure.latency(plain, own, sink, alerts)
        crowded = servers.stopgap(many, directory / "many-data")
        stack.callback(crowded.stop)
        rows += measure.repeats(plain, own, crowded, rounds)
        rows += measure.news(plain, own, crowded, rounds)
        rows.append(Row("memory, idle", idle, "MB", goal=Goal(Sense.BELOW, 100, " MB")))
        rows.append(Row("  with 10 000 rules", crowded.rss_mb, "MB"))
        rows.append(Row("ready with 10 000 rules", crowded.ready_after, "s", own.ready_after))
        crowded.stop()
        rows.append(measure.memory(own))
        own.stop()
        rows += measure.large(plain, few, directory / "large-data")
    rows += backtest.rows(directory)
    return rows


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Measure, print, write; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison (5)")
    parser.add_argument("--alerts", type=int, default=250, help="one by one, for the latency (250)")
    parser.add_argument(
        "--work", type=Path, default=Path(".run"), help="where to put data: a real disk (.run)"
    )
    parser.add_argument("--out", type=Path, default=Path(), help="where to put bench-DATE.json (here)")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    began_at = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.work) as name:
        directory = Path(name)
        on = machine(directory)
        say(
            f"{on['cores']} cores of {on['cpu']}, {on['python']}, {on['filesystem']}"
            f"\nfsync {on['fsync_ms']} ms, at worst {on['fsync_worst_ms']} ms; load {on['load_before']:.1f}"
        )
        try:
            rows = run(directory, options.rounds, options.alerts)
        except (servers.NotMeasured, OSError, TimeoutError) as error:
            say(f"could not measure: {error}")
            return 1
    say(table(rows))
    path = options.out / f"bench-{began_at:%Y-%m-%d}.json"
    took = (datetime.now(UTC) - began_at).total_seconds()
    written = {
        "at": began_at.isoformat(),
        "took_seconds": took,
        "machine": on,
        "rows": [r.as_json() for r in rows],
    }
    path.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    say(f"{took:.0f} s; everything measured stands in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
