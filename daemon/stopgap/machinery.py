"""Machinery: metrics of the process itself: its journal, its event loop and clock, its connections, and whether it leads."""

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BEATS = ("succeeded", "failed", "withheld")

_COMMIT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Machinery:
    """Owns the registry, and what is in it of the process; told by its parts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._journal()
        self._replicas()
        self._loop()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"stopgap_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"stopgap_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"stopgap_{name}", text, labels, registry=self.registry, buckets=buckets)

    def _journal(self) -> None:
        self._commit = self._histogram(
            "journal_commit_seconds", "How long a batch took to be on disk.", _COMMIT
        )
        self._batch = self._histogram(
            "journal_batch_size", "Operations per batch.", (1, 2, 5, 10, 20, 50, 100, 200, 500)
        )
        self._queue = self._gauge("journal_queue_length", "Operations waiting for the writer.")
        self._pruned = self._counter("incidents_pruned_total", "Closed incidents past their retention.")
        self._oldest = self._gauge(
            "journal_oldest_timestamp_seconds", "When the oldest closed incident opened that is kept."
        )

    def _replicas(self) -> None:
        self._leader = self._gauge("leader", "1 while this daemon leads, 0 while it stands by.")
        self._epoch = self._gauge(
            "leader_epoch",
            "Of the lead that this daemon has on a shared database; 0 while it stands by, or shares none.",
        )
        self._letters = self._gauge(
            "inbox_letters",
            "Notifications that daemons which stand by have taken, found at the last look; at most 100.",
        )
        self._first_letter = self._gauge(
            "inbox_oldest_timestamp_seconds",
            "When the first of them came that waited at the last look; 0 while none waits.",
        )
        self._unread = self._counter(
            "inbox_unreadable_total", "Notifications taken by daemons which stand by that could not be read."
        )

    def _loop(self) -> None:
        self._lag = self._histogram("event_loop_lag_seconds", "How late the event loop woke up.", _LAG)
        self._heartbeat = self._gauge("heartbeat_timestamp_seconds", "When the event loop last turned.")
        self._ahead = 0.0
        self._offset = self._gauge(
            "clock_offset_seconds", "How far the wall clock is ahead of the daemon's own time: it jumped."
        )
        self._beats = self._counter(
            "heartbeat_sent_total", "Heartbeats to the outside, by what came of them.", "result"
        )
        self._shed = self._counter(
            "connections_shed_total", "Connections closed because there were too many."
        )

    # --- told by others ---

    def committed(self, operations: int, seconds: float) -> None:
        """Note one batch of the journal; may be called from its thread."""
        self._batch.observe(operations)
        self._commit.observe(seconds)

    def pruned(self, incidents: int, oldest: datetime | None) -> None:
        """Note one round of pruning: how many incidents it threw away, and when the oldest opened that is left."""
        self._pruned.inc(incidents)
        self._oldest.set(oldest.timestamp() if oldest is not None else 0)

    def leads(self, epoch: int, *, certain: bool) -> None:
        """Note whether this daemon leads, and in which epoch of a shared database."""
        self._leader.set(certain)
        self._epoch.set(epoch if certain else 0)

    def waiting(self, letters: int) -> None:
        """Note how many letters of other daemons were found."""
        self._letters.set(letters)

    def waiting_since(self, at: datetime | None) -> None:
        """Note when the first letter came that waits."""
        self._first_letter.set(at.timestamp() if at is not None else 0)

    def unreadable(self) -> None:
        """Count one letter of another daemon that could not be read."""
        self._unread.inc()

    def lagged(self, seconds: float, now: datetime, offset: float = 0.0) -> None:
        """Note how late the event loop woke up, that it turned, and how far the wall clock is ahead; Prometheus has that one."""
        self._lag.observe(seconds)
        self._heartbeat.set(now.timestamp() + offset)
        self._offset.set(offset)
        self._ahead = offset

    def beat(self, result: str) -> None:
        """Count one heartbeat to the outside, by one of `BEATS`."""
        self._beats.labels(result).inc()

    def shed(self) -> None:
        """Count one connection that was closed because there were too many."""
        self._shed.inc()
