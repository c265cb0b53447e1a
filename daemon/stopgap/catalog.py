"""Catalog: all actions and probes that rules may name, made once with their clients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stopgap.action import Action
from stopgap.probe import Probe


@dataclass(frozen=True, slots=True)
class Catalog:
    """Actions and probes by name."""

    actions: Mapping[str, Action[Any]]
    probes: Mapping[str, Probe[Any]]
