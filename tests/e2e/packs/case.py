"""Case: one fault of a system, and what must hold while its pack's mitigation does, and at the end."""

from collections.abc import Callable, Mapping, Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """`begin` breaks a system, `held` asserts what the mitigation did to its parts, `end` repairs the cause.

    Without `end` the mitigation itself is the repair. `steps` are the actions that must have succeeded before it, in order;
    `over` asserts what else holds at the end.
    """

    pack: str
    rule: str
    about: str
    steps: tuple[str, ...]
    begin: Callable[[Any], object]
    held: Callable[[Any], object]
    end: Callable[[Any], object] | None = None
    over: Callable[[Any], object] = lambda _: None
    outcome: str = "recovered"
    told: AbstractSet[str] = frozenset()  # contacts that heard of it
    differs: AbstractSet[str] = frozenset()  # parts that need not be as before at the end
    answers: Mapping[str, str] = field(default_factory=dict)  # `approval`, `manual` → what a person orders

    def __str__(self) -> str:
        return f"{self.pack}-{self.rule}-{self.about}"
