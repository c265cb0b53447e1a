"""Catalog: the kinds of action and of probe that rules can name, each made once and ready for use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from stopgap.action import Action, Danger
from stopgap.probe import Probe


class Measure(Protocol):
    """Asks the measuring system for one number."""

    async def __call__(self, query: str, timeout: timedelta) -> float:  # noqa: ASYNC109 - what a timeout means is the client's
        """Return the number that a query is answered with. Raises ProbeError when there is not exactly one."""
        ...


@dataclass(frozen=True, slots=True)
class Catalog:
    """Actions and probes by the name that a rule writes, and what measures populations.

    Probes that are `prompt` answer at once, whatever they are asked: nobody need bound their time or their number.
    """

    actions: Mapping[str, Action[Any]] = field(default_factory=dict)
    probes: Mapping[str, Probe[Any]] = field(default_factory=dict)
    measure: Measure | None = None
    prompt: bool = False


def danger_of(action: Action[Any], given: object) -> Danger:
    """Say how much a step with these parameters can destroy, or what the action can at all.

    They are as the rule writes them; an action of third parties may tell nothing by them.
    """
    asked = getattr(action, "danger_of", None)
    return asked(given) if asked is not None and isinstance(given, Mapping) else action.danger
