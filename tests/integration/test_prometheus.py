"""Prometheus: instant queries to the real one, and to servers that answer as proxies and broken ones do."""

import asyncio
import json
import math
import os
import signal
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
from stopgap.probes.promql import Promql, PromqlParams
from stopgap.prometheus import Prometheus

pytestmark = pytest.mark.xdist_group("prometheus")
LONG = timedelta(seconds=20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prom(tmp_path_factory):
    config = prometheus_server.prometheus_config()
    async with prometheus_server.prometheus(tmp_path_factory.mktemp("prom"), config) as server:
        yield server


@asynccontextmanager
async def client(url):
    async with aiohttp.ClientSession() as session:
        yield Prometheus(url, lambda: session)


async def query(url, expression, timeout=LONG):
    async with client(url) as prometheus:
        return await prometheus.query(expression, timeout=timeout)


async def ask(url, expression, condition="== 1"):
    async with client(url) as prometheus:
        probe = Promql(Context(http=Http(), prometheus=prometheus, contacts=Contacts()))
        return await probe.ask(PromqlParams.model_validate({"query": expression, "is": condition}), LONG)


async def test_a_vector_has_labels_and_values(prom):
    answer = await query(prom.url, 'label_replace(vector(7), "job", "a\\"b", "", "")')
    ((element,), warnings) = (answer.elements, answer.warnings)
    assert (element.labels, element.value, warnings) == ({"job": 'a"b'}, 7.0, ())


async def test_a_scalar_is_one_element_without_labels(prom):
    (element,) = (await query(prom.url + "/", "1/0")).elements
    assert (element.labels, element.value) == ({}, math.inf)


async def test_an_empty_vector_is_success_without_elements(prom):
    assert (await query(prom.url, "absent_metric")).elements == ()


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("vector(1)", Verdict.HEALTHY),
        ("vector(1) or label_replace(vector(1), 'a', 'b', '', '')", Verdict.HEALTHY),
        ("vector(0)", Verdict.UNHEALTHY),
        ("vector(1) or label_replace(vector(0), 'a', 'b', '', '')", Verdict.UNHEALTHY),
        ("vector(NaN)", Verdict.UNKNOWN),
        ("0/0", Verdict.UNKNOWN),
        ("absent_metric", Verdict.UNKNOWN),
        ("vector(0) == 1", Verdict.UNKNOWN),
    ],
)
async def test_the_probe_judges_what_the_real_prometheus_says(prom, expression, verdict):
    assert (await ask(prom.url, expression)).verdict is verdict


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("up ==", "400: bad_data: .*parse error"),
        ("up{} and on(", "400: bad_data"),
        ("vector(1)[5m:1m]", "without \\[...\\]"),
        ('"text"', "returns a string"),
        ("label_replace(vector(1), 'a', 'b', 'c', '(')", "422: execution"),
    ],
)
async def test_an_expression_that_gives_no_numbers_is_an_error_with_its_reason(prom, expression, why):
    with pytest.raises(ProbeError, match=why):
        await query(prom.url, expression)


async def test_a_partial_answer_is_unknown_and_says_what_prometheus_warns_of(tmp_path):
    lost = {
        "url": f"http://127.0.0.1:{prometheus_server.free_port()}/read",
        "read_recent": True,
        "remote_timeout": "1s",
    }
    config = prometheus_server.prometheus_config(remote_read=[lost])
    async with prometheus_server.prometheus(tmp_path, config) as server:
        assert (await query(server.url, "count(up) or vector(1)")).warnings
        finding = await ask(server.url, "count(up) or vector(1)")
    assert finding.verdict is Verdict.UNKNOWN
    assert "Prometheus warns" in finding.why


async def test_a_prometheus_that_was_killed_is_an_error(tmp_path):
    starting = prometheus_server.prometheus(tmp_path, prometheus_server.prometheus_config())
    async with starting as server, client(server.url) as prometheus:
        await prometheus.query("vector(1)", timeout=LONG)
        await server.end(signal.SIGKILL)
        with pytest.raises(ProbeError, match=r"cannot be asked: (Connect call failed|.*refused)"):
            await prometheus.query("vector(1)", timeout=LONG)


async def test_a_prometheus_that_hangs_is_an_error_at_the_time_limit(tmp_path):
    async with prometheus_server.prometheus(tmp_path, prometheus_server.prometheus_config()) as server:
        server.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, server.process.pid, os.WSTOPPED)  # every thread of it stands still
        try:
            with pytest.raises(ProbeError, match="did not answer within 300ms"):
                await query(server.url, "vector(1)", timedelta(milliseconds=300))
        finally:
            server.process.send_signal(signal.SIGCONT)


