"""A backtest on a real Prometheus, which promtool filled with the samples of alerts that never were."""

import asyncio
import json
import shutil
import subprocess
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest_asyncio
from tests import prometheus_server
from typer.testing import CliRunner

from stopgap.backtest.history import Period
from stopgap.backtest.recorded import Recorded
from stopgap.cli import app
from stopgap.prometheus import Prometheus

NOW = datetime.now(UTC).replace(microsecond=0)
START = (NOW - timedelta(hours=10)).replace(minute=0, second=0)
LOOKBACK = timedelta(minutes=5)  # of Prometheus, for a series that just stops
SCRAPED = 15  # seconds between two samples
RULES = """
rules:
  - name: mock
    match: ['alertname="PMSDown"', 'cluster="eu"']
    target: "{{ labels.instance }}"
    ladder:
      - name: mock mode
        do: [{flag: {at: "env:///etc/{{ labels.instance }}.env", set: {PMS_TYPE: mock}}}]
        verify: [{http: {url: "http://127.0.0.1:8000/ready"}, after: 5s}]
    recovered: [{http: {url: "http://pms.example.com/health"}}]
    escalate: [{when: mitigated, notify: [default]}]
  - name: never
    match: alertname="Quiet"
    ladder: []
"""

Fired = tuple[str, str, int, int]  # alert, instance, and from which minute to which it fired
FIRED: list[Fired] = [
    ("PMSDown", "a", 10, 40),
    ("PMSDown", "a", 120, 150),
    ("PMSDown", "b", 125, 500),
    ("Other", "c", 0, 300),
]


def samples():
    """Write what Prometheus would have recorded, pending alerts as well, as OpenMetrics."""
    lines = ["# TYPE ALERTS gauge"]
    for name, instance, first, last in FIRED:
        labels = f'alertname="{name}",instance="{instance}"'
        for second in range(first * 60, last * 60 + 1, SCRAPED):
            at = int(START.timestamp()) + second
            lines.append(f'ALERTS{{{labels},alertstate="firing"}} 1 {at}')
        lines.append(f'ALERTS{{{labels},alertstate="pending"}} 1 {int(START.timestamp()) + first * 60}')
    return "\n".join([*lines, "# EOF", ""])


@asynccontextmanager
async def filled(directory):
    """Run a Prometheus that remembers these samples."""
    tool = shutil.which("promtool")
    assert tool, "promtool is not installed: apt-get install prometheus"
    text, blocks = directory / "samples.txt", directory / "prometheus" / "tsdb"
    blocks.mkdir(parents=True)
    text.write_text(samples())
    subprocess.run(
        [tool, "tsdb", "create-blocks-from", "openmetrics", text, blocks],
        check=True,
        capture_output=True,
        timeout=60,
    )
    async with prometheus_server.prometheus(directory, prometheus_server.prometheus_config()) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prom(tmp_path_factory):
    async with filled(tmp_path_factory.mktemp("filled")) as server:
        yield server


async def history(url, rules=(), step=timedelta(seconds=30), period=None):
    async with aiohttp.ClientSession() as session:
        source = Recorded(Prometheus(url, lambda: session), url, rules, step, {})
        found = [one async for one in source.transitions(period or Period(START, NOW), lambda _: None)]
        return found, source


def minutes(found):
    return [
        (int((one.at - START).total_seconds() // 60), one.alert.firing, one.alert.labels["instance"])
        for one in found
    ]


async def test_what_fired_is_found_to_the_step_and_ends_when_prometheus_forgets_it(prom):
    found, _ = await history(prom.url)
    late = int(LOOKBACK.total_seconds() / 60)
    assert minutes(found) == [
        (0, True, "c"),
        (10, True, "a"),
        (40 + late, False, "a"),
        (120, True, "a"),
        (125, True, "b"),
        (150 + late, False, "a"),
        (300 + late, False, "c"),
        (500 + late, False, "b"),
    ]


async def test_a_period_may_begin_and_end_while_alerts_fire(prom):
    period = Period(START + timedelta(minutes=130), START + timedelta(minutes=140))
    found, _ = await history(prom.url, period=period)
    assert sorted(minutes(found)) == [(130, True, one) for one in "abc"]


async def test_a_fine_step_takes_more_questions_and_finds_the_same(prom):
    coarse, few = await history(prom.url, step=timedelta(minutes=1))
    fine, many = await history(prom.url, step=timedelta(seconds=5))
    assert [one.alert.firing for one in coarse] == [one.alert.firing for one in fine]
    assert few.asked < many.asked


def backtest(*args):
    env = {"STOPGAP_DATA": "nowhere", "STOPGAP_URL": None, "COLUMNS": "80", "STOPGAP_PROMETHEUS": None}
    return CliRunner().invoke(app, ["backtest", *map(str, args)], env=env)


async def test_the_command_says_what_the_rules_would_have_done(prom, tmp_path):
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "hotel.yaml").write_text(RULES)
    (rules / "site.yaml").write_text("contacts: {default: {url_env: CHAT}}\n")
    page = tmp_path / "page.html"
    given = [
        rules,
        "--prometheus",
        prom.url,
        "--from",
        START.isoformat(),
        "--label",
        "cluster=eu",
        "--html",
        page,
    ]
    said = await asyncio.to_thread(backtest, *given, "--json")
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert told["alerts"] == {
        "transitions": 6,
        "distinct": 2,
        "already_firing": 0,
        "unmatched": 0,
        "untaken": [],
    }
    mock = told["rules"]["hotel/mock"]
    assert (mock["incidents"], mock["mitigations"], mock["reverts"], mock["handed_over"]) == (3, 3, 3, 0)
    assert mock["past_max_hold"] == 1
    assert mock["longest_hold"]["target"] == "b"
    assert mock["messages"]["default"] >= 3
    assert told["rules"]["hotel/never"]["incidents"] == 0
    assert page.read_text().count("<svg") == 1


async def test_a_prometheus_that_is_not_there_is_an_error_without_its_password(tmp_path):
    (tmp_path / "rules.yaml").write_text('rules: [{name: a, match: alertname="A", ladder: []}]\n')
    url = f"http://user:hunter2@127.0.0.1:{prometheus_server.free_port()}"
    said = await asyncio.to_thread(backtest, tmp_path / "rules.yaml", "--prometheus", url)
    assert said.exit_code == 1
    assert "Prometheus cannot be asked" in said.stderr
    assert "hunter2" not in said.output
