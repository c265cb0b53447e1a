"""Whatever a file holds, loading ends with rules or with places of mistakes, and never with a surprise."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tests.catalog_fakes import CATALOG

from stopgap.config import build_rule, load
from stopgap.config.findings import Findings
from stopgap.config.node import scalar
from stopgap.config.read import read
from stopgap.errors import ConfigError

RULE = """rules:
  - name: one
    match: ['alertname="Down"', 'job=~"{{ vars.job }}"']
    target: "{{ labels.job }}"
    recovered: [{promql: up, is: "== 1"}]
    ladder:
      - do: [{flag: {at: "env:///x", set: {A: 010, B: "{{ secrets.key }}"}}, timeout: 5s}]
        activate: [{restart: "systemd://{{ vars.job }}"}]
        verify: [{http: {url: "http://x", headers: {a: b}}, after: 1s, within: 30s}]
    guard: {cooldown: 1h}
    hold: 5m
    escalate: [{when: mitigated, notify: [default]}]
"""
PACK = (
    "name: p\nvars: {job: api}\nsecrets: [key]\ncontacts: {default: {url_env: CHAT}}\ndefaults: {hold: 1m}\n"
)
ENVIRON = {"CHAT": "json://chat", "STOPGAP_SECRET_KEY": "hunter2"}
JUNK = st.sampled_from(
    [
        "",
        "x",
        "1",
        "-",
        "[]",
        "{}",
        "null",
        "true",
        ":",
        "{{",
        "}}",
        "'",
        '"',
        "\t",
        "\n",
        " ",
        "&a",
        "*a",
        "!",
        "#",
        "é",
        "\0",
    ]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("rules")


def outcome(folder: Path, rules: str, pack: str = PACK) -> None:
    (folder / "p").mkdir(exist_ok=True)
    (folder / "p" / "pack.yaml").write_text(pack)
    (folder / "p" / "a.yaml").write_text(rules)
    try:
        loaded = load(folder, CATALOG, environ=ENVIRON)
    except ConfigError as error:  # whatever it is, it has a place
        assert error.problems  # noqa: PT017 - either end is fine
        for problem in error.problems:
            assert problem.path.startswith(str(folder))
            assert problem.line >= 1
            assert problem.column >= 1
            assert "hunter2" not in str(problem)
    else:
        for rule in loaded.rules:
            assert build_rule(rule.document, CATALOG) == rule


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_rule_with_any_piece_replaced_loads_or_is_told(folder, data):
    begin = data.draw(st.integers(0, len(RULE)))
    end = data.draw(st.integers(begin, min(len(RULE), begin + 30)))
    outcome(folder, RULE[:begin] + data.draw(JUNK) + RULE[end:])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_pack_with_any_piece_replaced_loads_or_is_told(folder, data):
    begin = data.draw(st.integers(0, len(PACK)))
    end = data.draw(st.integers(begin, min(len(PACK), begin + 30)))
    outcome(folder, RULE, PACK[:begin] + data.draw(JUNK) + PACK[end:])


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_told(text):
    findings = Findings()
    node = read(text, "x.yaml", findings)
    assert node is None or node.plain() is not NotImplemented


@given(st.from_regex(r"[A-Za-z0-9_.+-]{0,20}", fullmatch=True))
def test_a_scalar_prints_as_it_was_written_or_is_null_or_a_boolean(text):
    value = scalar(text, plain=True)
    assert (
        value in (None, True, False) or isinstance(value, float) or str(value) == text or value == int(text)
    )


def test_the_whole_rule_is_well(folder):
    outcome(folder, RULE)
    assert load(folder, CATALOG, environ=ENVIRON).rules
