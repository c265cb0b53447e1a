"""Codes: each is used, each says what it means, and rules/README.md lists them (`UPDATE_GOLDEN=1 pytest …` writes them anew)."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from stopgap.cli.problems import HIDDEN
from stopgap.config import codes
from stopgap.config.codes import Code, Odd, Wrong
from stopgap.config.findings import ELSEWHERE

CODES = [*Wrong, *Odd]
README = Path(__file__).parents[2] / "rules" / "README.md"
BEGIN, END = "<!-- codes -->\n", "<!-- /codes -->"
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


def test_codes_that_are_written_as_words_are_codes():
    assert {*ELSEWHERE, *HIDDEN} <= {str(code) for code in Odd}


def test_no_word_is_both_wrong_and_odd():
    assert not {*map(str, Wrong)} & {*map(str, Odd)}


def table(head: str, codes: Iterable[Code]) -> str:
    rows = "".join(f"| `{code}` | {code.means} |\n" for code in sorted(codes))
    return f"| {head} | means |\n|---|---|\n{rows}"


def test_the_page_about_writing_rules_lists_the_codes():
    listed = f"{table('warning', Odd)}\n{table('error', Wrong)}"
    before, _, rest = README.read_text().partition(BEGIN)
    found, _, after = rest.partition(END)
    if os.environ.get("UPDATE_GOLDEN"):
        README.write_text(f"{before}{BEGIN}{listed}{END}{after}")
        found = listed
    assert found == listed
