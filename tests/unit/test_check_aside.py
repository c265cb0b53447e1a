"""What `check` says of drills and tests beside rules."""

import pytest
from typer.testing import CliRunner

from stopgap.cli import app

RULES = "rules: [{name: calm, match: 'alertname=\"Slow\"', do: [{wait: {for: 1s}}]}]"
DRILL = """
name: slow
proves: It is calm within a minute
alert: {labels: {alertname: Slow}}
expect: [{event: mitigated, within: 1m}]
"""
TESTS = "tests: [{name: calm, alerts: [{fire: Slow}], expect: [{at: 1m, phase: mitigated}]}]"


@pytest.fixture
def rules(tmp_path):
    (tmp_path / "shop" / "drills").mkdir(parents=True)
    (tmp_path / "shop" / "shop.yaml").write_text(RULES)
    (tmp_path / "shop" / "shop.test.yaml").write_text(TESTS)
    (tmp_path / "shop" / "drills" / "slow.drill.yaml").write_text(DRILL)
    return tmp_path


def check(*paths):
    return CliRunner().invoke(app, ["check", *map(str, paths)], env={"COLUMNS": "80"})


def test_a_drill_beside_rules_is_read_too(rules):
    said = check(rules)
    assert (said.exit_code, "1 rule, 0 errors" in said.stdout) == (0, True)
    (rules / "shop" / "drills" / "slow.drill.yaml").write_text(DRILL.replace("mitigated", "mitigatd"))
    said = check(rules)
    assert said.exit_code == 2
    assert "did you mean `mitigated`?" in said.stdout
    assert "slow.drill.yaml:5:" in said.stdout


def test_a_hidden_folder_holds_no_drills(rules):
    (rules / ".trash").mkdir()
    (rules / ".trash" / "old.drill.yaml").write_text("name: old")
    assert check(rules).exit_code == 0


@pytest.mark.parametrize(
    ("name", "good", "wrong", "hint"),
    [
        ("drills/slow.drill.yaml", DRILL, DRILL.replace("proves", "prooves"), "did you mean `proves`?"),
        ("shop.test.yaml", TESTS, TESTS.replace("mitigated", "mitigatd"), "did you mean `mitigated`?"),
    ],
)
def test_one_that_is_named_is_not_taken_for_rules(rules, name, good, wrong, hint):
    path = rules / "shop" / name
    assert path.read_text() == good
    said = check(path)
    assert (said.exit_code, said.stdout) == (0, "0 rules, 0 errors, 0 warnings\n")
    path.write_text(wrong)
    said = check(path)
    assert said.exit_code == 2
    assert hint in said.stdout


def test_one_that_cannot_be_read_is_an_error(rules):
    assert "cannot be read" in check(rules / "none.drill.yaml").stdout