async def test_a_name_that_does_not_resolve_is_an_error_without_the_password():
    with pytest.raises(ProbeError, match="cannot be asked") as failed:
        await query("http://u:hunter2@stopgap.invalid:9090", "up")
    assert "hunter2" not in str(failed.value)
    assert failed.value.__cause__ is None


@pytest.mark.parametrize("url", ["not a url", "http://u:hunter2@x:99999"])
async def test_a_url_that_is_none_is_an_error_that_does_not_print_it(url):
    with pytest.raises(ProbeError, match="cannot be asked") as failed:
        await query(url, "up")
    assert url not in str(failed.value)
    assert "hunter2" not in str(failed.value)


@asynccontextmanager
async def answering(reply):
    """A server whose every answer to a query is made by `reply(request)`."""
    app = web.Application()
    app.router.add_post("/prefix/api/v1/query", reply)
    app.router.add_get("/prefix/api/v1/rules", reply)
    async with TestServer(app) as server:
        yield f"http://probe:hunter2@127.0.0.1:{server.port}/prefix"


def constant(status, text):
    async def reply(request):
        return web.Response(status=status, text=text, headers={"Location": "/login"} if status == 302 else {})

    return reply


def success(kind, result, **more):
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more})


@pytest.mark.parametrize(
    ("status", "text", "why"),
    [
        (503, "Service Unavailable", "503 with Service Unavailable"),
        (
            503,
            '{"status":"error","errorType":"unavailable","error":"not\\nready"}',
            "503: unavailable: not ready",
        ),
        (
            422,
            '{"status":"error","errorType":"execution","error":"%s"}' % ("x" * 5000),
            "422: execution: x{100}",
        ),
        (404, "404 page not found\n", "404 with 404 page not found$"),
        (302, "", "302 with nothing"),
        (200, "<html>\x1b[2J sign in</html>", "200 with <html> .* sign in"),
        (200, "[]", "200 with"),
        (200, '{"status":"success"}', "not the form"),
        (200, success("vector", [{"metric": {}}]), "not the form"),
        (200, success("vector", [{"metric": {}, "value": [0, "one"]}]), "not the form"),
        (200, success("vector", [1]), "not the form"),
        (200, success("vector", [{"metric": {}, "histogram": [0, {}]}]), "returns a histogram"),
        (200, success("streams", []), "returns a streams"),
    ],
)
async def test_an_answer_that_is_none_is_an_error_with_a_short_reason(status, text, why):
    async with answering(constant(status, text)) as url:
        with pytest.raises(ProbeError, match=why) as failed:
            await query(url, "up")
    assert len(str(failed.value)) < 300
    assert str(failed.value).isprintable()


async def test_an_answer_beyond_the_limit_is_an_error():
    async with answering(constant(200, " " * (9 << 20))) as url:
        with pytest.raises(ProbeError, match="larger than 8 MiB"):
            await query(url, "up")


async def test_a_large_answer_is_read_whole():
    many = [{"metric": {"i": str(i)}, "value": [0, str(i)]} for i in range(10_000)]
    async with answering(constant(200, success("vector", many))) as url:
        assert sum(element.value for element in (await query(url, "up")).elements) == sum(range(10_000))


async def test_warnings_are_handed_on_and_remarks_of_style_are_not():
    async with answering(
        constant(200, success("vector", [], warnings=["half"], infos=["not a counter"]))
    ) as url:
        assert (await query(url, "up")).warnings == ("half",)


async def test_credentials_and_query_are_sent_as_prometheus_wants_them():
    seen = {}

    async def reply(request):
        seen.update(await request.post(), authorization=request.headers["Authorization"])
        return web.Response(text=success("scalar", [0, "1"]))

    async with answering(reply) as url:
        await query(url, 'up{job=~"a+b"}', timedelta(seconds=2.5))
    assert seen == {
        "query": 'up{job=~"a+b"}',
        "timeout": "2.500",
        "authorization": "Basic cHJvYmU6aHVudGVyMg==",
    }


async def test_a_connection_that_was_reset_is_tried_once_more():
    asked = []

    async def reply(request):
        asked.append(request)
        if len(asked) == 1:
            request.transport.abort()
        return web.Response(text=success("scalar", [0, "1"]))

    async with answering(reply) as url:
        assert (await query(url, "1")).elements[0].value == 1.0
    assert len(asked) == 2


async def test_a_connection_that_is_always_reset_is_an_error_after_two_attempts():
    asked = []

    async def reply(request):
        asked.append(request)
        request.transport.abort()
        return web.Response()

    async with answering(reply) as url:
        with pytest.raises(ProbeError, match="cannot be asked"):
            await query(url, "1")
    assert len(asked) == 2


