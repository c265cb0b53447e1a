"""Probe: a question to live data, with three answers. Unknown is never success and never a reason for a further risky step."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import ClassVar, Protocol

from stopgap.action import P
from stopgap.value import cheaply_made


class Verdict(StrEnum):
    """The answer of a probe (DESIGN 5.4)."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@cheaply_made
@dataclass(frozen=True, slots=True)
class Finding:
    """One answer: the verdict, why in a line (`max(pms_mock_mode) = 0, wanted == 1`), no secrets, at most 300 characters."""

    verdict: Verdict
    why: str


class Probe(Protocol[P]):
    """One kind of question. Instances are made once, in `app.py`, and hold their clients; `params` come with every call."""

    name: ClassVar[str]
    after: ClassVar[float]  # default of the probe key `after`, in seconds
    params: type[P]

    def describe(self, params: P) -> str:
        """Say in one line what is asked, secrets masked, without I/O."""
        ...

    async def ask(self, params: P, timeout: timedelta) -> Finding:  # noqa: ASYNC109 - what a timeout means is the probe's
        """Ask once, within `timeout` (the probe key). Raises ProbeError (or anything else) for unknown.

        The probe bounds itself, because silence is an answer to some (tcp: unhealthy); an overrun is unknown.
        """
        ...
