"""Fault: one thing that goes wrong, to whom, when and for how long. A seed draws all of a campaign's beforehand.

The same seed draws the same faults at the same distances. What they meet is up to the machine: its timing is its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

LEADER = -1
"""Stands for whichever replica leads when the fault comes."""

KINDS: Mapping[str, int] = {
    # a process
    "kill": 12,
    "hand over": 6,  # SIGTERM of the leader
    "stop": 8,  # SIGSTOP past the lease, then SIGCONT
    "stop at an intent": 8,  # right after the commit of an intent, before or inside its act
    "stop in a transaction": 8,
    "stop in an act": 14,  # between the last look at the lease and the effect
    # its way to the database
    "cut": 8,  # reset, and refused for a while
    "cut before a commit": 6,
    "cut after a commit": 6,  # the server takes it, and its answer is lost
    "silence": 10,  # taken and not passed on; delivered late, or lost, when it is over
    "delay": 6,
    # the database
    "database fast": 3,
    "database immediate": 3,
}
"""Kinds and their weights."""

FOR_THE_LEADER = frozenset({"hand over", "stop at an intent", "stop in an act"})
FOR_NOBODY = frozenset({"database fast", "database immediate"})
PAUSE = (0.1, 1.6)  # seconds between two


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `after` counts from the one before, `lasts` until it heals, both in seconds; `twist` is a number from 0 to 1."""

    number: int
    kind: str
    victim: int
    after: float
    lasts: float
    twist: float

    def __str__(self) -> str:
        whom = "the leader" if self.victim == LEADER else f"replica {self.victim}"
        whom = "" if self.kind in FOR_NOBODY else f" of {whom}"
        return f"{self.number} {self.kind}{whom}, {self.after:.2f} s after the last, for {self.lasts:.2f} s"


def draw(seed: int, faults: int, replicas: int, ttl: float) -> tuple[Fault, ...]:
    """Draw so many faults."""
    chances = Random(seed)
    return tuple(_one(chances, number, replicas, ttl) for number in range(1, faults + 1))


def _one(chances: Random, number: int, replicas: int, ttl: float) -> Fault:
    kind = chances.choices(list(KINDS), list(KINDS.values()))[0]
    anybody = chances.choice((LEADER, LEADER, *range(replicas)))
    victim = LEADER if kind in FOR_THE_LEADER else anybody
    share, twist = chances.random(), chances.random()
    after = chances.uniform(*PAUSE)
    return Fault(number, kind, victim, round(after, 3), round(_lasts(kind, share, ttl), 3), round(twist, 3))


def _lasts(kind: str, share: float, ttl: float) -> float:
    """Return for how many seconds; most outlast the lease, or end about when it does."""
    shortest, longest = {
        "stop": (0.9, 2.5),
        "stop at an intent": (1.1, 2.5),
        "stop in an act": (1.3, 2.5),
        "stop in a transaction": (0.9, 2.5),
        "silence": (0.3, 3.0),
        "cut": (0.0, 1.5),
        "delay": (0.5, 3.0),
        "kill": (0.1, 1.5),
        "hand over": (0.1, 1.0),
    }.get(kind, (0.0, 0.0))
    return ttl * (shortest + share * (longest - shortest))
