"""The rules' README says the defaults that the code has, and its examples load."""

import re
from pathlib import Path

import pytest

from stopgap.app import bare_context, build_catalog
from stopgap.config import load
from stopgap.duration import print_duration
from stopgap.guard import Reason
from stopgap.rate import Rate
from stopgap.rule import AtOnce, Limits

README = Path(__file__).resolve().parents[2] / "rules" / "README.md"
TEXT = README.read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \| `?([^`|]+)`? \|", TEXT, re.MULTILINE))
D = Limits()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cooldown", print_duration(D.cooldown)),
        ("budget", str(D.budget)),
        ("budget_global", str(D.budget_global)),
        ("circuit", str(D.circuit.failures)),
        ("storm", str(Rate(D.storm.targets, D.storm.window))),
        ("windows", "none"),
        ("blast_radius", "none"),
        ("protected", "none"),
    ],
)
def test_the_table_of_guards_says_the_defaults_of_the_code(key, value):
    assert ROWS[key].strip() == value


@pytest.mark.parametrize(
    "said",
    [
        f"`lasts` ({print_duration(D.circuit.lasts)})",
        f"`calm` ({print_duration(D.storm.calm)}) with fewer than `below` ({D.storm.below})",
        f"`hold` ({print_duration(D.hold)}:",
        f"`max_hold` ({print_duration(D.max_hold)}:",
        f"({print_duration(D.flap_window)}), `unknown_for` ({print_duration(D.unknown_for)})",
        f"`approval` ({print_duration(D.approval)})",
        f"`actions_at_once` ({AtOnce().actions}), `probes_at_once` ({AtOnce().probes})",
    ],
)
def test_the_other_defaults_are_those_of_the_code(said):
    assert said in " ".join(TEXT.split())


def test_every_refusal_that_a_guard_gives_is_named():
    told = {
        reason
        for reason in Reason
        if reason not in {Reason.ONCE_USED, Reason.MODE_APPROVE, Reason.APPROVAL_PENDING, Reason.SHADOW}
        and reason not in {Reason.APPROVAL_DENIED, Reason.APPROVAL_EXPIRED, Reason.RULE_REMOVED}
    }
    assert {reason for reason in told if f"`{reason}`" not in TEXT} == set()


def test_the_examples_load(tmp_path):
    ladder, site = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    indented = "".join(f"    {line}\n" for line in ladder.splitlines())
    head = "rules:\n  - name: hotel\n    match: alertname=\"Down\"\n    recovered: [{tcp: {address: 'pms:443'}}]\n"
    (tmp_path / "hotel.yaml").write_text(head + indented)
    (tmp_path / "site.yaml").write_text(site)
    loaded = load(tmp_path, build_catalog(bare_context()), environ={})
    (rule,) = loaded.rules
    first, second = rule.ladder
    assert [probe.probe for probe in first.only_if] == ["tcp"]
    assert second.once
    assert print_duration(second.approval) == "10m"
    assert rule.limits.protected == ("payments", "db-*")
    assert str(rule.limits.budget_global) == "10/1h"
    assert [str(window) for window in rule.limits.windows.deny] == ["Fri 16:00-24:00 Europe/Madrid"]
