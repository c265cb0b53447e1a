"""Actions and probes of third parties stand in the schema with all that they take."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from jsonschema import Draft7Validator
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, PlainValidator, WrapValidator
from tests.full_rules import underlined

from stopgap.action import Danger, Params
from stopgap.catalog import Catalog
from stopgap.schema import whole
from stopgap.schema.form import table_of


def rule(**more: Any) -> dict[str, Any]:
    return {"rules": [{"name": "one", "match": 'a="b"', **more}]}


class Colour(StrEnum):
    RED = "red"


class Box(BaseModel):
    inner: "Box | None" = None


class Anything:
    """A type that JSON has no word for."""


class PaintParams(Params):
    scalar = "colour"
    siblings = frozenset({"is", "coats"})

    colour: Colour
    is_: Annotated[str, Field(alias="is")]
    coats: int = 1
    box: Box | None = None
    before: Annotated[str, BeforeValidator(str)] = ""
    plain: Annotated[str, PlainValidator(str)] = ""
    wrapped: Annotated[str, WrapValidator(lambda value, inner: inner(value))] = ""
    after: Annotated[str, AfterValidator(str)] = ""
    odd: Anything | None = None
    one: Annotated[float | bool, BeforeValidator(str, json_schema_input_type=float | bool)] = 0.5


class Paint:
    """Paint the wall.

    Twice.
    """

    name: ClassVar[str] = "paint"
    danger = Danger.NONE
    params = PaintParams


class Nothing(Params):
    """Takes nothing."""


class Rest:
    """Do nothing."""

    params = Nothing


def test_an_action_of_a_third_party_stands_there_with_all_that_it_takes():
    kinds: Any = {"paint": Paint(), "rest": Rest()}
    schema = Draft7Validator(whole(Catalog(actions=kinds, probes={"paint": Paint(), "asked": Paint()})))  # type: ignore[dict-item]
    good = (
        {"paint": "red", "is": "wet"},
        {"paint": "{{ labels.colour }}", "is": "wet", "coats": "2"},
        {"paint": {"colour": "red", "is": "wet", "coats": 2}},
        {"paint": {"colour": "red", "before": 5, "plain": [], "wrapped": {}, "odd": 3}, "is": "x"},
        {"paint": {"colour": "red", "box": {"inner": {"inner": {"x": 1}}}, "one": "0.5"}, "is": "x"},
        {"rest": None},
        {"rest": {}},
    )
    for step in good:
        assert underlined(rule(do=[step]), schema) == [], step
    for step in (
        {"paint": "blue", "is": "x"},
        {"paint": "red"},
        {"paint": {"colour": "red", "after": 5}, "is": "x"},
        {"rest": 5},
    ):
        assert underlined(rule(do=[step]), schema) != [], step
    two = {"asked": "red", "is": "x"}
    assert underlined(rule(do=[{"rest": None}], verify=[two, {"paint": "red", "is": "x"}]), schema) == []
    assert underlined(rule(do=[{"rest": None}], verify=[{"is": "x"}]), schema) != []
    assert table_of(Nothing)["properties"] == {}
