"""Condition: `is: '== 1'` is read strictly, compares strictly and prints as it was written."""

import math

import pytest
from hypothesis import given, strategies as st
from pydantic import BaseModel, ValidationError

from stopgap.probes.condition import Condition, Is, is_condition, parse_condition


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ("== 1", 1.0, True),
        ("==1", 1, True),
        ("== 1", 0.0, False),
        ("!= 0", 1.0, True),
        ("!= 0", 0.0, False),
        ("< 0.5", 0.4, True),
        ("< 0.5", 0.5, False),
        ("<= 0.5", 0.5, True),
        ("> -1e3", -999.0, True),
        (">= 2", 1.9, False),
        ("  >   .5 ", math.inf, True),
        ("< 5", math.inf, False),
        ('== "closed"', "closed", True),
        ("!= 'closed'", "open", True),
        ('!= "closed"', "closed", False),
        ('== ""', "", True),
    ],
)
def test_a_condition_compares_a_value_with_its_constant(text, value, holds):
    assert parse_condition(text).holds(value) is holds


@pytest.mark.parametrize("text", ["== 1", "!= 1", "< 1", "<= 1", "> 1", ">= 1"])
@pytest.mark.parametrize("value", [math.nan, "1", True, None, [1]])
def test_nan_and_values_of_another_kind_satisfy_nothing(text, value):
    assert not parse_condition(text).holds(value)


@pytest.mark.parametrize("value", [1.0, None, True])
def test_a_text_is_never_unequal_to_a_number(value):
    assert not parse_condition('!= "closed"').holds(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "=1",
        "1",
        "== one",
        "== nan",
        "== +Inf",
        "=== 1",
        "== 1 or 1",
        '== "a',
        "~ 1",
        "== 0x1",
        "== 1_0",
    ],
)
def test_what_is_no_condition_is_refused_with_the_way_to_write_one(text):
    with pytest.raises(ValueError, match="write '== 1'"):
        parse_condition(text)


def test_a_bare_number_is_refused_with_the_condition_that_was_meant():
    with pytest.raises(ValueError, match="write '== 5'"):
        parse_condition(5)


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
def test_texts_have_no_order(sign):
    with pytest.raises(ValueError, match="compares numbers"):
        parse_condition(f'{sign} "a"')


def test_a_number_beyond_all_bounds_is_refused():
    with pytest.raises(ValueError, match="too large"):
        parse_condition("< 1e999")


def test_a_field_reads_and_prints_a_condition():
    class Asked(BaseModel):
        wanted: Is

    assert Asked.model_validate({"wanted": "<  0.50"}).model_dump() == {"wanted": "< 0.5"}
    with pytest.raises(ValidationError, match="not a condition"):
        Asked.model_validate({"wanted": "about 1"})


@given(
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    st.floats(-1e12, 1e12).map(lambda x: float(f"{x:.15g}")),
)
def test_a_printed_condition_reads_back_as_itself(sign, number):
    condition = Condition(sign, number)
    assert parse_condition(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "meant"), [("== 1", True), ("< x", True), ("up", False), ("<", False), ("", False), (1, False)]
)
def test_a_scalar_that_begins_with_an_operator_is_meant_as_a_condition(text, meant):
    assert is_condition(text) is meant
