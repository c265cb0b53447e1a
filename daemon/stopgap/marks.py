"""Marks: which names an alert bears, by its fingerprint: the incidents that it is part of, the rules that have served it."""

from collections.abc import Iterable, Set as AbstractSet

_NONE: frozenset[str] = frozenset()


class Marks:
    """A set of names per fingerprint; an alert without a name takes no room."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def of(self, fingerprint: str) -> AbstractSet[str]:
        """Return the names that an alert bears, as they are now: a view."""
        return self._names.get(fingerprint, _NONE)

    def add(self, name: str, fingerprints: Iterable[str]) -> None:
        """Put a name on alerts."""
        for fingerprint in fingerprints:
            self._names.setdefault(fingerprint, set()).add(name)

    def remove(self, name: str, fingerprints: Iterable[str]) -> None:
        """Take a name off alerts."""
        for fingerprint in fingerprints:
            names = self._names.get(fingerprint, set())
            names.discard(name)
            if not names:
                self._names.pop(fingerprint, None)
