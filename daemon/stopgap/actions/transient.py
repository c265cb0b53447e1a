# ruff: noqa: ARG002 - the port's signatures
"""Transient: an action that leaves nothing behind to take back."""

from typing import Generic

from stopgap.action import Json, Moment, P, Restored, Reverted, Settled


class Transient(Generic[P]):
    """The half of the port that is about taking back, for actions that have nothing to take back."""

    def reverts(self, params: P) -> bool:
        """Tell that there is nothing to take back."""
        return False

    def undo_by_hand(self, params: P, before: Json) -> str:
        """Say that there is nothing to take back."""
        return "nothing"

    def settled_revert(self, params: P, before: Json, now: Json) -> Settled:
        """Tell that nothing was to be done."""
        return Settled.DONE

    async def revert(self, params: P, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Do nothing."""
        return Reverted(Restored.NOTHING)
