"""The probes' parameters: what loads, what is refused and why, and what is shown of them."""

import inspect
import re
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from pydantic import SecretStr, ValidationError
from ruamel.yaml import YAML

import stopgap.probes
from stopgap.contacts import Contacts
from stopgap.context import Context, Http
from stopgap.errors import ConfigError
from stopgap.probes import build
from stopgap.prometheus import Prometheus

TIMING = {"within", "for", "every", "after", "timeout"}


def context() -> Context:
    http = Http()
    return Context(http=http, prometheus=Prometheus(None, http.session), contacts=Contacts())


def params(kind, **given):
    return build(context())[kind].params.model_validate(given)


def describe(kind, **given):
    return build(context())[kind].describe(params(kind, **given))


def examples():
    for kind, probe in build(context()).items():
        block = re.search(r"```yaml\n(.*?)```", inspect.cleandoc(type(probe).__doc__), re.DOTALL)
        assert block, f"{kind} shows no example"
        for item in YAML(typ="safe").load(block[1]):
            yield pytest.param(kind, item, id=f"{kind}: {item}"[:80])


@pytest.mark.parametrize(("kind", "item"), list(examples()))
def test_the_examples_in_the_docs_load(kind, item):
    probe = build(context())[kind]
    value = item.pop(kind)
    given = dict(value) if isinstance(value, dict) else {probe.params.scalar: value}
    given |= {key: item.pop(key) for key in probe.params.siblings & item.keys()}
    assert item.keys() <= TIMING
    assert probe.describe(probe.params.model_validate(given)).startswith(kind)


def test_promql_waits_for_a_scrape_before_it_is_first_asked_and_the_others_do_not():
    assert {name: probe.after for name, probe in build(context()).items()} == {
        "promql": 30.0,
        "alert": 0.0,
        "http": 0.0,
        "tcp": 0.0,
        "exec": 0.0,
        "sql": 0.0,
        "redis": 0.0,
    }


@pytest.mark.parametrize(
    ("kind", "given", "problem"),
    [
        ("promql", {"query": "up"}, "Field required"),
        ("promql", {"query": "", "is": "== 1"}, "at least 1 character"),
        ("promql", {"query": "up", "is": '== "up"'}, "PromQL returns numbers"),
        ("promql", {"query": "up", "is": 1}, "write '== 1'"),
        ("alert", {"labels": {"job": "api"}}, "write alertname"),
        ("alert", {"labels": {"alertname": ""}}, "write alertname"),
        ("alert", {"labels": ""}, "write alertname"),
        (
            "alert",
            {"labels": {str(i): "" for i in range(1024)} | {"alertname": "X"}},
            "1025 labels are too many",
        ),
        ("alert", {"labels": {"alertname": "X", "a": ["b"]}}, "valid string"),
        ("tcp", {"address": "db"}, "write host:port"),
        ("tcp", {"address": ":80"}, "write host:port"),
        ("tcp", {"address": "db:http"}, "write host:port"),
        ("tcp", {"address": "db:0"}, "write host:port"),
        ("tcp", {"address": "db:65536"}, "write host:port"),
        ("tcp", {"address": "::1:80"}, "write host:port"),
        ("tcp", {"address": "[db]:80"}, "write host:port"),
        ("tcp", {"address": "http://db:80"}, "write host:port"),
        ("exec", {"argv": []}, "at least 1 item"),
        ("exec", {"argv": "ls -l"}, "tuple"),
        ("exec", {"argv": ["ls"], "env": {"A B": "c"}}, "pattern"),
        ("http", {"url": "ftp://x/"}, "write http://host/path"),
        ("http", {"url": "localhost:8000"}, "write http://host/path"),
        ("http", {"url": "http:///x"}, "write http://host/path"),
        ("http", {"url": "http://x:99999/"}, "write http://host/path"),
        ("http", {"url": "http://x", "status": 99}, "greater than or equal to 100"),
        ("http", {"url": "http://x", "status": []}, "at least 1 item"),
        ("http", {"url": "http://x", "method": "POST"}, "'GET' or 'HEAD'"),
        ("http", {"url": "http://x", "method": "HEAD", "json": {"a": 1}}, "HEAD returns no body"),
        ("http", {"url": "http://x", "headers": {"A": "b\r\nC: d"}}, "one line"),
        ("http", {"url": "http://x", "headers": {"A b": "c"}}, "pattern"),
        ("http", {"url": "http://x", "json": {"a": "< b"}}, "not a condition"),
        ("http", {"url": "http://x", "redirects": True}, "not permitted"),
    ],
)
def test_wrong_parameters_are_refused_with_a_reason(kind, given, problem):
    with pytest.raises(ValidationError) as refused:
        params(kind, **given)
    assert problem in str(refused.value)


