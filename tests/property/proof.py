"""Proof: every answer that a probe gave, lined or not, and for how long all of them have been healthy."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stopgap.incident import Event, EventKind as K
from stopgap.probe import Verdict

FRESH = {
    K.RUNG_STARTED: ("verify/",),
    K.RESOLVED: ("verify/", "recovered/"),
}
"""Which probes have to prove themselves anew after a line."""


@dataclass
class Healthy:
    """An unbroken row of healthy answers."""

    since: datetime
    until: datetime


@dataclass
class Answers:
    """The answers of one incident's probes since they last had to prove themselves anew."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    at: dict[str, datetime] = field(default_factory=dict)
    healthy: dict[str, Healthy] = field(default_factory=dict)

    def take(self, key: str, verdict: Verdict, at: datetime) -> None:
        self.verdicts[key], self.at[key] = verdict, at
        if verdict is not Verdict.HEALTHY:
            self.healthy.pop(key, None)
        elif key in self.healthy:
            self.healthy[key].until = at
        else:
            self.healthy[key] = Healthy(at, at)

    def read(self, event: Event) -> None:
        for role in FRESH.get(event.kind, ()):
            self.forget(role)

    def forget(self, role: str = "") -> None:
        for kept in (self.verdicts, self.at, self.healthy):
            for key in [key for key in kept if key.startswith(role)]:
                del kept[key]

    def restart(self, at: datetime) -> None:
        """What was healthy before a restart counts from there on only."""
        for row in self.healthy.values():
            row.since = at

    def last(self, role: str) -> dict[str, Verdict]:
        return {key: verdict for key, verdict in self.verdicts.items() if key.startswith(role)}

    def oldest(self, role: str) -> datetime:
        return min(at for key, at in self.at.items() if key.startswith(role))

    def proven(self, role: str, lengths: list[timedelta], *, together: bool = False) -> bool:
        """Tell whether each was healthy for its time; `together` counts from when the last of them became healthy."""
        rows = [self.healthy.get(f"{role}/{i}") for i in range(len(lengths))]
        found = [row for row in rows if row is not None]
        if len(found) < len(rows):
            return False
        start = max((row.since for row in found), default=None)
        return all(
            row.until - (start if together and start else row.since) >= length
            for row, length in zip(found, lengths, strict=True)
        )
