"""Several processes play what one plays."""

import gc
from pathlib import Path

import pytest
from tests.suites import STAGE, pack, scripts

from stopgap.cli.test import RARELY, unhurried
from stopgap.config.findings import Findings
from stopgap.suite import crew
from stopgap.suite.packs import Packs
from stopgap.suite.script import read_scripts

TESTS = """
tests:
  - name: good
    alerts: [{fire: Slow}]
    expect: [{at: 1m, phase: mitigated}]
  - name: bad
    alerts: [{fire: Slow}]
    expect: [{at: 1m, phase: waiting, told: {lead: closed}}]
"""


@pytest.fixture
def two(tmp_path):
    """Return the tests of two packs."""
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found += scripts(pack(tmp_path / name), TESTS)
    return found


@pytest.mark.parametrize("few", [1, 100])
def test_results_come_in_the_order_of_the_tests(two, monkeypatch, few):
    monkeypatch.setattr(crew, "FEW", few)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    played = crew.play_all(two, Packs(STAGE.catalog, {}), STAGE)
    assert [(one.path, one.name, one.passed) for one in played.results] == [
        (script.path, script.keys.name, script.keys.name == "good") for script in two
    ]
    assert [miss.miss.key for miss in played.results[1].failures] == ["phase", "told.lead"]
    assert played.coverage.rules["shop/calm"].rungs == {"cache": True, "more": False}
    assert played.coverage.rules["shop/calm"].backs == {"cache": False}


@pytest.mark.parametrize("few", [1, 100])
def test_rules_that_do_not_load_are_said_once(two, monkeypatch, few):
    monkeypatch.setattr(crew, "FEW", few)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    (two[3].path.parent / "rules.yaml").write_text("rules: [{name: x}]\n")
    played = crew.play_all(two, Packs(STAGE.catalog, {}), STAGE)
    assert played.results == ()
    assert {problem.path for problem in played.problems} == {str(two[3].path.parent / "rules.yaml")}


def test_the_collector_of_cycles_is_afterwards_as_it_was(two, monkeypatch):
    monkeypatch.setattr(crew, "FEW", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    before = gc.get_threshold(), gc.get_freeze_count()
    with unhurried():
        assert gc.get_threshold()[0] == RARELY
        crew.play_all(two, Packs(STAGE.catalog, {}), STAGE)
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_the_tests_of_one_pack_are_shared_out_by_file(tmp_path):
    place = pack(tmp_path)
    found = scripts(place, TESTS)
    (place / "more.test.yaml").write_text(TESTS)
    findings = Findings()
    found = (*found, *read_scripts(place / "more.test.yaml", findings))
    assert crew.parts_of(found) == [crew.Part(place, [0, 1]), crew.Part(place, [2, 3])]


def test_who_has_loaded_a_pack_goes_on_with_it_and_then_helps_where_most_is_left():
    one, two, three = Path("one"), Path("two"), Path("three")
    parts = [
        crew.Part(one, [0, 1, 2]),
        crew.Part(two, [3, 4]),
        crew.Part(three, [5]),
        crew.Part(one, [6]),
        crew.Part(two, [7]),
    ]
    free = [False] * 5
    assert crew.next_part(parts, free, None) == 0
    assert crew.next_part(parts, [True, *free[1:]], one) == 3
    assert crew.next_part(parts, [True, False, False, True, False], one) == 1
    assert crew.next_part(parts, [True, True, False, True, True], two) == 2
    assert crew.next_part(parts, [True] * 5, two) is None
