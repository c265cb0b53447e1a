"""Nineteen ways to break a rule, and what a person then reads: `UPDATE_GOLDEN=1 pytest …` writes the texts anew, for review."""

import os
import textwrap
from pathlib import Path

import pytest
from tests.catalog_fakes import CATALOG

from stopgap.config import load
from stopgap.errors import ConfigError

BROKEN = Path(__file__).parents[1] / "golden" / "broken"
RULES = sorted(path for path in BROKEN.glob("*.yaml") if path.name != "site.yaml")


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_a_broken_rule_is_said_with_place_key_and_cure(path, monkeypatch):
    monkeypatch.chdir(BROKEN)
    with pytest.raises(ConfigError) as caught:
        load(Path(path.name), CATALOG, environ={"CHAT": "json://chat", "PAGER": "json://pager"})
    said = "".join(
        "\n".join(textwrap.wrap(str(each), 80, subsequent_indent="  ", break_long_words=False)) + "\n"
        for each in caught.value.problems
    )
    golden = path.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(said)
    assert said == golden.read_text()


def test_there_are_nineteen_ways():
    assert len(RULES) == 19
