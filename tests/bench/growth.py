"""Growth: what open incidents weigh, and how long a daemon that was killed with them takes until it is ready again."""

from tests.bench.ground import Database, Ground
from tests.bench.report import Goal, Row, Sense, spelled
from tests.bench.rules import TOLD
from tests.bench.servers import NotMeasured, load

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
    reached = 0
    for size in ground.scale.open:
        found += step(ground, "growth", reached, size)
        reached = size
    return found


def step(ground: Ground, name: str, first: int, size: int, database: Database | None = None) -> list[Row]:
    """Fill up from `first` to `size` incidents, kill, and start again."""
    written = f"{spelled(size)} open"
    with ground.daemon(name, database=database) as daemon:
        load("fill", daemon.port, name=TOLD, first=first, distinct=size - first, each=EACH)
        daemon.settle(WORKS_ON)
        full = daemon.rss_mb
        daemon.kill()
    with ground.daemon(name, database=database) as daemon:
        if daemon.live != size:
            raise NotMeasured(f"{daemon.live} incidents are live after the restart, not {size}")
        ready = daemon.ready_after
        daemon.settle(WORKS_ON)
        again = daemon.rss_mb
    return [
        Row(f"{written}: memory", full, "MB", goal=WEIGHT.get(size)),
        Row("  ready after kill -9 and a start", ready, "s", goal=RECOVERY.get(size)),
        Row("  memory then", again, "MB", goal=WEIGHT.get(size)),
    ]
