"""Large: one body with 10 000 new alerts, and whether the daemon still turns meanwhile."""

from collections.abc import Mapping

from tests.bench.ground import Ground
from tests.bench.report import Goal, Row, Sense, spelled
from tests.bench.rules import TOLD
from tests.bench.servers import NotMeasured, load

STALL = Goal(Sense.BELOW, 100, " ms")
_LAG = "stopgap_event_loop_lag_seconds_bucket"


def rows(ground: Ground) -> list[Row]:
    """Send the same large body twice: all of it is new, then nothing is."""
    found = []
    size = ground.scale.body
    task = {"name": TOLD, "first": 0, "distinct": size}
    with ground.bare() as bare, ground.daemon("large") as daemon:
        for title in (f"{spelled(size)} new alerts", "the same again"):
            other = load("large", bare.port, seconds=0.2, **task)
            before = daemon.metrics()
            own = load("large", daemon.port, seconds=3.0 if size > 1000 else 0.2, **task)
            if own["status"] != 200:
                raise NotMeasured(f"the large body was answered {own['status']}")
            lag = worst_lag(before, daemon.metrics())
            stall, beside = max(own["worst_delay"], own["worst_delay_after"]), other["worst_delay"]
            detail = {"own": own, "bare": other, "own_lag_metric_at_most_s": lag}
            seconds, others = own["seconds"], other["seconds"]
            found += [
                Row(f"{title}: answered after", seconds, "s", others, seconds / others, detail=detail),
                Row("  worst stall of the loop", stall * 1000, "ms", beside * 1000, goal=STALL),
            ]
            daemon.settle()
    return found


def worst_lag(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Return the upper bound of the highest bucket of the daemon's own event loop lag that grew."""
    bounds = {float(key.partition('le="')[2].rstrip('"}')): key for key in after if key.startswith(_LAG)}
    worst, below = 0.0, 0.0
    for bound, key in sorted(bounds.items()):
        grown = after[key] - before.get(key, 0.0)
        if grown > below:
            worst = bound
        below = grown
    return worst
