"""Codes: each is used, and each says what it means."""

import re
from pathlib import Path

import pytest

from stopgap.config import codes
from stopgap.config.codes import Odd, Wrong

CODES = [*Wrong, *Odd]
SOURCES = [path for path in Path(codes.__file__).parents[1].rglob("*.py") if path != Path(codes.__file__)]
USED = {
    f"{kind}.{name}"
    for path in SOURCES
    for kind, name in re.findall(r"\b(Wrong|Odd)\.([A-Z_]+)\b", path.read_text())
}


def test_every_code_of_the_table_is_used_and_every_used_one_is_there():
    assert {f"{type(code).__name__}.{code.name}" for code in CODES} == USED


@pytest.mark.parametrize("code", CODES)
def test_a_code_is_a_word_in_kebab_case_that_says_what_it_means(code):
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
    assert code == code.name.lower().replace("_", "-")
    assert code.means


def test_no_word_is_both_wrong_and_odd():
    assert not {*map(str, Wrong)} & {*map(str, Odd)}
