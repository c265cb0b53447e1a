"""`stopgap test` on the command line: exit codes, what is printed, JSON and JUnit."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.suites import CALM, pack
from typer.testing import CliRunner

from stopgap.cli import app
from stopgap.suite import words
from stopgap.suite.expectation import Miss
from stopgap.suite.running import Failure, Result
from stopgap.suite.seen import Seen

GOOD = """
tests:
  - name: it is mitigated
    alerts: [{fire: Slow}, {at: 5m, resolve: Slow}]
    expect: [{at: 1m, phase: mitigated}, {at: 8m, phase: closed}]
"""
BAD = """
tests:
  - name: it is <not> & never mitigated, whatever a rather long sentence of a name may say here
    alerts: [{fire: Slow}]
    expect:
      - {at: 1m, phase: waiting, steps: ["a step with a very long name that will never be run by any rule of any pack"]}
"""


@pytest.fixture
def shop(tmp_path):
    place = pack(tmp_path)
    (place / "good.test.yaml").write_text(GOOD)
    return place


def test_(*arguments):
    return CliRunner().invoke(app, ["test", *map(str, arguments)])


test_.__test__ = False


def test_zero_when_all_pass_and_what_no_test_reached(shop):
    done = test_(shop)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "shop/calm: rungs 1/2, taken back 1/1, guards 0/4, escalations 2/4",
        "  no test: rungs: more",
        "  no test: guards: cooldown; budget_rule; circuit_open; precondition_failed",
        "  no test: escalations: handed_over → oncall; after 5m → lead",
        "1 tests in 1 file, 0 failed",
    ]


def test_one_when_a_test_fails_and_what_was_expected(shop):
    (shop / "bad.test.yaml").write_text(BAD)
    done = test_(shop / "bad.test.yaml")
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert all(len(line) <= 80 for line in lines if "FAILED" not in line and str(shop) not in line)
    assert any(line.startswith("FAILED ") for line in lines)
    assert "  line 6 at 1m: phase" in lines
    assert lines[lines.index("  line 6 at 1m: phase") + 1 :][:2] == [
        "    expected  waiting",
        "    got       mitigated",
    ]
    assert "  what had happened until 1m:" in lines
    assert lines[-1] == "1 tests in 1 file, 1 failed"


def test_a_line_of_the_timeline_is_wrapped_below_its_event_and_bounded(shop):
    why = "no such file: " + "a reason that nobody may miss " * 3 + "END"
    world = f"world: [{{action: '*', fails: '{why}', permanent: true}}]"
    (shop / "bad.test.yaml").write_text(BAD.replace("    expect:", f"    {world}\n    expect:"))
    lines = test_(shop / "bad.test.yaml").output.splitlines()
    begin = next(i for i, line in enumerate(lines) if " step_failed " in line)
    assert lines[begin].index("step_failed") == 15
    rest = [line for line in lines[begin + 1 :] if line.startswith(" " * 17)]
    assert " ".join([lines[begin], *map(str.strip, rest)]).count(why) >= 1
    assert max(map(len, lines[begin:])) <= 80


def test_a_line_of_the_timeline_that_never_ends_is_cut():
    failure = Failure(6, "1m", Miss("phase", "waiting", "mitigated"))
    result = Result(
        Path("a.test.yaml"), 3, "one", Seen(), (failure,), (f"     1m  step_failed  {'word ' * 500}",)
    )
    lines = list(words.failed(result))
    told = lines[lines.index("  what had happened until 1m:") + 1 :]
    assert (len(told), told[-1].endswith(" …")) == (words.MOST, True)


def test_two_when_a_test_or_its_rules_cannot_be_read(shop):
    (shop / "bad.test.yaml").write_text("tests: nothing\n")
    assert (done := test_(shop)).exit_code == 2
    assert "bad.test.yaml" in done.output.replace("\n", "")
    (shop / "bad.test.yaml").unlink()
    (shop / "rules.yaml").write_text(CALM.replace("match", "macht"))
    assert (done := test_(shop)).exit_code == 2
    assert "macht" in done.output
    assert test_(shop, "--var", "nonsense").exit_code == 2


def test_two_when_there_is_no_test(tmp_path):
    assert (done := test_(tmp_path)).exit_code == 2
    assert "no *.test.yaml" in done.output


def test_vars_of_the_command_line_are_outranked_by_those_of_the_test(shop):
    slow = GOOD.replace("phase: closed", "phase: recovering")
    (shop / "good.test.yaml").write_text(slow)
    assert test_(shop).exit_code == 1
    assert test_(shop, "--var", "hold=10m").exit_code == 0
    (shop / "good.test.yaml").write_text("vars: {hold: 2m}" + slow)
    assert test_(shop, "--var", "hold=10m").exit_code == 1


def test_a_filter_takes_tests_by_name_or_file(shop):
    (shop / "bad.test.yaml").write_text(BAD)
    assert test_(shop, "--filter", "it is mitigated").exit_code == 0
    assert test_(shop, "--filter", "good.test").exit_code == 0
    assert test_(shop, "--filter", "never").output.splitlines()[-1] == "1 tests in 1 file, 1 failed"


def test_a_filter_that_leaves_no_test_is_no_success(shop):
    done = test_(shop, "--filter", "misspelt")
    assert (done.exit_code, done.exception.__class__) == (2, SystemExit)
    assert "none of 1 tests has `misspelt` in its name or file" in done.output


def test_json_says_the_same(shop):
    (shop / "bad.test.yaml").write_text(BAD)
    done = test_(shop, "--json")
    assert done.exit_code == 1
    told = json.loads(done.output)
    assert [(one["line"], one["passed"]) for one in told["tests"]] == [(3, False), (3, True)]
    assert told["tests"][0]["failures"][0] == {
        "line": 6,
        "at": "1m",
        "key": "phase",
        "expected": "waiting",
        "got": "mitigated",
    }
    assert told["coverage"]["shop/calm"]["rungs"] == {"cache": True, "more": False}
    (shop / "bad.test.yaml").write_text("tests: nothing\n")
    assert json.loads(test_(shop, "--json").output)["problems"][0]["key"] == "tests"


def test_junit_is_written_for_build_servers(shop, tmp_path):
    (shop / "bad.test.yaml").write_text(BAD)
    file = tmp_path / "junit.xml"
    assert test_(shop, "--junit", file).exit_code == 1
    root = ET.parse(file).getroot()
    assert {name: root.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "2",
        "failures": "1",
        "errors": "0",
    }
    bad, good = root.findall("testsuite/testcase")
    assert bad.get("name").startswith("it is <not> & never mitigated")
    assert "expected waiting, got mitigated" in bad.find("failure").get("message")
    assert "what had happened" in bad.find("failure").text
    assert good.find("failure") is None


def test_a_junit_file_that_cannot_be_written_hides_no_result(shop, tmp_path):
    (shop / "bad.test.yaml").write_text(BAD)
    done = test_(shop, "--junit", tmp_path / "missing" / "junit.xml")
    assert (done.exit_code, done.exception.__class__) == (2, SystemExit)
    assert "2 tests in 2 files, 1 failed" in done.output
    assert "the JUnit XML cannot be written" in done.output


def test_junit_can_be_read_whatever_a_file_is_called(shop, tmp_path):
    (shop / "good.test.yaml").rename(shop / "go\x1bod.test.yaml")
    file = tmp_path / "junit.xml"
    assert test_(shop, "--junit", file).exit_code == 0
    assert ET.parse(file).getroot().find("testsuite").get("name").endswith("good.test.yaml")