RULE = {
    "name": "X",
    "type": "alerting",
    "state": "firing",
    "health": "ok",
    "labels": {"severity": "page"},
    "lastEvaluation": "2026-01-02T03:04:05.591051121Z",
    "alerts": [{"labels": {"alertname": "X"}, "state": "firing", "value": "1e+00"}],
}
DATE = {"Date": "Fri, 02 Jan 2026 03:05:05 GMT"}


def groups(*rules, **more):
    return json.dumps(
        {"status": "success", "data": {"groups": [{"name": "g", "interval": 15, "rules": rules}]}, **more}
    )


async def rules(reply, name=None):
    async with answering(reply) as url, client(url) as prometheus:
        return await prometheus.rules(LONG, name)


def dated(text, headers=DATE):
    async def reply(request):
        return web.Response(text=text, headers=headers)

    return reply


async def test_the_age_of_an_evaluation_goes_by_prometheus_own_clock():
    (rule,) = await rules(dated(groups(RULE, RULE | {"type": "recording"})))
    assert (rule.age, rule.interval) == (timedelta(seconds=59, microseconds=408_949), timedelta(seconds=15))
    (rule,) = await rules(dated(groups(RULE | {"lastEvaluation": "2026-01-02T03:05:05.9Z"})))
    assert rule.age == timedelta()


async def test_rules_of_a_name_are_asked_for_and_picked_from_a_prometheus_that_knows_no_such_filter():
    seen = []

    async def reply(request):
        seen.append((request.headers["Authorization"], list(request.query.items())))
        return web.Response(text=groups(RULE, RULE | {"name": "Y"}), headers=DATE)

    (rule,) = await rules(reply, "Y")
    assert rule.name == "Y"
    assert seen == [("Basic cHJvYmU6aHVudGVyMg==", [("type", "alert"), ("rule_name[]", "Y")])]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (constant(404, "404 page not found"), "404 with 404 page not found"),
        (constant(302, ""), "302 with nothing"),
        (constant(503, '{"status":"error","errorType":"unavailable","error":"no"}'), "503: unavailable: no"),
        (dated(groups(RULE, warnings=["half of the stores"])), "warns: half of the stores"),
        (dated(groups(RULE, warnings="half")), "warns: half"),
        (dated(groups(RULE), {"Date": "today"}), "no date"),
        (dated(groups(RULE), {"Date": "Fri, 02 Jan 2026 03:05:05 -0000"}), "no date"),
        (dated('{"status":"success","data":null}'), "not the form"),
        (dated(groups({"name": "X"})), "not the form"),
        (dated(groups(RULE | {"lastEvaluation": "soon"})), "not the form"),
        (dated(groups(RULE | {"alerts": [1]})), "not the form"),
        (dated(groups(RULE | {"labels": ["a"]})), "not the form"),
    ],
)
async def test_an_answer_without_rules_is_an_error_with_a_short_reason(reply, why):
    with pytest.raises(ProbeError, match=why):
        await rules(reply)


async def test_rules_beyond_the_limit_are_an_error():
    with pytest.raises(ProbeError, match="larger than 32 MiB"):
        await rules(dated(" " * (33 << 20)))


async def test_prometheus_fires_and_alertmanager_delivers_to_a_webhook(tmp_path):
    delivered = asyncio.Queue()

    async def take(request):
        await delivered.put((request.headers["Authorization"], await request.json()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/webhook", take)
    rules = tmp_path / "rules.yml"
    rules.write_text(
        "groups: [{name: g, rules: [{alert: Always, expr: vector(1), labels: {severity: critical}}]}]"
    )
    async with TestServer(app) as server:
        routed = prometheus_server.alertmanager_config(str(server.make_url("/webhook")), token="t0ken")
        async with prometheus_server.alertmanager(tmp_path, routed) as am:
            config = prometheus_server.prometheus_config(rules=[rules], alertmanagers=[am.address])
            async with prometheus_server.prometheus(tmp_path, config) as server_:
                authorization, body = await asyncio.wait_for(delivered.get(), 20)
                await server_.reload(prometheus_server.prometheus_config())
    assert authorization == "Bearer t0ken"
    assert body["alerts"][0]["labels"] == {"alertname": "Always", "severity": "critical"}


async def test_a_missing_package_is_an_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="apt-get install prometheus-alertmanager"):
        async with prometheus_server.alertmanager(tmp_path, {}):
            pass


async def test_a_wrong_configuration_is_an_error_with_the_servers_own_words(tmp_path):
    with pytest.raises(RuntimeError, match=r"ended at its start:\n[\s\S]*nonsense"):
        async with prometheus_server.prometheus(tmp_path, {"nonsense": 1}):
            pass
