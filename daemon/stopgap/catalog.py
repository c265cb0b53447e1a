"""Catalog: the kinds of action and of probe that rules can name, each made once and ready for use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stopgap.action import Action
from stopgap.probe import Probe


@dataclass(frozen=True, slots=True)
class Catalog:
    """Actions and probes by the name that a rule writes."""

    actions: Mapping[str, Action[Any]] = field(default_factory=dict)
    probes: Mapping[str, Probe[Any]] = field(default_factory=dict)
