"""Abacus: counts that are put into their counters only when somebody reads these, which is seldom.

A counter of the library checks, locks and adds in Python; what is counted with every notification is kept as plain numbers.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class Abacus(Collector):
    """Belongs to one registry, of which it must be the first collector, and to one thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counts: dict[Counter, int] = {}
        registry.register(self)

    def count(self, counter: Counter, count: int = 1) -> None:
        """Add to a counter without labels, or to one child of a family."""
        self._counts[counter] = self._counts.get(counter, 0) + count

    def collect(self) -> Iterable[Metric]:
        """Put everything into the counters that are read next; have nothing of one's own to say."""
        for counter, count in self._counts.items():
            counter.inc(count)
        self._counts.clear()
        return ()


class Family:
    """The children of a counter with one label: asking the library for one takes longer than counting."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._children: dict[str, Counter] = {}

    def of(self, value: str) -> Counter:
        """Return the child with this value of the label."""
        child = self._children.get(value)
        if child is None:
            child = self._children[value] = self._counter.labels(value)
        return child
