"""Case: one fault of a system, and what must hold while its pack's mitigation does, and at the end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.e2e.packs.system import System


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
    begin: Callable[[System], object]
    held: Callable[[System], object]
    end: Callable[[System], object] | None = None
    over: Callable[[System], object] = lambda system: None
    outcome: str = "recovered"
    told: frozenset[str] = frozenset()  # contacts that heard of it
    differs: frozenset[str] = frozenset()  # parts that need not be as before at the end
    answers: Mapping[str, str] = field(default_factory=dict)  # reason of waiting → order of a person

    def __str__(self) -> str:
        return f"{self.pack}-{self.rule}-{self.about}"
