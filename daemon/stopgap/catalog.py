"""Catalog: the kinds of action and of probe that rules can name, each made once and ready for use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from stopgap.action import Action
from stopgap.probe import Probe


class Measure(Protocol):
    """Asks the measuring system for one number."""

    async def __call__(self, query: str, timeout: timedelta) -> float:  # noqa: ASYNC109 - what a timeout means is the client's
        """Return the number that a query is answered with. Raises ProbeError when there is not exactly one."""
        ...


@dataclass(frozen=True, slots=True)
class Catalog:
    """Actions and probes by the name that a rule writes, and what measures populations."""

    actions: Mapping[str, Action[Any]] = field(default_factory=dict)
    probes: Mapping[str, Probe[Any]] = field(default_factory=dict)
    measure: Measure | None = None
