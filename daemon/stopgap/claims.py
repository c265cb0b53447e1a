"""Claims: whoever knows how far the claims of alerts can be trusted, as the engine asks it."""

from typing import Protocol

from stopgap.incident import Incident
from stopgap.journal import Line


class Claims(Protocol):
    """Whoever knows how far the claims of alerts can be trusted."""

    def doubt(self, identifier: str) -> str:
        """Return why an incident may not act yet, or ""."""
        ...

    def silenced(self, state: Incident) -> bool:
        """Tell whether a person has silenced all of its alerts that fire."""
        ...

    def repeated(self, fingerprint: str) -> None:
        """Take note of an alert that was notified again."""
        ...

    def observe(self, line: Line, state: Incident) -> None:
        """Take note of a committed line."""
        ...
