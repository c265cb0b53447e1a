"""The alert probe against a real Prometheus: an alert that fires, is pending, is over, or only seems so, its target being gone."""

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests import prometheus_server

from stopgap.contacts import Contacts
from stopgap.context import Context, Http
from stopgap.errors import ProbeError
from stopgap.probe import Verdict
from stopgap.probes.alert import Alert, AlertParams
from stopgap.prometheus import Prometheus
from stopgap.recovery import default_recovered

pytestmark = [pytest.mark.xdist_group("prometheus"), pytest.mark.asyncio(loop_scope="module")]
LONG = timedelta(seconds=20)
HEALTHY, UNHEALTHY, UNKNOWN = Verdict.HEALTHY, Verdict.UNHEALTHY, Verdict.UNKNOWN
JOB = 'a"b\\c'

RULES = r"""
groups:
  - name: quick
    rules:
      - {alert: Always, expr: vector(1), labels: {severity: critical}}
      - {alert: Waiting, expr: vector(1), for: 1h}
      - {alert: Never, expr: vector(0) == 1, labels: {severity: critical}}
      - {alert: Failing, expr: 'label_replace(vector(1), "a", "b", "c", "(")'}
      - {alert: Broken, expr: broken == 1, labels: {severity: '{{ if gt $value 0.0 }}critical{{ end }}'}}
      - {alert: Twice, expr: vector(0) == 1, labels: {severity: warning}}
      - {alert: Twice, expr: vector(1), labels: {severity: critical}}
  - name: slow
    interval: 1h
    rules:
      - {alert: NotYet, expr: vector(0) == 1}
"""


class Target:
    """Something that is scraped: broken, well, or away."""

    def __init__(self):
        self.broken, self.up = 1, True

    async def metrics(self, request):
        return web.Response(status=200 if self.up else 500, text=f"broken {self.broken}\n")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory):
    """A Prometheus with those rules, and the target that it scrapes."""
    directory = tmp_path_factory.mktemp("prom")
    rules = directory / "rules.yml"
    rules.write_text(RULES)
    target = Target()
    app = web.Application()
    app.router.add_get("/metrics", target.metrics)
    async with TestServer(app) as server:
        config = prometheus_server.prometheus_config(
            scrape={JOB: [f"127.0.0.1:{server.port}"]}, rules=[rules]
        )
        config["global"]["external_labels"] = {"cluster": "eu"}
        async with prometheus_server.prometheus(directory, config) as prom:
            yield prom, target, f"127.0.0.1:{server.port}"


@asynccontextmanager
async def asking(url):
    async with aiohttp.ClientSession() as session:
        prometheus = Prometheus(url, lambda: session)
        yield prometheus, Alert(Context(http=Http(), prometheus=prometheus, contacts=Contacts()))


async def ask(url, labels, job=None, timeout=LONG):
    async with asking(url) as (_, probe):
        return await probe.ask(AlertParams(labels=labels, job=job), timeout)


async def turns(verdict, why, url, labels):
    until = time.monotonic() + 20
    while (finding := await ask(url, labels)).verdict is not verdict or why not in finding.why:
        assert time.monotonic() < until, finding
        await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("labels", "verdict", "why"),
    [
        ({"alertname": "Always"}, UNHEALTHY, "Always fires"),
        ({"alertname": "Always", "severity": "critical", "cluster": "eu"}, UNHEALTHY, "fires"),
        ({"alertname": "Always", "severity": "warning"}, UNKNOWN, "no such rule"),
        ({"alertname": "Waiting"}, UNKNOWN, "Waiting is pending"),
        ({"alertname": "Never"}, HEALTHY, "Never is over"),
        ({"alertname": "Never", "cluster": "eu"}, HEALTHY, "is over"),
        ({"alertname": "Failing"}, UNKNOWN, "its rule is not healthy: invalid regular expression"),
        ({"alertname": "NotYet"}, UNKNOWN, "its rule is not healthy: unknown"),
        ({"alertname": "Unheard"}, UNKNOWN, "no such rule"),
        ({"alertname": "Twice", "severity": "warning"}, HEALTHY, "is over"),
        ({"alertname": "Twice"}, UNHEALTHY, "fires"),
    ],
)
async def test_each_answer_that_prometheus_can_give_has_its_verdict(world, labels, verdict, why):
    prom, *_ = world
    await turns(verdict, why, prom.url, labels)


