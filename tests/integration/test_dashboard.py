"""The dashboard is one that Grafana imports, and everything on it asks for what a daemon shows."""

import asyncio
import itertools
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from tests import prometheus_server
from tests.dashboard_schema import DASHBOARD
from tests.integration.test_app import body, daemon, down, post, until
from tests.integration.test_deploy import DEPLOY, run
from tests.integration.test_stopgap_alerts import MATCHER, OF_THE_SITE, SELECTOR, known

pytestmark = pytest.mark.xdist_group("dashboard")

BOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
SCOPE = 'job=~"$job", instance=~"$instance"'
CHOSEN = {"$__rate_interval": "30s", "$__range": "1m", "$job": "stopgap", "$instance": ".+"}
OF_PROMETHEUS = {"job", "instance"}  # labels that come with the scrape
GROUPED, LEGEND = re.compile(r"\bby \(([^)]*)\)"), re.compile(r"\{\{(\w+)\}\}")
ANY_SELECTOR = re.compile(r"([\w:]+)\{([^}]*)\}")
EMPTY_WHEN_WELL = "> 0"
"""The end of an expression that has no answer while there is nothing to tell."""


def targets() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield f"{panel['title']}/{target['refId']}", target


def asked(expr: str) -> str:
    """Return an expression as Grafana sends it, after somebody has chosen."""
    for name, value in CHOSEN.items():
        expr = expr.replace(name, value)
    return expr


def names_of(expr: str) -> set[str]:
    return {found["name"] for found in SELECTOR.finditer(expr)}


def grouped(expr: str) -> set[str]:
    return {label.strip() for found in GROUPED.finditer(expr) for label in found[1].split(",")}


def test_grafana_imports_it_and_it_names_nothing_of_one_site():
    assert [f"{error.json_path}: {error.message[:300]}" for error in DASHBOARD.iter_errors(BOARD)] == []
    assert [variable["name"] for variable in BOARD["templating"]["list"]] == ["datasource", "job", "instance"]
    wanted = {each["id"] for each in BOARD["__requires"] if each["type"] == "panel"}
    assert wanted == {panel["type"] for panel in PANELS}


def test_no_two_panels_overlap_and_none_is_beside_the_grid():
    cells = {
        (x, y): panel["title"]
        for panel in BOARD["panels"]
        for place in [panel["gridPos"]]
        for x, y in itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
    }
    assert len(cells) == sum(panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in BOARD["panels"])
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert len({title for title, _ in targets()}) == len(list(targets()))


def test_the_panels_are_in_four_rows():
    rows = [panel for panel in BOARD["panels"] if panel["type"] == "row"]
    assert [row["title"] for row in rows] == ["Now", "What it does", "Does it help", "Stopgap itself"]
    order = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in BOARD["panels"]]
    assert order == sorted(order)


