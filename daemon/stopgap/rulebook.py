"""Rulebook: all rules that are loaded at one time, as one value that a reload replaces, and what that changes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from stopgap.matcher import MatcherIndex
from stopgap.rule import AtOnce, Rule

MOST_NAMED = 50  # rules of each kind in what is told of a reload


@dataclass(frozen=True, slots=True)
class Rulebook:
    """The rules by id, the index that finds those of an alert, and the secrets that their templates may use, by pack."""

    rules: Mapping[str, Rule]
    index: MatcherIndex[Rule]
    secrets: Mapping[str, Mapping[str, SecretStr]] = field(default_factory=dict)
    at_once: AtOnce = AtOnce()

    def versions(self) -> dict[str, Any]:
        """Return every rule's document by its version."""
        return {rule.version: rule.document for rule in self.rules.values()}


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reload changes: rules by id, the keys in which the changed ones differ, and what changes `beside` them.

    A default, a var or a message that rules use is part of them: whoever changes it changes these rules.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join(self._parts()) or "nothing changed"

    def told(self) -> dict[str, Any]:
        """Return it as JSON: of each kind some ids, and how many there are."""
        rules = {"added": self.added, "removed": self.removed, "changed": self.changed}
        return {
            "summary": str(self),
            **{kind: list(ids[:MOST_NAMED]) for kind, ids in rules.items()},
            "counts": {kind: len(ids) for kind, ids in rules.items()},
            "keys": list(self.keys),
            "beside": list(self.beside),
        }

    def _parts(self) -> Iterator[str]:
        for word, ids in (("added", self.added), ("removed", self.removed), ("changed", self.changed)):
            if ids:
                rules = "1 rule" if len(ids) == 1 else f"{len(ids)} rules"
                where = f" ({', '.join(self.keys)})" if word == "changed" and self.keys else ""
                yield f"{rules} {word}{where}"
        if self.beside:
            yield f"{', '.join(self.beside)} changed"


UNCHANGED = Changes()


def changes_of(old: Rulebook, new: Rulebook, beside: Mapping[str, bool]) -> Changes:
    """Compare what was in force with what is; `beside` tells of what no rulebook holds whether it changed."""
    both = old.rules.keys() & new.rules.keys()
    changed = sorted(name for name in both if old.rules[name].version != new.rules[name].version)
    found = {"secrets": old.secrets != new.secrets, "at_once": old.at_once != new.at_once, **beside}
    return Changes(
        added=tuple(sorted(new.rules.keys() - both)),
        removed=tuple(sorted(old.rules.keys() - both)),
        changed=tuple(changed),
        keys=tuple(sorted({key for name in changed for key in _differing(old.rules[name], new.rules[name])})),
        beside=tuple(sorted(name for name, differs in found.items() if differs)),
    )


def _differing(old: Rule, new: Rule) -> Iterator[str]:
    for key in old.document.keys() | new.document.keys():
        if old.document.get(key) != new.document.get(key):
            yield key
