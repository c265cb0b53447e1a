"""All packs that ship, loaded together: each takes its own alerts, and no other's; nothing is odd about any."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stopgap.config import load
from stopgap.config.codes import Odd
from stopgap.simulate.environ import Environ
from stopgap.stock import bare_context, build_catalog

ROOT = Path(__file__).parents[2] / "rules"
PACKS = sorted(path.parent.name for path in ROOT.glob("*/pack.yaml"))
LOADED = load(ROOT, build_catalog(bare_context()), environ=Environ())
ALERTS = [
    (pack, rule["alert"], rule.get("labels", {}))
    for pack in PACKS
    for group in YAML(typ="safe").load((ROOT / pack / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


def taken_by(labels: dict[str, str]) -> set[str]:
    return {rule.pack for rule in LOADED.index.find(labels)}


@pytest.mark.parametrize(
    ("pack", "alert", "labels"), ALERTS, ids=lambda each: each if isinstance(each, str) else ""
)
def test_an_alert_is_taken_by_its_own_pack_only(pack, alert, labels):
    fired = {**labels, "alertname": alert, "instance": "a:1"}
    assert taken_by({**fired, "job": labels.get("job", pack)}) == {pack}
    for other in PACKS:
        if other != pack and "job" not in labels:
            assert pack not in taken_by({**fired, "job": other})
    assert taken_by({**fired, "job": "somebody-elses"}) <= ({pack} if "job" in labels else set())


def test_nothing_is_odd_but_what_the_machine_does_not_have():
    odd = [problem for problem in LOADED.warnings if problem.code is not Odd.UNSET_CONTACT]
    assert odd == []


def test_every_pack_has_its_page_alerts_and_tests():
    for pack in PACKS:
        files = {path.name for path in (ROOT / pack).iterdir()}
        assert {"README.md", "alerts.yaml"} <= files
        assert any(name.endswith(".test.yaml") for name in files)
