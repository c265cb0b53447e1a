"""The alerts and recording rules about Stopgap itself fire when they should, and ask only for what a daemon shows."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import unused_port
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML
from tests.integration.test_app import daemon

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
ALERTS, RECORDING = "stopgap.alerts.yaml", "stopgap.recording.yaml"
FILES = (ALERTS, RECORDING, "paging.yml")
RUNBOOK = "https://runbooks.example.com/deploy/README.md#"
SELECTOR = re.compile(r"(?<![\w:])(?P<name>(?:stopgap|process)_\w+)(?![\w:])(?:\{(?P<matchers>[^}]*)\})?")
MATCHER = re.compile(r'(?P<label>\w+)\s*(?P<how>=~|!~|!=|=)\s*"(?P<value>[^"]*)"')
OF_THE_SITE = ("job", "instance", "rule", "contact")  # labels whose values are not ours


def promtool(*arguments: str) -> None:
    result = subprocess.run(
        ["promtool", *arguments], cwd=DEPLOY, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def rules(name: str) -> list[dict]:
    return [
        rule
        for group in YAML(typ="safe").load((DEPLOY / name).read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[dict]:
    return rules(ALERTS)


@pytest.mark.parametrize("name", [ALERTS, RECORDING])
def test_promtool_accepts_the_rules_and_they_do_as_their_tests_say(name):
    promtool("check", "rules", name)
    promtool("test", "rules", name.replace(".yaml", ".test.yaml"))


def test_each_alert_is_in_a_promtool_test():
    tested = (DEPLOY / "stopgap.alerts.test.yaml").read_text()
    assert not [alert["alert"] for alert in alerts() if f'alertname="{alert["alert"]}"' not in tested]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_each_alert_says_what_it_means_how_bad_it_is_and_where_to_read_on(alert):
    assert alert["labels"]["severity"] in ("critical", "warning", "info", "none")
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == RUNBOOK + alert["alert"].lower()
    assert f'<a id="{alert["alert"].lower()}"></a>' in (DEPLOY / "README.md").read_text()


def test_the_readme_explains_no_alert_that_is_not_there():
    named = re.findall(r'<a id="(\w+)"></a>', (DEPLOY / "README.md").read_text())
    assert sorted(named) == sorted(alert["alert"].lower() for alert in alerts())


def test_alertmanager_sends_no_alert_about_stopgap_to_stopgap_but_the_watchdog():
    assert {alert["alert"] for alert in alerts() if not alert["alert"].startswith("Stopgap")} == {"Watchdog"}


def selectors() -> Iterator[tuple[str, str, str]]:
    for name in FILES:
        for rule in rules(name):
            for found in SELECTOR.finditer(rule["expr"]):
                yield rule.get("alert") or rule["record"], found["name"], found["matchers"] or ""


async def test_a_real_daemon_shows_every_metric_and_every_label_value_that_is_asked_for(tmp_path):
    outside = f"http://127.0.0.1:{unused_port()}"
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "site.yaml").write_text("contacts: {default: {url_env: STOPGAP_CONTACT_DEFAULT}}\n")
    async with (
        daemon(tmp_path, prometheus=outside, heartbeat_url=outside) as app,
        app.session.get("/metrics") as answer,
    ):
        families = list(text_string_to_metric_families(await answer.text()))
    shown = {family.name + suffix for family in families for suffix in suffixes(family.type)}
    values: dict[tuple[str, str], set[str]] = {}
    for sample in (sample for family in families for sample in family.samples):
        for label, value in sample.labels.items():
            values.setdefault((sample.name, label), set()).add(value)
    asked = list(selectors())
    assert len({name for _, name, _ in asked}) > 20
    assert not [(rule, name) for rule, name, _ in asked if name not in shown]
    assert not [
        (rule, name, match[0])
        for rule, name, matchers in asked
        for match in MATCHER.finditer(matchers)
        if match["label"] not in OF_THE_SITE
        and not known(match["value"], values.get((name, match["label"]), set()), regex="~" in match["how"])
    ]


def suffixes(kind: str) -> tuple[str, ...]:
    return {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(kind, ("",))


def known(wanted: str, shown: set[str], *, regex: bool) -> bool:
    """Tell whether each alternative of a matcher is a value that is shown."""
    if not regex:
        return wanted in shown
    return all(any(re.fullmatch(each, value) for value in shown) for each in wanted.split("|"))
