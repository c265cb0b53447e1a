"""The alerting rules of each pack as Prometheus itself reads them, and how they fit the pack's own rules."""

import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stopgap.backends import locate
from stopgap.backends.capability import Blocklist, Flags, Restartable, Scalable, Versioned
from stopgap.demo.lab import shipped_rules
from stopgap.demo.monitoring import hasten
from stopgap.matcher import parse_matcher

ROOT = Path(__file__).resolve().parents[2]
PACKS = sorted(path.parent.name for path in shipped_rules().glob("*/alerts.yaml"))
PACK = shipped_rules() / "agente-hotel"
FILES = ("pms", "database", "latency", "traffic", "redis", "errors", "security")
ALERTS = {
    "PMSCircuitBreakerOpen",
    "PMSRecoveryCheckDue",
    "DatabaseDown",
    "HighLatency",
    "RateLimitSpike",
    "RedisDown",
    "HighErrorRate",
    "SecurityAlert",
}
USED_VAR = re.compile(r"\{\{ vars\.(\w+) \}\}")


def load(path: Path):
    return YAML(typ="safe", pure=True).load(path.read_text())


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False
    )


def rules():
    return [rule for name in FILES for rule in load(PACK / f"{name}.yaml")["rules"]]


def alerts():
    return load(PACK / "alerts.yaml")["groups"][0]["rules"]


def files_of(pack: str) -> list[Path]:
    """Return the files of a pack's rules."""
    aside = {"pack.yaml", "alerts.yaml"}
    return [
        path
        for path in sorted((shipped_rules() / pack).glob("*.yaml"))
        if path.name not in aside and not path.name.endswith(".test.yaml")
    ]


def rules_of(pack: str):
    return [rule for path in files_of(pack) for rule in load(path)["rules"]]


def alerts_of(pack: str):
    groups = load(shipped_rules() / pack / "alerts.yaml")["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def plays_of(pack: str) -> list[Path]:
    """Return promtool's tests of a pack: `pack.yaml`, and `pack-….yaml` for what is evaluated at another pace."""
    folder = ROOT / "tests" / "promtool"
    return [folder / f"{pack}.yaml", *sorted(folder.glob(f"{pack}-*.yaml"))]


@pytest.mark.parametrize("pack", PACKS)
def test_promtool_accepts_the_alerting_rules_as_they_ship(pack):
    checked = promtool("check", "rules", shipped_rules() / pack / "alerts.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("pack", PACKS)
def test_the_alerts_fire_and_keep_quiet_when_they_should(pack):
    tested = promtool("test", "rules", *plays_of(pack))
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("pack", PACKS)
def test_each_alert_is_seen_to_fire(pack):
    tested = [test for path in plays_of(pack) for test in load(path)["tests"]]
    fired = {
        case["alertname"] for test in tested for case in test["alert_rule_test"] if case.get("exp_alerts")
    }
    assert {alert["alert"] for alert in alerts_of(pack)} <= fired


@pytest.mark.parametrize("pack", PACKS)
def test_an_alert_says_what_it_is_how_severe_and_where_to_read_on(pack):
    keys = load(shipped_rules() / pack / "pack.yaml")
    pages = {
        rule["runbook_url"].replace("{{ vars.runbooks }}", keys["vars"]["runbooks"])
        for rule in rules_of(pack)
    }
    for alert in alerts_of(pack):
        assert {"summary", "runbook_url"} <= alert["annotations"].keys(), alert["alert"]
        assert alert["labels"]["severity"] in keys["severities"], alert["alert"]
        assert alert["annotations"]["runbook_url"] in pages, alert["alert"]


@pytest.mark.parametrize("pack", PACKS)
def test_every_var_is_used_and_every_used_var_is_declared(pack):
    texts = "".join(path.read_text() for path in (*files_of(pack), shipped_rules() / pack / "pack.yaml"))
    assert set(USED_VAR.findall(texts)) == set(load(shipped_rules() / pack / "pack.yaml")["vars"])


@pytest.mark.parametrize("pack", PACKS)
def test_every_duration_and_threshold_of_a_rule_is_a_var(pack):
    fixed = [
        (path.name, line.strip())
        for path in files_of(pack)
        for line in path.read_text().splitlines()
        if re.search(
            r"\b(?:after|within|every|hold|max_hold|cooldown|older_than|max_age): *[\"']?[1-9]", line
        )
    ]
    assert not fixed


# --- Agente Hotel ---


def test_promtool_accepts_the_hastened_alerting_rules(tmp_path):
    fast = tmp_path / "alerts.yaml"
    fast.write_text(hasten((PACK / "alerts.yaml").read_text()))
    checked = promtool("check", "rules", fast)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_is_taken_by_exactly_one_rule():
    shipped = {alert["alert"] for alert in alerts()}
    assert shipped == ALERTS
    for name in shipped | {"HighOrchestrationLatency"}:
        taken = [
            rule["name"] for rule in rules() if parse_matcher(rule["match"][0]).matches({"alertname": name})
        ]
        assert len(taken) == 1, name


def test_an_alert_and_its_rule_point_to_the_same_page_of_the_runbook():
    runbooks = load(PACK / "pack.yaml")["vars"]["runbooks"]
    pages = {rule["runbook_url"].replace("{{ vars.runbooks }}", runbooks) for rule in rules()}
    assert {alert["annotations"]["runbook_url"] for alert in alerts()} == pages


@pytest.mark.parametrize("probe_is_about_the_cause", ["pms-mock-mode", "latency-relief", "traffic-headroom"])
def test_what_is_held_is_taken_back_by_a_probe_that_no_mitigation_changes(probe_is_about_the_cause):
    rule = next(rule for rule in rules() if rule["name"] == probe_is_about_the_cause)
    asked = {str(probe) for rung in rule["ladder"] for probe in rung["verify"]}
    assert rule["recovered"]
    assert not [probe for probe in rule["recovered"] if str(probe) in asked]


def test_each_flag_says_what_to_go_back_to_for_every_key_it_sets():
    flags = [
        step["flag"] for rule in rules() for rung in rule["ladder"] for step in rung["do"] if "flag" in step
    ]
    assert len(flags) == 6
    assert all(flag["set"].keys() == flag["back_to"].keys() for flag in flags)


@pytest.mark.parametrize(
    ("var", "capability"),
    [
        ("app", Restartable),
        ("database", Restartable),
        ("config", Flags),
        ("fleet", Scalable),
        ("memory_at", Scalable),
        ("redis", Restartable),
        ("redis_memory_at", Scalable),
        ("release", Versioned),
        ("blocklist", Blocklist),
        ("blocklist", Restartable),
    ],
)
def test_the_default_places_can_do_what_the_rules_ask_of_them(var, capability):
    locate(load(PACK / "pack.yaml")["vars"][var], capability)
