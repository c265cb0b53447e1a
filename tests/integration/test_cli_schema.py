"""`stopgap schema`: on the screen, in a file, of one kind or of all."""

import json

import pytest
from typer.testing import CliRunner

from stopgap.cli import app


def run(*args):
    return CliRunner().invoke(app, ["schema", *map(str, args)])


def test_the_schema_of_all_files_is_printed_and_written_alike(tmp_path):
    out = tmp_path / ".stopgap.schema.json"
    out.write_text("an older one")
    printed, written = run(), run("--out", out)
    assert (printed.exit_code, written.exit_code, written.stdout) == (0, 0, "")
    assert out.read_text() == printed.stdout
    assert {"rules", "drill", "step"} <= set(json.loads(printed.stdout)["definitions"])


@pytest.mark.parametrize(
    ("kind", "key"),
    [("rules", "rules"), ("pack", "match"), ("site", "contacts"), ("test", "tests"), ("drill", "proves")],
)
def test_one_kind_of_file_has_a_schema_of_its_own(kind, key):
    told = json.loads(run(kind).stdout)
    assert told["title"] == f"Stopgap: {kind}"
    assert key in told["properties"]


def test_a_kind_that_is_none_and_a_file_that_cannot_be_are_wrong_usage(tmp_path):
    wrong = run("rule")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "write one of rules, pack, site, test, drill" in wrong.stderr
    unwritable = run("--out", tmp_path / "no" / "such.json")
    assert unwritable.exit_code == 2
    assert "cannot be written" in unwritable.stderr
