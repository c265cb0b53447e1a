"""Growth: what open incidents weigh, and how long a daemon that was killed with them takes until it is ready again."""

from tests.bench.ground import Database, Ground
from tests.bench.latency import PAUSE
from tests.bench.report import Goal, Row, Sense, percentile, spelled
from tests.bench.rules import ACTING, TOLD
from tests.bench.servers import NotMeasured, load

ALERTS = 50  # one by one
EACH = 1000  # alerts in one body
WORKS_ON = 150.0  # seconds
IDLE = Goal(Sense.BELOW, 80, " MB")
WEIGHT = {10_000: Goal(Sense.BELOW, 200, " MB")}
RECOVERY = {100_000: Goal(Sense.BELOW, 10, " s")}


def rows(ground: Ground) -> list[Row]:
    """Fill a daemon up in steps; at each step weigh it, kill it, and start it again."""
    with ground.daemon("growth") as daemon:
        daemon.settle()
        found = [
            Row("memory, idle", daemon.rss_mb, "MB", goal=IDLE),
            Row("ready with an empty store", daemon.ready_after, "s"),
        ]
    for size in ground.scale.open:
        found += step(ground, "growth", size)
    return found


def step(ground: Ground, name: str, size: int, database: Database | None = None) -> list[Row]:
    """Fill up to `size` open incidents, kill, start again, and send some alerts that are acted upon."""
    written, back = f"{spelled(size)} open", "ready" if database is None else "leads"
    with ground.daemon(name, database=database) as daemon:
        load("fill", daemon.port, name=TOLD, first=10 * size, distinct=size - daemon.live, each=EACH)
        daemon.settle(WORKS_ON)
        full = daemon.rss_mb
        daemon.kill()
    with ground.daemon(name, database=database) as daemon:
        if daemon.live != size:
            raise NotMeasured(f"{daemon.live} incidents are live after the restart, not {size}")
        ready = daemon.ready_after if database is None else daemon.leads_after
        daemon.settle(WORKS_ON)
        again = daemon.rss_mb
        task = {"name": ACTING, "first": 10 * size, "distinct": min(ALERTS, ground.scale.alerts)}
        acted = load("one_by_one", daemon.port, sink=ground.sink, pause=PAUSE, **task)["to_effect"]
    return [
        Row(f"{written}: memory", full, "MB", goal=WEIGHT.get(size)),
        Row(f"  {back} after kill -9 and a start", ready, "s", goal=RECOVERY.get(size)),
        Row("  memory then", again, "MB", goal=WEIGHT.get(size)),
        Row("  alert to action then: p50", percentile(acted, 0.5) * 1000, "ms", detail={"seconds": acted}),
    ]
