"""Nature: what is known of a step before an alert fires: how much it can destroy, and whether it can be taken back or repeated."""

from dataclasses import dataclass

from stopgap.action import Danger


@dataclass(frozen=True, slots=True)
class Nature:
    """The nature of one step; where its parameters are not known yet, that of one that can be taken back."""

    danger: Danger = Danger.NONE
    reverts: bool = True
    idempotent: bool = True
    prose: frozenset[str] = frozenset()  # parameters that only people read

    @property
    def acts(self) -> bool:
        """Tell whether it changes anything."""
        return self.danger is not Danger.NONE

    @property
    def final(self) -> bool:
        """Tell whether it can be neither taken back nor repeated."""
        return self.acts and not (self.reverts or self.idempotent)
