"""Effect: one change of the outside, as the outside itself wrote it down, with what the journal held at that moment."""

from dataclasses import asdict, dataclass
from typing import Any

TAKES_BACK = ("revert",)
MISSING = "missing"
"""Stands for an undo that was not on disk."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Who did it (`key`), to what, and how it was before and after.

    `intended` tells whether the intent of this key was on disk right before; `undo` is what was on disk to take it back with.
    """

    number: int
    at: int  # microseconds since 1970
    life: int  # which daemon
    key: str
    resource: str
    before: Any
    after: Any
    intended: bool
    undo: Any

    @property
    def role(self) -> str:
        """Return what it was for: do, activate, revert or reactivate."""
        return self.key.split("/")[3] if self.key.count("/") == 4 else ""

    def written(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def undo_place(key: str) -> tuple[str, str]:
    """Return (incident, act) of the undo that belongs to an idempotency key."""
    incident, rung, step, role, _ = (*key.split("/"), "", "", "", "", "")[:5]
    return incident, f"{rung}/{step}/{'do' if role in TAKES_BACK else role}"
