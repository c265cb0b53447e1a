"""Value: an immutable dataclass that is made as fast as one that is not.

What is frozen is filled by one call for each of its fields, which takes four times as long; where values are made with every alert
and every line, that is a tenth of the processor's time. So the type checker keeps these frozen, and at run time nobody does.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import fields, make_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def cheaply_made(cls: type[T]) -> type[T]:
    """Let a frozen dataclass be made like one that is not; stands above `@dataclass(frozen=True, slots=True)`."""
    made: Any = cls
    after: Callable[[Any], None] | None = getattr(cls, "__post_init__", None)
    twin: Any = make_dataclass(
        cls.__name__,
        [(each.name, Any, copy(each)) for each in fields(made)],
        namespace={} if after is None else {"__post_init__": after},
    )
    made.__init__ = twin.__init__
    del made.__setattr__, made.__delattr__
    return cls
