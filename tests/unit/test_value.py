"""Values that are made as fast as what is not frozen, and are what their dataclass says in all else."""

from dataclasses import dataclass, field, fields, replace

import pytest

from stopgap.value import cheaply_made


@cheaply_made
@dataclass(frozen=True, slots=True)
class Thing:
    """A thing."""

    name: str
    count: int = 3
    parts: list[str] = field(default_factory=list, compare=False)
    twice: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.count)


@cheaply_made
@dataclass(frozen=True, slots=True)
class Plain:
    """Nothing is done after it is made."""

    name: str = "x"


def test_it_has_its_defaults_and_what_follows_from_them():
    thing = Thing("a")
    assert (thing.name, thing.count, thing.parts, thing.twice) == ("a", 3, [], 6)
    assert Thing("b").parts is not thing.parts
    assert Thing(name="a", count=4, parts=["p"]).parts == ["p"]
    assert Plain() == Plain("x") != Plain("y")


def test_it_is_equal_hashed_shown_and_replaced_as_before():
    assert Thing("a") == Thing("a", parts=["other"])
    assert len({Thing("a"), Thing("a"), Thing("a", 4)}) == 2
    assert repr(Thing("a", 1)) == "Thing(name='a', count=1, parts=[])"
    assert replace(Thing("a", 1), count=5).twice == 10
    assert [each.name for each in fields(Thing)] == ["name", "count", "parts", "twice"]


def test_it_takes_no_other_fields():
    with pytest.raises(TypeError, match="oops"):
        Thing("a", oops=1)
    with pytest.raises(AttributeError):
        Thing("a").oops = 1
