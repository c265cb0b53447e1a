"""Measure: each question of the bench, asked in rounds that alternate between what is compared, since machines are noisy."""

import statistics
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from tests.bench.report import Goal, Row, Sense, percentile
from tests.bench.rules import ACTING, KNOWN, SHADOWED, TOLD
from tests.bench.servers import Daemon, NotMeasured, Server, load, stopgap

KNOWN_ALERTS = 100
FASTER = 12  # times as many new alerts for the bare handler, so that its runs are about as long
MANY = 10_000  # alerts, incidents, rules

CROWD = "  10 000 rules, against 10"


class Flood:
    """Throughput of several servers under the same load, in alternating rounds."""

    def __init__(self, subjects: Mapping[str, tuple[Server, str]], **task: Any) -> None:
        """Take what to send to whom: server and alertname by the subject's name."""
        self._subjects = subjects
        self._task = task
        self._first: Iterator[int] = count(0, 100_000)
        self.runs: dict[str, list[dict[str, float]]] = {name: [] for name in subjects}

    def rounds(self, times: int) -> "Flood":
        """Measure every subject so many times; each second round in the opposite order."""
        for number in range(times):
            order = list(self._subjects)
            for name in order if number % 2 == 0 else reversed(order):
                self.runs[name].append(self._run(*self._subjects[name]))
        return self

    def _run(self, server: Server, alertname: str) -> dict[str, float]:
        task = dict(self._task)
        if not task["again"]:
            task["first"] = next(self._first)
            task["distinct"] *= (
                1 if isinstance(server, Daemon) else FASTER
            )  # a run of milliseconds says nothing
        before = server.cpu_seconds
        result = load("flood", server.port, name=alertname, **task)
        requests = result["requests"]
        if result["statuses"] != {"200": requests}:
            raise NotMeasured(f"not everything was answered 200: {result['statuses']}")
        worked_on = 0.0 if self._task["again"] else server.settle()
        return {
            "per_second": requests / result["seconds"],
            "cpu_seconds": server.cpu_seconds - before,
            "worked_on": worked_on,
            "requests": requests,
            "load_busy": result["busy"],
        }

    def per_second(self, name: str) -> float:
        """Return a subject's median rate."""
        return statistics.median(run["per_second"] for run in self.runs[name])

    def row(self, title: str, name: str, against: str, goal: Goal) -> Row:
        """Compare rates: the median of the rounds' ratios, in which a slow moment of the machine hits both sides."""
        return self._row(title, (name, against), self._ratios("per_second", name, against), goal)

    def cost_row(self, title: str, name: str, against: str, goal: Goal) -> Row:
        """Compare what one request costs: the other's rate by one's own."""
        return self._row(title, (name, against), self._ratios("per_second", against, name), goal)

    def cpu_row(self, title: str, name: str, against: str) -> Row:
        """Compare the processor time of one request, which neighbours on the machine change least."""
        own, other = (self._cpu(self.runs[which]) for which in (name, against))
        return Row(title, own, "us", other, other / own)

    @staticmethod
    def _cpu(runs: list[dict[str, float]]) -> float:
        """Return the microseconds of one request; of all runs together, since the kernel counts in ticks of 10 ms."""
        return sum(run["cpu_seconds"] for run in runs) / sum(run["requests"] for run in runs) * 1e6

    def _row(self, title: str, subjects: tuple[str, str], ratios: list[float], goal: Goal) -> Row:
        own, other = subjects
        detail = {own: self.runs[own], other: self.runs[other], "ratios": ratios}
        ratio = statistics.median(ratios)
        return Row(title, self.per_second(own), "/s", self.per_second(other), ratio, goal, detail)

    def _ratios(self, measure: str, above: str, below: str) -> list[float]:
        pairs = zip(self.runs[above], self.runs[below], strict=True)
        return [one[measure] / other[measure] for one, other in pairs]


def repeats(plain: Server, few: Daemon, many: Daemon, rounds: int) -> list[Row]:
    """Measure repeats of known alerts, with few rules and with many."""
    subjects = {"bare": (plain, KNOWN), "few rules": (few, KNOWN), "many rules": (many, KNOWN)}
    task = {"first": 0, "distinct": KNOWN_ALERTS, "again": True}
    Flood(subjects, seconds=0.2, **task).rounds(1)  # makes them known
    flood = Flood(subjects, seconds=1.5, **task).rounds(rounds)
    return [
        flood.row("repeats of a known alert", "few rules", "bare", Goal(Sense.AT_LEAST, 0.5)),
        flood.cpu_row("  processor time of one", "few rules", "bare"),
        flood.cost_row(CROWD, "many rules", "few rules", Goal(Sense.AT_MOST, 1.3)),
    ]


def news(plain: Server, few: Daemon, many: Daemon, rounds: int) -> list[Row]:
    """Measure new incidents: opened durably, and those with a ladder in shadow."""
    subjects = {
        "bare": (plain, TOLD),
        "few rules": (few, TOLD),
        "many rules": (many, TOLD),
        "shadow": (few, SHADOWED),
    }
    flood = Flood(subjects, distinct=900, again=False, seconds=20.0).rounds(rounds)
    goal = Goal(Sense.AT_LEAST, 0.2)
    return [
        flood.row("new incidents, durable", "few rules", "bare", goal),
        flood.cpu_row("  processor time of one", "few rules", "bare"),
        flood.cost_row(CROWD, "many rules", "few rules", Goal(Sense.AT_MOST, 1.3)),
        flood.row("new incidents, rule in shadow", "shadow", "bare", goal),
        flood.cpu_row("  processor time of one", "shadow", "bare"),
    ]


