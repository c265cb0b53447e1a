"""The rules' README says the defaults that the code has, and its examples load."""

import re
from pathlib import Path

import pytest

from stopgap.alert import DRILL
from stopgap.audience import ALWAYS
from stopgap.config import load
from stopgap.config.escalations import EscalationKeys
from stopgap.duration import print_duration
from stopgap.guard import Reason
from stopgap.rate import Rate
from stopgap.rule import AtOnce, Limits
from stopgap.stock import bare_context, build_catalog
from stopgap.wording import FIELDS

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
    pack, ladder, site, *_ = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    indented = "".join(f"    {line}\n" for line in ladder.splitlines())
    head = "rules:\n  - name: hotel\n    match: alertname=\"Down\"\n    recovered: [{tcp: {address: 'pms:443'}}]\n"
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "pack.yaml").write_text(pack)
    (tmp_path / "shop" / "hotel.yaml").write_text(head + indented)
    (tmp_path / "site.yaml").write_text(site)
    surroundings = {"STOPGAP_SECRET_API_KEY": "x", "STOPGAP_CONTACT_SHOP": "json://x"}
    loaded = load(tmp_path, build_catalog(bare_context()), environ=surroundings)
    (rule,) = loaded.rules
    assert rule.id == "shop/hotel"
    first, second = rule.ladder
    assert [probe.probe for probe in first.only_if] == ["tcp"]
    assert second.once
    assert print_duration(second.approval) == "10m"
    assert rule.limits.protected == ("payments", "db-*")
    assert str(rule.limits.budget_global) == "10/1h"
    assert [str(window) for window in rule.limits.windows.deny] == ["Fri 16:00-24:00 Europe/Madrid"]


def test_the_examples_of_telling_people_load(tmp_path):
    section = TEXT.partition("## Telling people\n")[2].partition("\n## ")[0]
    escalate, messages = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    indented = "".join(f"    {line}\n" for line in escalate.splitlines())
    head = 'rules:\n  - name: hotel\n    match: alertname="Down"\n    ladder: []\n'
    names = ("default", "oncall-chat", "oncall", "team-lead", "customers")
    contacts = ", ".join(f"{name}: {{url_env: X}}" for name in names)
    (tmp_path / "hotel").mkdir()
    (tmp_path / "hotel" / "hotel.yaml").write_text(head + indented)
    (tmp_path / "hotel" / "pack.yaml").write_text(f"contacts: {{{contacts}}}\n{messages}")
    (rule,) = load(tmp_path, build_catalog(bare_context()), environ={"X": "json://x"}).rules
    assert set(rule.messages) == {"guests", "guests-over"}
    assert rule.severity_names == {"P0": "SEV-1", "P1": "SEV-2"}


def test_the_fields_of_messages_are_those_of_the_code():
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| (.+) \|$", TEXT, re.MULTILINE))
    assert {field: rows.get(field) for field in FIELDS} == FIELDS


def test_what_the_default_contact_hears_of_is_named():
    told = TEXT.partition("whatever nobody may miss")[2].partition("Have one.")[0]
    assert set(re.findall(r"`(\w+)`", told)) == ALWAYS - {"notify_failed"}


def test_the_keys_of_an_entry_are_all_explained():
    table = TEXT.partition("| key of an entry |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(EscalationKeys.model_fields)


def test_the_first_words_are_those_of_the_code():
    assert "`[SHADOW]`" in TEXT
    assert "`[DRILL name]`" in TEXT
    assert f"`{DRILL}`" in TEXT
