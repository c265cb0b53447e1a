"""Trace: the course of one incident of a backtest, as a picture needs it: when it stood how, and how long it held."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from stopgap.incident import Incident, Phase


class Standing(StrEnum):
    """How an incident stands, from what matters least to what matters most where there is room for one."""

    FIRING = "firing"  # and nothing is done about it
    MITIGATING = "mitigating"  # applying, verifying, taking back
    MITIGATED = "mitigated"
    WAITING = "waiting"  # refused
    HANDED_OVER = "handed_over"


_ACTING = frozenset({Phase.MITIGATING, Phase.VERIFYING, Phase.REVERTING})


def standing(state: Incident) -> Standing | None:
    """Return how an incident stands, None when it is closed."""
    if state.phase is Phase.CLOSED:
        return None
    if state.handed_over:
        return Standing.HANDED_OVER
    if state.phase in _ACTING:
        return Standing.MITIGATING
    if state.phase is Phase.MITIGATED or state.held:
        return Standing.MITIGATED
    return Standing.WAITING if state.phase is Phase.WAITING else Standing.FIRING


class Stretch(NamedTuple):
    """A part of an incident during which it stood in one way."""

    standing: Standing
    since: datetime
    until: datetime


@dataclass(slots=True)
class Trace:
    """One incident: its stretches so far, of which the last may be open, and since when it holds what."""

    incident: str
    rule: str
    target: str
    opened_at: datetime
    stretches: list[Stretch] = field(default_factory=list)
    held_from: datetime | None = None
    expired: bool = False  # its lease has ended at least once
    _standing: Standing | None = None
    _since: datetime | None = None

    def reach(self, state: Incident, at: datetime) -> timedelta | None:
        """Take note of how it stands now; returns how long it had held, when it holds nothing any more."""
        self._stand(standing(state), at)
        holds = state.lease_from is not None and state.phase is not Phase.CLOSED
        if holds and self.held_from is None:
            self.held_from = state.lease_from
        elif not holds and self.held_from is not None:
            held, self.held_from = at - self.held_from, None
            return held
        return None

    def end(self, at: datetime) -> None:
        """Close what is open: the period is over."""
        self._stand(None, at)

    def _stand(self, now: Standing | None, at: datetime) -> None:
        if now is self._standing:
            return
        if self._standing is not None and self._since is not None and self._since < at:
            self.stretches.append(Stretch(self._standing, self._since, at))
        self._standing, self._since = now, at
