"""Choice: which of the files that were found are to be cleared away: by name, by age, without the newest, within bounds. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from stopgap.sweep.folder import Found


@dataclass(frozen=True, slots=True)
class Choice:
    """What to take: patterns of names, an age, how many of the newest in each folder stay."""

    match: tuple[str, ...]
    before_ns: int | None  # modified no later than this
    keep_newest: int = 0

    def named(self, name: str) -> bool:
        """Tell whether a file's name is meant; as in a shell, a leading dot must be written."""
        return any(
            fnmatchcase(name, pattern) and name.startswith(".") == pattern.startswith(".")
            for pattern in self.match
        )

    def of(self, files: Iterable[Found]) -> list[Found]:
        """Return what is taken, the oldest first."""
        folders: dict[tuple[str, ...], list[Found]] = defaultdict(list)
        for one in files:
            if self.named(one.name):
                folders[one.parts].append(one)
        taken = []
        for each in folders.values():
            each.sort(key=_age, reverse=True)
            taken += [one for one in each[self.keep_newest :] if self._old(one)]
        return sorted(taken, key=_age)

    def _old(self, one: Found) -> bool:
        return self.before_ns is None or one.modified_ns <= self.before_ns


def _age(one: Found) -> tuple[int, tuple[str, ...], str]:
    return one.modified_ns, one.parts, one.name


def within(files: list[Found], most: int, most_bytes: int | None) -> list[Found]:
    """Return the first of the files, as many as both bounds leave."""
    room = most_bytes
    for i, one in enumerate(files[:most]):
        if room is not None:
            if one.frees > room:
                return files[:i]
            room -= one.frees
    return files[: max(most, 0)]
