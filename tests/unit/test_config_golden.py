"""Ways to break a rule, and what a person then reads: `UPDATE_GOLDEN=1 pytest …` writes the texts anew, for review.

The first ten break a rule of four lines.
"""

import os
from pathlib import Path

import pytest
from tests.catalog_fakes import CATALOG

from stopgap.cli.problems import Format, show
from stopgap.config import load
from stopgap.errors import ConfigError

CHECK = Path(__file__).parents[1] / "golden" / "check"
RULES = sorted(path for path in CHECK.glob("*.yaml") if path.name != "site.yaml")
TEN = ["key", "action", "indentation", "matcher", "regex", "duration", "contact", "tab", "name", "type"]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_what_is_wrong_with_a_rule_is_shown_with_its_line_a_caret_and_the_cure(path, monkeypatch, capsys):
    monkeypatch.chdir(CHECK)
    try:
        loaded = load(Path(path.name), CATALOG, environ={"CHAT": "json://chat", "PAGER": "json://pager"})
    except ConfigError as wrong:
        show(wrong.problems, wrong.rules, Format.TEXT)
    else:
        show(loaded.warnings, len(loaded.rules), Format.TEXT)
    said = capsys.readouterr().out
    golden = path.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(said)
    assert said == golden.read_text()


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_each_says_a_cure_within_eighty_columns(path):
    said = path.with_suffix(".txt").read_text().splitlines()
    assert sum(" | " in line and line.strip().endswith("^") for line in said) == sum(
        "hint: " in line for line in said
    )
    assert max(map(len, said)) <= 80


def test_the_first_ten_are_the_ten_ways_to_break_a_rule_of_four_lines():
    first = RULES[:10]
    assert [path.stem.split("-")[-1] for path in first] == TEN
    for path in first:
        rule = path.read_text().splitlines()[:4]
        assert (len(rule), rule[0]) == (4, "rules:")
        assert path.with_suffix(".txt").read_text().splitlines()[-1].endswith(", 1 error, 0 warnings")
