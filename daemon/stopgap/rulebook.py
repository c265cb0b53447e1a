"""Rulebook: all rules that are loaded at one time, as one value that a reload replaces."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from stopgap.matcher import MatcherIndex
from stopgap.rule import AtOnce, Rule


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
