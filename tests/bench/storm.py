"""Storm: how many notifications per second, repeats and new ones, with few rules and with many, against the bare handler."""

import statistics
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from typing import Any

from tests.bench.ground import Ground
from tests.bench.report import Goal, Row, Sense, spelled
from tests.bench.rules import KNOWN, SHADOWED, TOLD
from tests.bench.servers import Daemon, NotMeasured, Server, load

KNOWN_ALERTS = 100
FASTER = 4  # times as many new alerts for the bare handler, which needs no disk
REPEATS, NEWS = Goal(Sense.AT_LEAST, 0.6), Goal(Sense.AT_LEAST, 0.25)
NEWS_EACH_SECOND = Goal(Sense.AT_LEAST, 5000, "/s")
CROWDED = Goal(Sense.AT_MOST, 1.3)

Run = Mapping[str, float]


class Flood:
    """Throughput of several servers under the same load, in alternating rounds."""

    def __init__(self, subjects: Mapping[str, tuple[Server, str]], **task: Any) -> None:
        """Take what to send to whom: server and alertname by the subject's name."""
        self._subjects = subjects
        self._task = task
        self._first: Iterator[int] = count(0, 100_000)
        self.runs: dict[str, list[Run]] = {name: [] for name in subjects}

    def rounds(self, times: int) -> "Flood":
        """Measure every subject so many times; each second round in the opposite order."""
        for number in range(times):
            order = list(self._subjects)
            for name in order if number % 2 == 0 else reversed(order):
                self.runs[name].append(self._run(*self._subjects[name]))
        return self

    def _run(self, server: Server, alertname: str) -> Run:
        task = dict(self._task)
        if not task["again"]:
            task["first"] = next(self._first)
            task["distinct"] *= 1 if isinstance(server, Daemon) else FASTER
        before = server.cpu_seconds
        result = load("flood", server.port, name=alertname, **task)
        requests = result["requests"]
        if result["statuses"] != {"200": requests}:
            raise NotMeasured(f"not everything was answered 200: {result['statuses']}")
        worked_on = 0.0 if self._task["again"] else server.settle()
        return {
            "per_second": requests / result["seconds"],
            "with_all_that_follows": requests / (result["seconds"] + worked_on),
            "cpu_seconds": server.cpu_seconds - before,
            "worked_on": worked_on,
            "requests": requests,
            "load_busy": result["busy"],
        }

    def median(self, name: str, measure: str = "per_second") -> float:
        """Return a subject's median."""
        return statistics.median(run[measure] for run in self.runs[name])

    def ratio(self, above: str, below: str) -> float:
        """Return the median of the rounds' ratios, in which a slow moment of the machine hits both sides."""
        pairs = zip(self.runs[above], self.runs[below], strict=True)
        return statistics.median(one["per_second"] / other["per_second"] for one, other in pairs)

    def row(self, title: str, own: str, against: str, goal: Goal | None = None) -> Row:
        """Compare rates."""
        ratio = self.ratio(own, against)
        return Row(
            title, self.median(own), "/s", self.median(against), ratio, goal, self._detail(own, against)
        )

    def cost_row(self, title: str, own: str, against: str, goal: Goal) -> Row:
        """Compare what one request costs: the other's rate by one's own."""
        return Row(title, self.median(own), "/s", self.median(against), self.ratio(against, own), goal)

    def cpu(self, name: str) -> float:
        """Return the microseconds of one request; of all runs together, since the kernel counts in ticks of 10 ms."""
        runs = self.runs[name]
        return sum(run["cpu_seconds"] for run in runs) / sum(run["requests"] for run in runs) * 1e6

    def cpu_row(self, title: str, own: str, against: str) -> Row:
        """Compare the processor time of one request, which neighbours on the machine change least."""
        mine, other = self.cpu(own), self.cpu(against)
        return Row(title, mine, "us", other, mine / other)

    def _detail(self, own: str, against: str) -> dict[str, Any]:
        return {own: self.runs[own], against: self.runs[against]}


def repeats_of(subjects: Mapping[str, Server], ground: Ground) -> Flood:
    """Flood each server with repeats of alerts that it knows."""
    task = {"first": 0, "distinct": KNOWN_ALERTS, "again": True}
    known = {name: (server, KNOWN) for name, server in subjects.items()}
    Flood(known, seconds=0.2, **task).rounds(1)  # makes them known
    return Flood(known, seconds=ground.scale.seconds, **task).rounds(ground.scale.rounds)


def news_of(subjects: Mapping[str, tuple[Server, str]], ground: Ground) -> Flood:
    """Flood each server with alerts that are new to it."""
    scale = ground.scale
    flood = Flood(subjects, distinct=scale.news, again=False, seconds=scale.seconds)
    return flood.rounds(scale.rounds)


def rows(ground: Ground) -> list[Row]:
    """Measure repeats and news, with 10 rules and with more."""
    with ExitStack() as stack:
        daemons = {
            f"{size} rules": stack.enter_context(ground.daemon(f"storm-{size}", size))
            for size in ground.scale.crowds
        }
        few = stack.enter_context(ground.daemon("storm"))
        servers: dict[str, Server] = {"bare": stack.enter_context(ground.bare()), "few": few, **daemons}
        repeats = repeats_of(servers, ground)
        subjects = {name: (server, TOLD) for name, server in servers.items()}
        news = news_of({**subjects, "shadow": (few, SHADOWED)}, ground)
    return [
        repeats.row("repeats of known alerts", "few", "bare", REPEATS),
        repeats.cpu_row("  processor time of one", "few", "bare"),
        *(_crowd(repeats, size) for size in ground.scale.crowds),
        news.row("new incidents, durable", "few", "bare", NEWS),
        Row("  alone", news.median("few"), "/s", goal=NEWS_EACH_SECOND),
        Row("  and all that follows them", news.median("few", "with_all_that_follows"), "/s"),
        news.cpu_row("  processor time of one", "few", "bare"),
        *(_crowd(news, size) for size in ground.scale.crowds),
        news.row("new incidents, rule in shadow", "shadow", "bare"),
    ]


def _crowd(flood: Flood, size: int) -> Row:
    return flood.cost_row(f"  {spelled(size)} rules, cost to 10", f"{size} rules", "few", CROWDED)
