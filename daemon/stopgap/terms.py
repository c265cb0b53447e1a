"""Terms: what the daemon's own flags say about all rules."""

from dataclasses import dataclass
from datetime import timedelta

from stopgap.rule import Mode


@dataclass(frozen=True, slots=True)
class Terms:
    """What the daemon's own flags say: the upper bound of all modes, and how long a new rule is held in shadow."""

    mode: Mode = Mode.AUTO
    probation: timedelta = timedelta()
