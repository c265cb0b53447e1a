"""The packs that ship: their tests pass, come to everything that their rules can do, and are quick."""

import time
from pathlib import Path

import pytest

from stopgap.app import build_catalog
from stopgap.config.findings import Findings
from stopgap.simulate.play import Stage
from stopgap.suite.coverage import Coverage
from stopgap.suite.packs import Packs, files_below
from stopgap.suite.running import run
from stopgap.suite.script import read_scripts

RULES = Path(__file__).parents[2] / "rules"
EACH = 0.06  # seconds of the processor for a test, its share of the loading included; on a busy machine


@pytest.fixture(scope="module")
def suite():
    findings = Findings()
    stage = Stage(build_catalog)
    packs = Packs(stage.catalog, {})
    began = time.process_time()
    files = files_below([RULES], findings)
    results = [run(script, stage, packs.cast) for file in files for script in read_scripts(file, findings)]
    assert not findings.errors
    return results, time.process_time() - began


def test_every_test_of_every_pack_passes(suite):
    results, _ = suite
    assert results
    failed = {f"{one.path.name}:{one.line}": one.failures for one in results if not one.passed}
    assert not failed


def test_all_of_them_are_quick(suite):
    results, seconds = suite
    assert seconds / len(results) < EACH


@pytest.mark.parametrize("pack", ["agente-hotel"])
def test_they_come_to_all_that_the_rules_can_do(suite, pack):
    coverage = Coverage()
    for result in suite[0]:
        coverage.know(result.seen.rules.values())
        coverage.add(result.seen)
    missing = {
        f"{rule} {kind}": [word for word, was in there.items() if not was]
        for rule, reached in coverage.rules.items()
        if rule.startswith(f"{pack}/")
        for kind, there in reached.kinds.items()
    }
    assert not {where: words for where, words in missing.items() if words}