def test_a_secret_in_a_refused_parameter_is_not_printed():
    with pytest.raises(ValidationError) as refused:
        params("http", url=SecretStr("hunter2"), headers={"A": SecretStr("hunter3\n")})
    assert "hunter" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "given", "line"),
    [
        ("promql", {"query": "max(\n  up\n)", "is": "==1"}, "promql max( up ) == 1"),
        ("alert", {"labels": "X"}, "alert X is over"),
        (
            "alert",
            {"labels": {"job": "api", "alertname": "X", "a": "b\n" + "c" * 500}, "job": "web"},
            'alert X{a="b ' + "c" * 112 + "… is over, job web is up",
        ),
        ("alert", {"labels": {"job": "api", "alertname": "X"}}, 'alert X{job="api"} is over, job api is up'),
        ("alert", {"labels": {"job": "api", "alertname": "X"}, "job": ""}, 'alert X{job="api"} is over'),
        ("tcp", {"address": "[::1]:80"}, "tcp [::1]:80"),
        ("exec", {"argv": ["ls", "-l"], "env": {"A": SecretStr("hunter2")}}, "exec A=… ls -l"),
        ("http", {"url": "http://u:hunter2@x/y?z=1"}, "http GET http://x/y?z=1 200"),
        ("http", {"url": SecretStr("http://u:hunter2@x/")}, "http GET ********** 200"),
        (
            "http",
            {
                "url": "http://x",
                "status": [200, 204],
                "contains": "ok",
                "json": {"a.b": "up", "c": "< 5", "d": True},
            },
            'http GET http://x 200 or 204, containing "ok", a.b == "up", c < 5, d == true',
        ),
    ],
)
def test_a_probe_describes_itself_on_one_line_without_secrets(kind, given, line):
    assert describe(kind, **given) == line


class Moon:
    """A probe of another package."""

    name = "moon"
    after = 0.0

    def __init__(self, context):
        self.context = context


class Tcp(Moon):
    name = "tcp"


def with_entry_points(monkeypatch, *names):
    points = EntryPoints(EntryPoint(name, f"{__name__}:{name}", "stopgap.probes") for name in names)
    monkeypatch.setattr(
        EntryPoint, "load", lambda point: globals()[point.name] if point.name in globals() else missing()
    )
    monkeypatch.setattr(stopgap.probes, "entry_points", lambda group: points.select(group=group))


def missing():
    raise ImportError("no module named 'moonlight'")


def test_another_package_brings_a_probe_by_its_entry_point(monkeypatch):
    with_entry_points(monkeypatch, "Moon")
    given = context()
    assert build(given)["moon"].context is given


def test_packages_that_cannot_load_or_take_a_taken_name_are_all_said_at_once(monkeypatch):
    with_entry_points(monkeypatch, "Tcp", "Sun")
    with pytest.raises(ConfigError) as refused:
        build(context())
    assert "the probe 'tcp' exists" in str(refused.value)
    assert "no module named 'moonlight'" in str(refused.value)
