"""Latency: from an alert to its action, while nothing else happens and at a sustained rate, as somebody outside sees it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.bench.ground import Ground
from tests.bench.report import Goal, Row, Sense, percentile
from tests.bench.rules import ACTING
from tests.bench.servers import Daemon, NotMeasured, Server, load

PAUSE = 0.015  # seconds between an action and the next alert
IDLE, STORMY = Goal(Sense.BELOW, 5, " ms"), Goal(Sense.BELOW, 25, " ms")
_METRIC = "stopgap_alert_to_action_seconds"


def rows(ground: Ground) -> list[Row]:
    """Measure an idle daemon, then the rates, one after the other on the same daemon."""
    with ground.bare() as bare, ground.daemon("latency") as daemon:
        found = idle(bare, daemon, ground)
        for number, rate in enumerate(ground.scale.rates, 1):
            found += sustained(bare, daemon, ground, rate, 1_000_000 * number)
            daemon.settle()
    return found


def idle(bare: Server, daemon: Daemon, ground: Ground) -> list[Row]:
    """Send one alert after the other."""
    task = {"name": ACTING, "pause": PAUSE}
    warm, alerts = ground.scale.warm, ground.scale.alerts
    load("one_by_one", daemon.port, first=0, distinct=warm, sink=ground.sink, **task)
    before, used = daemon.metrics(), daemon.cpu_seconds
    own = load("one_by_one", daemon.port, first=100_000, distinct=alerts, sink=ground.sink, **task)
    after = daemon.metrics()
    cost = Row("  processor time of one", (daemon.cpu_seconds - used) / alerts * 1e6, "us")
    other = load("one_by_one", bare.port, first=0, distinct=alerts, **task)
    grown = {key: after[key] - before.get(key, 0.0) for key in after if key.startswith(_METRIC)}
    inside = grown[f"{_METRIC}_sum"] / grown[f"{_METRIC}_count"] * 1000
    detail = {"own": own, "bare": other, "own_histogram": grown}
    return [
        *three("idle", own["to_effect"], other["to_answer"], IDLE, detail),
        Row("  to the answer: p50", percentile(own["to_answer"], 0.5) * 1000, "ms"),
        Row("  own metric, to the step: mean", inside, "ms"),
        cost,
    ]


def sustained(bare: Server, daemon: Daemon, ground: Ground, rate: int, first: int) -> list[Row]:
    """Send alerts at a rate, on a schedule that no answer changes."""
    scale = ground.scale
    task = {"name": ACTING, "rate": rate, "distinct": max(1, int(rate * scale.sustained))}
    other = load("on_schedule", bare.port, first=first, patience=2.0, **task)
    own = load("on_schedule", daemon.port, first=first, patience=scale.patience, sink=ground.sink, **task)
    answered = {status: times for status, times in own["statuses"].items() if status != "200"}
    if answered:
        raise NotMeasured(f"at {rate}/s not everything was answered 200: {answered}")
    goal = STORMY if rate == max(ground.scale.rates) else None
    found = three(f"at {rate}/s", own["to_effect"], other["to_answer"], goal, {"own": own, "bare": other})
    found.append(Row("  to the answer: p99", percentile(own["to_answer"], 0.99) * 1000, "ms"))
    if own["missing"]:
        title = f"  no action within {scale.patience:g} s"
        found.append(Row(title, float(own["missing"]), "", float(task["distinct"])))
    return found


def three(
    title: str, own: Sequence[float], other: Sequence[float], goal: Goal | None, detail: dict[str, Any]
) -> list[Row]:
    """Return the rows of p50, p99 and the worst, in milliseconds; the goal is that of the p99."""

    def row(name: str, share: float, goal: Goal | None = None) -> Row:
        mine, theirs = percentile(own, share) * 1000, percentile(other, share) * 1000
        return Row(name, mine, "ms", theirs, goal=goal)

    return [
        row(f"{title}: p50", 0.5),
        row("  p99", 0.99, goal),
        replace(row("  worst", 1.0), detail=detail),
    ]
