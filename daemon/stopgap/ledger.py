"""Ledger: the rows that guards read before an act, gathered for one incident.

The store reads it twice: cheaply before anything is observed, and inside the batch that would write the permit. The second
reading is what makes a guard exact: the writer works one operation after the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from stopgap.value import cheaply_made


class BrakeScope(StrEnum):
    """What a brake stops."""

    GLOBAL = "global"
    PACK = "pack"
    RULE = "rule"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class Brake:
    """A durable stop: who, why, until when (None: until released). `name` is empty for the global one."""

    scope: BrakeScope
    name: str
    by: str
    why: str
    since: datetime
    until: datetime | None = None

    def covers(self, rule: str, target: str, now: datetime) -> bool:
        """Tell whether this brake stops a rule on a target now."""
        if self.until is not None and self.until <= now:
            return False
        wanted = {
            BrakeScope.GLOBAL: "",
            BrakeScope.PACK: rule.partition("/")[0],
            BrakeScope.RULE: rule,
            BrakeScope.TARGET: target,
        }
        return self.name == wanted[self.scope]


@cheaply_made
@dataclass(frozen=True, slots=True)
class Failure:
    """An incident that acted and did not hold, and when it acted."""

    incident: str
    at: datetime


@cheaply_made
@dataclass(frozen=True, slots=True)
class Ledger:
    """What the rows say that bears on one Request, all of it about other incidents than the asking one.

    `holders` maps those of the asked resources that another incident holds to that incident's id. `acted_at` is when the last
    incident of this rule and target acted without its mitigation having held. `permits` are the rung starts of the rule inside
    its budget's window, `permits_global` those of all rules, `failures` the incidents of this rule and target that did not hold;
    each newest first, and no more than the guards need. `affected` counts the population's other targets that are held or acted
    upon. `first` is the live incident of a rule that goes first on this target. `starting` and `starting_global` count rungs
    that are about to take a permit.

    A shadow's ledger holds shadows only, and no holders: what it would have done counts against what it would do.
    """

    brakes: tuple[Brake, ...] = ()
    holders: Mapping[str, str] = field(default_factory=dict)
    acted_at: datetime | None = None
    permits: tuple[datetime, ...] = ()
    permits_global: tuple[datetime, ...] = ()
    failures: tuple[Failure, ...] = ()
    affected: int = 0
    first: str = ""
    starting: int = 0
    starting_global: int = 0