async def test_a_job_that_is_named_is_asked_about_instead_of_the_label_and_an_empty_one_is_not(world):
    prom, *_ = world
    labels = {"alertname": "Never", "job": "x"}
    for job, asked in ((None, "x"), ("y", "y")):
        finding = await ask(prom.url, labels, job)
        assert finding.verdict is UNKNOWN
        assert f"no target of job {asked} is known" in finding.why
    finding = await ask(prom.url, labels, "")
    assert (finding.verdict, finding.why) == (HEALTHY, 'Never{job="x"} is over')


async def test_an_alert_that_is_over_because_its_target_is_gone_is_not_proven_to_be_over(world):
    prom, target, address = world
    labels = {"alertname": "Broken", "job": JOB, "instance": address, "severity": "critical", "cluster": "eu"}
    (spec,) = default_recovered([labels])
    asked = spec.params["labels"]
    await turns(UNHEALTHY, "fires", prom.url, asked)
    target.broken = 0
    await turns(HEALTHY, "all targets of job", prom.url, asked)
    target.broken = 1
    await turns(UNHEALTHY, "fires", prom.url, asked)
    target.up = False  # the series goes stale, and the alert with it
    await turns(UNKNOWN, f"is over, but 1 of 1 targets of job {JOB} are not up: {address}", prom.url, asked)


async def test_the_rules_have_their_health_their_alerts_and_the_time_of_their_evaluation(world):
    prom, *_ = world
    async with asking(prom.url) as (prometheus, _):
        every = {
            (rule.group, rule.name, rule.labels.get("severity")): rule
            for rule in await prometheus.rules(LONG)
        }
        (named,) = await prometheus.rules(LONG, "Always")
    assert len(every) == 8
    always, failing = every["quick", "Always", "critical"], every["quick", "Failing", None]
    assert (always.health, always.state, always.last_error) == ("ok", "firing", "")
    assert [(one.state, one.labels) for one in always.alerts] == [
        ("firing", {"alertname": "Always", "severity": "critical"})
    ]
    assert always.interval == timedelta(milliseconds=200)
    assert always.age < timedelta(seconds=10)
    assert named.name == "Always"
    assert (failing.health, failing.last_error[:26]) == ("err", "invalid regular expression")
    assert (every["slow", "NotYet", None].evaluated_at, every["slow", "NotYet", None].age) == (None, None)


async def test_a_prometheus_that_stands_still_or_is_away_proves_nothing(tmp_path):
    async with prometheus_server.prometheus(tmp_path, prometheus_server.prometheus_config()) as server:
        server.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, server.process.pid, os.WSTOPPED)
        try:
            with pytest.raises(ProbeError, match="did not answer within 300ms"):
                await ask(server.url, "X", timeout=timedelta(milliseconds=300))
        finally:
            server.process.send_signal(signal.SIGCONT)
        await server.end(signal.SIGKILL)
        with pytest.raises(ProbeError, match="cannot be asked"):
            await ask(server.url, "X")


async def test_rules_and_up_together_have_one_limit_of_time():
    asked = []

    async def slow(request):
        asked.append(request.path)
        await asyncio.sleep(0.2)
        groups = '{"status":"success","data":{"groups":[{"name":"g","interval":1,"rules":[{"name":"X","health":"ok",%s}]}]}}'
        return web.Response(text=groups % '"lastEvaluation":"2999-01-01T00:00:00Z","state":"inactive"')

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", slow)
    async with TestServer(app) as server:
        with pytest.raises(ProbeError, match="did not answer within 300ms"):
            await ask(f"http://127.0.0.1:{server.port}", "X", "j", timedelta(milliseconds=300))
    assert asked == ["/api/v1/rules", "/api/v1/query"]
