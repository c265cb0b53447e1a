"""Whatever a file holds, loading ends with rules or with places of mistakes, and never with a surprise."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tests.catalog_fakes import CATALOG

from stopgap.config import build_rule, load
from stopgap.config.findings import Findings
from stopgap.config.guards import GuardKeys, TermKeys
from stopgap.config.node import scalar
from stopgap.config.read import read
from stopgap.errors import ConfigError

RULE = """rules:
  - name: one
    match: ['alertname="Down"', 'job=~"{{ vars.job }}"']
    target: "{{ labels.job }}"
    recovered: [{promql: up, is: "== 1"}]
    yield_to: [two]
    ladder:
      - do: [{flag: {at: "env:///x", set: {A: 010, B: "{{ secrets.key }}"}}, timeout: 5s}]
        only_if: [{http: "http://x", timeout: 1s}]
        approval: {timeout: 10m}
        go_on: true
        activate: [{restart: "systemd://{{ vars.job }}"}]
        verify: [{http: {url: "http://x", headers: {a: b}}, after: 1s, within: 30s}]
      - do: [{wipe: "systemd://x"}]
        approval: 5m
        once: false
    guard:
      cooldown: 1h
      budget: 3/1h
      budget_global: "{{ vars.most }}"
      circuit: {failures: 2/6h, lasts: 24h}
      storm: {targets: 10/5m, below: 5, calm: 10m}
      windows: {allow: [Mon-Fri 08:00-18:00], deny: Fri 16:00-24:00 Europe/Madrid}
      blast_radius: {total: 'count(up{job="{{ vars.job }}"})', max: 30%}
      protected: ["db-*"]
    hold: 5m
    escalate: [{when: mitigated, notify: [default]}]
  - {name: two, match: alertname="Down", approval: true, do: [{restart: "systemd://x"}]}
"""
PACK = """name: p
vars: {job: api, most: 20/1h}
secrets: [key]
contacts: {default: {url_env: CHAT}}
defaults:
  hold: 1m
  storm: 20/5m
  approval: 20m
  guard: {protected: x, windows: {deny: 22:00-06:00}, blast_radius: {max: 2}}
"""
SITE = """vars: {lag: 2m}
defaults:
  flap_window: "{{ vars.lag }}"
  circuit: 3/6h
  protected: [a, "{{ vars.job }}"]
  guard: {budget: 9/1h, blast_radius: {total: 10}}
  actions_at_once: 4
  probes_at_once: 9
"""
ENVIRON = {"CHAT": "json://chat", "STOPGAP_SECRET_KEY": "hunter2"}
GUARD_KEYS = [*GuardKeys.model_fields, *TermKeys.model_fields, "actions_at_once", "yield_to"]
RUNG_KEYS = ["only_if", "approval", "go_on", "once", "yield_to"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.from_regex(r"[0-9]{0,8}/[0-9]{0,12}[smhdw]?", fullmatch=True),
    st.from_regex(r"[0-9]{0,9}(\.[0-9]{0,9})? ?%", fullmatch=True),
    st.from_regex(r"([A-Z][a-z]{2}[,-]?){0,3} ?[0-9]{1,2}:[0-9]{2}-[0-9]{1,2}:[0-9]{2} ?[A-Za-z/._]{0,9}", fullmatch=True),
    st.sampled_from(["{{ vars.job }}", "{{ labels.x }}", "{{ secrets.key }}", "{{", "30%", "10m", "3/1h", "22:00-06:00"]),
)  # fmt: skip
WORDS = [
    "failures",
    "lasts",
    "targets",
    "below",
    "calm",
    "allow",
    "deny",
    "total",
    "max",
    "timeout",
    "http",
    "cooldown",
    "guard",
    "x",
]
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)
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


def outcome(folder: Path, rules: str, pack: str = PACK, site: str = SITE) -> None:
    (folder / "p").mkdir(exist_ok=True)
    (folder / "site.yaml").write_text(site)
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


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_site_with_any_piece_replaced_loads_or_is_told(folder, data):
    begin = data.draw(st.integers(0, len(SITE)))
    end = data.draw(st.integers(begin, min(len(SITE), begin + 30)))
    outcome(folder, RULE, site=SITE[:begin] + data.draw(JUNK) + SITE[end:])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_value_at_any_new_key_loads_or_is_told(folder, data):
    value = json.dumps(data.draw(VALUES))
    where = data.draw(st.sampled_from(["guard", "rung", "short", "defaults", "both"]))
    key = data.draw(st.sampled_from(GUARD_KEYS if where in {"guard", "both", "defaults"} else RUNG_KEYS))
    line = f"{key}: {value}"
    short = "rules:\n  - name: one\n    match: alertname=\"Down\"\n    do: [{wipe: 'systemd://x'}]\n"
    long = (
        'rules:\n  - name: one\n    match: alertname="Down"\n    ladder:\n      - do: [{wait: 1s}]\n        '
    )
    rules = {
        "rung": f"{long}{line}\n      - do: [{{wait: 1s}}]\n",
        "short": f"{short}    {line}\n",
        "guard": f"{short}    approval: true\n    guard:\n      {line}\n",
    }.get(where, f"{short}    approval: true\n    guard: {{storm: 5/1m}}\n")
    defaults = (
        f"  {line}\n"
        if where == "defaults"
        else f"  guard:\n    {line}\n"
        if where == "both"
        else "  hold: 1m\n"
    )
    place = data.draw(st.sampled_from(["pack", "site"]))
    pack = "name: p\n" + (f"defaults:\n{defaults}" if place == "pack" else "")
    outcome(folder, rules, pack, f"defaults:\n{defaults}" if place == "site" else "")


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
    loaded = load(folder, CATALOG, environ=ENVIRON)
    assert len(loaded.rules) == 2
    assert loaded.at_once.actions == 4
