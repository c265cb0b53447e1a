"""Knife: when a daemon is killed. The n-th time that it comes to a point, SIGKILL."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

POINTS: Mapping[str, tuple[int, int]] = {
    # the writer of the store: weight, and the largest n
    "batch.inside": (4, 60),  # before a statement that writes, in the middle of a transaction
    "commit.before": (6, 30),
    "commit.during": (4, 30),  # a moment after COMMIT was sent
    "commit.after": (6, 30),  # on disk, and nobody has heard of it
    "line": (3, 60),  # the engine has heard of a line, and nobody else has
    "ack": (2, 8),  # a notification is on disk and not yet answered
    # acts and reverts of the daemon
    "observe": (2, 8),
    "act.before": (4, 5),
    "act.after": (4, 5),
    "revert.before": (4, 3),
    "revert.after": (4, 3),
    "write.before": (2, 3),  # a file of settings
    "write.inside": (2, 3),  # the new file is written and not yet in the old one's place
    "write.after": (2, 3),
    # outside: what the daemon asked for is under way, and its answer never comes
    "effect.before": (3, 5),
    "effect.after": (3, 5),
    # rules are read anew
    "reload.read": (1, 1),
    "reload.remembered": (1, 1),
    "reload.used": (1, 1),
    "reload.noted": (1, 1),
    # start
    "start.opening": (2, 40),  # a statement while the store is being opened
    "start.opened": (1, 1),
    "start.replayed": (2, 1),
    "start.decided": (1, 1),
    "start.listening": (1, 1),
    # SIGTERM
    "drain.begun": (1, 1),
    "drain.acts": (1, 1),
    "drain.store": (1, 1),
    "drain.closed": (1, 1),
    # whenever
    "moment": (5, 400),  # milliseconds after it listens
}

ORPHANS_LIVE = 0.5  # of all deaths, after how many the commands under way go on


@dataclass(frozen=True, slots=True)
class Knife:
    """One point, and how often it is passed unharmed less one; `delay` in microseconds, `orphans_live` what becomes of commands."""

    point: str = ""
    n: int = 1
    delay: int = 0
    orphans_live: bool = False

    def written(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


class Deck:
    """All points, each as often as it weighs, drawn one after the other until they begin anew."""

    def __init__(self, chances: Random) -> None:
        self._chances = chances
        self._left: list[str] = []

    def draw(self) -> Knife:
        """Draw a knife; its point mostly comes soon rather than late."""
        if not self._left:
            self._left = [point for point, (weight, _) in POINTS.items() for _ in range(weight)]
            self._chances.shuffle(self._left)
        point, chances = self._left.pop(), self._chances
        most = POINTS[point][1]
        n = min(chances.randint(1, most), chances.randint(1, most))
        return Knife(point, n, chances.randint(0, 1500), chances.random() < ORPHANS_LIVE)


class Blade:
    """The knife within a daemon: `at` is called wherever there is a point."""

    def __init__(self, knife: Knife) -> None:
        self.passed: Counter[str] = Counter()
        self._knife = knife
        self._left = knife.n

    def at(self, point: str) -> None:
        """Pass a point; the last time, nobody returns."""
        self.passed[point] += 1
        if point != self._knife.point or self._left <= 0:
            return
        self._left -= 1
        if self._left:
            return
        if point == "commit.during":
            threading.Thread(target=self._soon, daemon=True).start()
        else:
            die()

    def _soon(self) -> None:
        time.sleep(self._knife.delay / 1e6)
        die()


def die() -> None:
    """End this process as a power switch would: no clean-up, no last words."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
