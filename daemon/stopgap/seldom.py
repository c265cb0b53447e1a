"""Seldom: lets something be said at most once per interval, and counts what went unsaid meanwhile.

What strangers can cause (bad requests, refused logins) must not be able to fill a log or a journal.
"""

from collections.abc import Callable
from datetime import timedelta
from time import monotonic

MOST_KEYS = 64


class Seldom:
    """One allowance per key and interval; at most `MOST_KEYS` keys are told apart."""

    def __init__(self, interval: timedelta, time: Callable[[], float] = monotonic) -> None:
        self._interval = interval.total_seconds()
        self._time = time
        self._said_at: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def ask(self, key: str = "") -> int | None:
        """Return how often it went unsaid since it was last said, when it may be said now; None when not."""
        if key not in self._said_at and len(self._said_at) >= MOST_KEYS:
            key = ""
        now = self._time()
        if key in self._said_at and now - self._said_at[key] < self._interval:
            self._unsaid[key] = self._unsaid.get(key, 0) + 1
            return None
        self._said_at[key] = now
        return self._unsaid.pop(key, 0)
