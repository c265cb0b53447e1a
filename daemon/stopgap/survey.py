"""Survey: what all Alertmanagers that are configured say of their alerts at one moment, laid together. Pure.

A poll proves that an alert is there. That one is *not* there is proven only by all of them: each answered, each knows our receiver,
each runs long enough for Prometheus to have sent every alert again (right after its start an Alertmanager knows of none).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from stopgap.alert import Alert

_QUOTED = re.compile(r"\\([\\.+*?()|\[\]{}^$])")  # what Go's regexp.QuoteMeta makes


class State(StrEnum):
    """What Alertmanager makes of an alert: only an active one is told to receivers. Alerts in a mute interval are active here."""

    ACTIVE = "active"
    SUPPRESSED = "suppressed"
    UNPROCESSED = "unprocessed"  # not routed yet, or a state of which we do not know


@dataclass(frozen=True, slots=True)
class Polled:
    """One alert of a poll; it fires. `alert.ends_at` is None, as a webhook has it."""

    alert: Alert
    state: State
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]
    receivers: tuple[str, ...]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """How long an Alertmanager runs, by its own clock, and its version."""

    uptime: timedelta
    version: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one Alertmanager answered in a survey: first its alerts, then its status, so that a restart in between shows."""

    alerts: tuple[Polled, ...]
    status: Status


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why one Alertmanager gave no answer, in a line without secrets."""

    why: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What all Alertmanagers said, begun at `at`; `heard` goes by URL without secrets, `alerts` by fingerprint.

    `complete`: there are some and each answered. `settled`: complete, and each runs longer than twice Prometheus' resend delay.
    An alert that is absent from `alerts` is gone only where `settled`, and only when it stays so.
    """

    at: datetime
    heard: Mapping[str, Answer | Flaw]
    complete: bool
    settled: bool
    alerts: Mapping[str, Polled]


class Surveyor(Protocol):
    """Asks all Alertmanagers; false where none is configured."""

    def __bool__(self) -> bool: ...

    async def survey(self, receiver: str | None) -> Survey:
        """Ask about one receiver, by its name as configured, or about all alerts."""
        ...


_RANK = {State.UNPROCESSED: 0, State.SUPPRESSED: 1, State.ACTIVE: 2}


def merged(polls: Sequence[Iterable[Polled]]) -> dict[str, Polled]:
    """Lay what several say of the same alerts together, by fingerprint: active where one says active.

    Where none does, all that silence or inhibit it are named. Of two equal accounts the later counts.
    """
    found: dict[str, Polled] = {}
    for poll in polls:
        for one in poll:
            other = found.get(one.alert.fingerprint)
            found[one.alert.fingerprint] = one if other is None else _joined(other, one)
    return found


def _joined(one: Polled, other: Polled) -> Polled:
    first, second = sorted((one, other), key=lambda each: (_RANK[each.state], each.updated_at), reverse=True)
    if first.state is State.ACTIVE:
        return first
    return replace(
        first,
        silenced_by=_union(first.silenced_by, second.silenced_by),
        inhibited_by=_union(first.inhibited_by, second.inhibited_by),
    )


def _union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one + other))


def receiver_name(sent: str) -> str:
    r"""Return the configured name of the receiver that a webhook body names: Alertmanager sends it escaped (`a \(b\)`)."""
    return _QUOTED.sub(r"\1", sent)