def latency(plain: Server, server: Daemon, sink: int, alerts: int) -> list[Row]:
    """Measure alert to action while nothing else happens: from outside, and as the daemon's own metric says."""
    task = {"name": ACTING, "sink": sink, "pause": 0.015}
    cold = load("actions", server.port, first=0, distinct=200, **task)["to_action"]
    before = server.metrics()
    seen = load("actions", server.port, first=1000, distinct=alerts, **task)
    after = server.metrics()
    plainly = load("answers", plain.port, distinct=alerts, **task)["to_answer"]
    other = [seconds * 1000 for seconds in plainly]  # what the machine adds today
    name = "stopgap_alert_to_action_seconds"
    grown = {key: after[key] - before.get(key, 0.0) for key in after if key.startswith(name)}
    inside = grown[f"{name}_sum"] / grown[f"{name}_count"] * 1000
    to_action = [seconds * 1000 for seconds in seen["to_action"]]
    to_ack = [seconds * 1000 for seconds in seen["to_ack"]]
    detail = {"to_action_ms": to_action, "to_ack_ms": to_ack, "own_histogram": grown, "bare_ms": other}
    return [
        Row("alert to action, idle: p50", percentile(to_action, 0.5), "ms", percentile(other, 0.5)),
        Row(
            "  p99",
            percentile(to_action, 0.99),
            "ms",
            percentile(other, 0.99),
            goal=Goal(Sense.BELOW, 10, " ms"),
            detail=detail,
        ),
        Row("  worst", max(to_action), "ms", max(other)),
        Row("  p99 of the 200 alerts before", percentile(cold, 0.99) * 1000, "ms"),
        Row("  to the answer: p50", percentile(to_ack, 0.5), "ms"),
        Row("  own metric, to the step: mean", inside, "ms"),
    ]


def large(plain: Server, rules: Path, data: Path) -> list[Row]:
    """Measure one body with 10 000 new alerts, the same again, the memory that they take, and a restart with them."""
    server = stopgap(rules, data)
    try:
        cold = server.ready_after
        rows = _bodies(plain, server)
        rows.append(
            Row("memory, 10 000 from one body", server.rss_mb, "MB", goal=Goal(Sense.BELOW, 250, " MB"))
        )
    finally:
        server.stop()
    server = stopgap(rules, data)
    try:
        if server.live != MANY:
            raise NotMeasured(f"{server.live} incidents are live after the restart")
        rows.append(
            Row(
                "ready again with 10 000 incidents",
                server.ready_after,
                "s",
                cold,
                server.ready_after / cold,
            )
        )
        server.settle()
        rows.append(Row("  memory then", server.rss_mb, "MB", goal=Goal(Sense.BELOW, 250, " MB")))
    finally:
        server.stop()
    return rows


def _bodies(plain: Server, server: Daemon) -> list[Row]:
    task = {"name": TOLD, "first": 0, "distinct": MANY}
    rows = []
    for title in ("one body, 10 000 new alerts", "  the same again"):
        other = load("large", plain.port, seconds=0.2, **task)
        before = server.metrics()
        own = load("large", server.port, seconds=3.0, **task)
        if own["status"] != 200:
            raise NotMeasured(f"the large body was answered {own['status']}")
        lag = _worst_lag(before, server.metrics())
        stall = max(own["worst_delay"], own["worst_delay_after"]) * 1000
        detail = {"own": own, "bare": other, "own_lag_metric_at_most_s": lag}
        rows += [
            Row(
                title, own["seconds"], "s", other["seconds"], own["seconds"] / other["seconds"], detail=detail
            ),
            Row(
                "  worst answer of /-/healthy then",
                stall,
                "ms",
                other["worst_delay"] * 1000,
                goal=Goal(Sense.BELOW, 100, " ms"),
            ),
        ]
    server.settle()
    return rows


def _worst_lag(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Return the upper bound of the highest bucket of the daemon's own event loop lag that grew."""
    name = "stopgap_event_loop_lag_seconds_bucket"
    bounds = {float(key.partition('le="')[2].rstrip('"}')): key for key in after if key.startswith(name)}
    worst, below = 0.0, 0.0
    for bound, key in sorted(bounds.items()):
        grown = after[key] - before.get(key, 0.0)
        if grown > below:
            worst = bound
        below = grown
    return worst


def memory(server: Daemon) -> Row:
    """Fill a daemon up to 10 000 incidents, one notification each, and weigh it."""
    missing = MANY - server.live
    if missing > 0:
        task = {"name": TOLD, "first": 50_000_000, "distinct": missing, "again": False, "seconds": 20.0}
        load("flood", server.port, **task)
    server.settle()
    return Row(
        "memory, 10 000 open incidents",
        server.rss_mb,
        "MB",
        goal=Goal(Sense.BELOW, 250, " MB"),
        detail={"incidents": server.live},
    )