def test_promtool_accepts_every_expression(tmp_path):
    rules = [
        {"record": f"panel:{number}", "expr": asked(target["expr"])}
        for number, (_, target) in enumerate(targets())
    ]
    assert not [rule for rule in rules if "$" in rule["expr"]]
    (tmp_path / "panels.json").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    result = run("promtool", "check", "rules", "panels.json", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"SUCCESS: {len(rules)} rules found" in result.stdout


@pytest.mark.parametrize("target", [target for _, target in targets()], ids=[title for title, _ in targets()])
def test_every_expression_asks_for_the_chosen_daemons_only_and_once_or_over_time(target):
    selectors = ANY_SELECTOR.findall(target["expr"])
    assert selectors
    assert {name for name, _ in selectors} - {"up"} == names_of(target["expr"])
    assert all(matchers.startswith(SCOPE) for _, matchers in selectors)
    assert target["instant"] is not target["range"]
    assert (
        target["range"] or "$__rate_interval" not in target["expr"]
    )  # a bar is a moment's, a number is the range's
    assert target["instant"] or "$__range" not in target["expr"]


@dataclass(frozen=True)
class Shown:
    """What a daemon that holds a mitigation shows: its label values by (metric, label), and what Prometheus answers."""

    labels: Mapping[str, set[str]]
    values: Mapping[tuple[str, str], set[str]]
    answers: Mapping[str, list[dict[str, str]]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shown")
    (folder / "rules").mkdir()
    (folder / "rules" / "site.yaml").write_text("contacts: {default: {url_env: STOPGAP_CONTACT_DEFAULT}}\n")
    outside = f"http://127.0.0.1:{prometheus_server.free_port()}"  # nobody is there
    async with daemon(folder, prometheus=outside, heartbeat_url=outside) as app:
        async with app.session.get("/metrics") as said:
            config = prometheus_server.prometheus_config(scrape={"stopgap": [said.url.authority]})
        async with (
            prometheus_server.prometheus(folder, config) as prom,
            aiohttp.ClientSession(prom.url) as http,
        ):
            await has_seen(http, "stopgap_build_info")
            assert await post(app, body(down())) == 200
            await until(app, "mitigated")
            await has_seen(http, "increase(stopgap_mitigation_effective_total[1m]) > 0")
            answers = {title: await answer(http, asked(target["expr"])) for title, target in targets()}
        async with app.session.get("/metrics") as said:
            families = list(text_string_to_metric_families(await said.text()))
    labels: dict[str, set[str]] = {}
    values: dict[tuple[str, str], set[str]] = {}
    for sample in (sample for family in families for sample in family.samples):
        labels.setdefault(sample.name, set()).update(sample.labels)
        for label, value in sample.labels.items():
            values.setdefault((sample.name, label), set()).add(value)
    return Shown(labels, values, answers)


async def answer(http: aiohttp.ClientSession, expr: str) -> list[dict[str, str]]:
    async with http.get("/api/v1/query", params={"query": expr}) as answer:
        said = await answer.json()
    assert said["status"] == "success", (expr, said)
    return [series["metric"] for series in said["data"]["result"]]


async def has_seen(http: aiohttp.ClientSession, expr: str) -> None:
    """Wait until Prometheus has scraped so often that there is an answer."""
    ends = time.monotonic() + 30
    while not await answer(http, expr):
        assert time.monotonic() < ends, expr
        await asyncio.sleep(0.1)


def test_a_running_daemon_shows_every_metric_and_every_label_that_is_asked_for(shown):
    variables = [variable["query"] for variable in BOARD["templating"]["list"] if variable["type"] == "query"]
    queries = [(title, target["expr"]) for title, target in targets()]
    assert len({name for _, expr in queries for name in names_of(expr)}) > 20
    assert not [
        (title, name) for title, expr in queries for name in names_of(expr) if name not in shown.labels
    ]
    assert all(names_of(variable["query"]) <= shown.labels.keys() for variable in variables)
    assert not [
        (title, label)
        for title, expr in queries
        for label in grouped(expr) - OF_PROMETHEUS
        if not all(label in shown.labels[name] for name in names_of(expr))
    ]


def test_a_running_daemon_shows_every_value_of_a_label_that_is_asked_for(shown):
    assert not [
        (title, found["name"], match[0])
        for title, target in targets()
        for found in SELECTOR.finditer(target["expr"])
        for match in MATCHER.finditer((found["matchers"] or "").removeprefix(SCOPE))
        if match["label"] not in OF_THE_SITE
        and not known(
            match["value"],
            shown.values.get((found["name"], match["label"]), set()),
            regex="~" in match["how"],
        )
    ]


def test_prometheus_answers_every_panel_with_series_that_its_legend_can_name(shown):
    assert not [
        title
        for title, target in targets()
        if not shown.answers[title] and not target["expr"].endswith(EMPTY_WHEN_WELL)
    ]
    assert not [
        (title, label)
        for title, target in targets()
        for label in LEGEND.findall(target["legendFormat"])
        if label not in grouped(target["expr"]) or any(label not in series for series in shown.answers[title])
    ]
    assert shown.answers["Mitigations held/A"] == shown.answers["By rule/B"] == [{"rule": "shop/mock"}]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_what_is_coloured_is_there_under_its_name(shown, panel):
    there = {target["legendFormat"] for target in panel["targets"]}
    for target in panel["targets"]:
        if found := LEGEND.fullmatch(target["legendFormat"]):
            there |= {
                value for name in names_of(target["expr"]) for value in shown.values.get((name, found[1]), ())
            }
    for transformation in panel.get("transformations", ()):
        renamed = transformation["options"].get("renameByName", {})
        assert not renamed or {name.removeprefix("Value #") for name in renamed} == {
            target["refId"] for target in panel["targets"]
        }
        there |= set(renamed.values())
    overrides = [override["matcher"] for override in panel["fieldConfig"]["overrides"]]
    assert not [each for each in overrides if each["id"] == "byName" and each["options"] not in there]
    patterns = [each["options"].strip("/") for each in overrides if each["id"] == "byRegexp"]
    assert all(any(re.search(pattern, name) for name in there) for pattern in patterns)
    assert {column["displayName"] for column in panel["options"].get("sortBy", ())} <= there


def test_series_of_one_panel_can_be_told_apart():
    for panel in PANELS:
        legends = [target["legendFormat"] for target in panel["targets"]]
        assert panel["type"] == "table" or (len(set(legends)) == len(legends) and "__auto" not in legends)
