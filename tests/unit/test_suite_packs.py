"""The packs that ship: their tests pass, come to everything that their rules can do, and are quick."""

import resource
import sys
from pathlib import Path

import pytest

from stopgap.config.findings import Findings
from stopgap.simulate.play import Stage
from stopgap.stock import build_catalog
from stopgap.suite.crew import Played, play_all
from stopgap.suite.packs import Packs, files_below
from stopgap.suite.script import read_scripts

pytestmark = pytest.mark.xdist_group("packs")  # they share what was played

RULES = Path(__file__).parents[2] / "rules"
EACH = 0.06  # seconds of a processor for a test, its share of the loading included; on a busy machine
TRACED = 6  # times that, while coverage is measured


def spent() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


@pytest.fixture(scope="module")
def suite() -> tuple[Played, float]:
    findings = Findings()
    stage = Stage(build_catalog)
    began = spent()
    files = files_below([RULES], findings)
    scripts = [script for file in files for script in read_scripts(file, findings)]
    assert not findings.errors
    played = play_all(scripts, Packs(stage.catalog, {}), stage)
    return played, spent() - began


def test_every_test_of_every_pack_passes(suite):
    played, _ = suite
    assert not played.problems
    assert played.results
    assert not {f"{one.path.name}:{one.line}": one.failures for one in played.results if not one.passed}


def test_all_of_them_are_quick(suite):
    played, seconds = suite
    assert seconds / len(played.results) < EACH * (TRACED if sys.gettrace() else 1)


@pytest.mark.parametrize(
    ("pack", "kinds"),
    [("", ["rungs", "taken back"]), ("agente-hotel", ["rungs", "taken back", "escalations"])],
)
def test_they_come_to_all_that_the_rules_can_do(suite, pack, kinds):
    missing = {
        f"{rule} {kind}": [word for word, was in reached.kinds[kind].items() if not was]
        for rule, reached in suite[0].coverage.rules.items()
        if rule.startswith(pack)
        for kind in kinds
    }
    assert not {where: words for where, words in missing.items() if words}
