"""Groups: the questions of the bench, in the order in which they are asked; each stands for itself (`--only`)."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench import backtest, commands, disk, growth, large, latency, layers, replicated, storm
from tests.bench.ground import Ground
from tests.bench.report import Row, Section


@dataclass(frozen=True, slots=True)
class Group:
    """One question: its name on the command line, its title in the table, and what `against` means there."""

    name: str
    title: str
    ask: Callable[[Ground], list[Row]]

    def measure(self, ground: Ground) -> Section:
        """Ask it. Raises NotMeasured."""
        return Section(self.name, self.title, tuple(self.ask(ground)))


GROUPS = (
    Group("latency", "From an alert to its http action (against the bare handler's answer)", latency.rows),
    Group("storm", "Notifications of one alert, 32 connections (against the bare handler)", storm.rows),
    Group("disk", "Group commit (against one fsync after the other)", disk.rows),
    Group("large", "One body with many alerts (against the bare handler)", large.rows),
    Group("layers", "Where the time of a new alert goes (against the layer before)", layers.rows),
    Group("exec", "From an alert to what its command does (against webhook)", commands.rows),
    Group("growth", "Open incidents: memory, and recovery after kill -9", growth.rows),
    Group("postgres", "PostgreSQL as the store (against SQLite, or the bare handler)", replicated.rows),
    Group("backtest", "A backtest of a month", backtest.rows),
)
