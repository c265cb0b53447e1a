"""The rules' README says how rules are tested: its example passes, and its tables have each key and word."""

import re
import shutil
from pathlib import Path

import pytest
from tests.suites import STAGE

from stopgap.config.findings import Findings
from stopgap.config.keys import Keys
from stopgap.suite.form import PEOPLE, AlertKeys, ExpectKeys, PersonKeys, TestKeys, WorldKeys
from stopgap.suite.packs import Packs
from stopgap.suite.running import run
from stopgap.suite.script import read_scripts

RULES = Path(__file__).resolve().parents[2] / "rules"
SECTION = (RULES / "README.md").read_text().partition("## Testing rules\n")[2].partition("\n## ")[0]


def test_the_example_passes(tmp_path):
    pack = tmp_path / "agente-hotel"
    shutil.copytree(RULES / "agente-hotel", pack)
    shutil.copy(RULES / "site.yaml", tmp_path)
    (example,) = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
    path = pack / "example.test.yaml"
    path.write_text(example)
    findings = Findings()
    (script,) = read_scripts(path, findings)
    result = run(script, STAGE, Packs(STAGE.catalog, {}).cast)
    assert result.passed, (result.failures, result.story)


def keys_of(model: type[Keys]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


@pytest.mark.parametrize("model", [AlertKeys, WorldKeys, PersonKeys, ExpectKeys, TestKeys])
def test_every_key_is_named(model):
    words = set(re.findall(r"[a-z_]+", SECTION))
    assert keys_of(model) - words <= set()


def test_every_verb_is_named():
    row = next(line for line in SECTION.splitlines() if line.startswith("| `people:`"))
    assert set(PEOPLE) <= set(re.findall(r"\w+", row))
