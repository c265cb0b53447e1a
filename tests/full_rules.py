"""Files in which every key of rules, packs and sites stands, and what the schema says of a tree."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from jsonschema import Draft7Validator

from stopgap.config import load
from stopgap.config.findings import Findings
from stopgap.config.read import read
from stopgap.errors import ConfigError
from stopgap.schema import whole
from stopgap.stock import bare_context, build_catalog

SITE = """
contacts: {default: {url_env: CHAT}, oncall: {url_env: CHAT}}
vars: {site: x}
messages: {guests: {subject: s, body: b}}
defaults:
  mode: auto
  approval: {timeout: 10m}
  budget: 4/1h
  guard: {storm: {targets: 20/5m}, protected: pay-*}
  actions_at_once: 4
  probes_at_once: 32
"""
PACK = """
name: shop
match: ['job="shop"']
vars: {unit: shop.service, time: 5m, yes: true, mode: shadow, x: "1"}
secrets: [key]
contacts: {team: {url_env: CHAT}}
messages: {news: {body: "{{ target }}"}}
severities: {critical: P0}
severity_names: {P0: SEV-1}
defaults: {hold: 6m, cooldown: 20m, windows: {deny: [Fri 16:00-24:00]}, guard: {budget_global: 9/1h}}
"""
TERMS = """
rules:
  - name: terms
    match: [alertname="Down", 'env="prod"']
    target: "{{ labels.instance }}"
    per: [instance]
    summary: s
    runbook_url: http://x
    mode: auto
    recovered: [{http: "http://pms/health", every: 30s, for: 5s, timeout: 2s}]
    hold: 5m
    max_hold: 4h
    flap_window: 15m
    unknown_for: 10m
    yield_to: [other]
    messages: {own: {subject: s, body: b}}
    guard:
      cooldown: 10m
      budget: 3/1h
      budget_global: 20/1h
      circuit: {failures: 2/6h, lasts: 1d}
      storm: {targets: 10/5m, below: 5, calm: 10m}
      windows: {allow: Mon-Fri 08:00-18:00 Europe/Madrid, deny: [Sat 00:00-24:00]}
      blast_radius: {total: 'count(up)', max: 30%}
      protected: [db-*]
    escalate:
      - {when: mitigated, notify: [oncall], message: own}
      - {after: 15m, even_if: mitigated, notify: team}
      - {every: 30m, even_if: [mitigated, acknowledged], notify: [oncall, team]}
    do: [{restart: "systemd://{{ vars.unit }}"}]
    verify: [{alert: Down}]
    approval: true
  - {name: other, match: alertname="Short", ladder: []}
"""
LADDER = """
rules:
  - name: ladder
    match: alertname="Down"
    ladder:
      - name: first
        only_if: [{tcp: "mock:443"}]
        do:
          - {flag: {at: "env:///etc/a.env", set: {A: 010, B: x}, back_to: {A: 1}}, timeout: 5s, retries: 2, title: t}
          - http: {url: "http://a/b", method: PUT, json: {a: [1]}, headers: {X-Key: "{{ secrets.key }}"}, status: 204}
            optional: true
          - {exec: {argv: [/bin/true], env: {A: b}, stdin: x, idempotent: true}}
          - {notify: {contact: oncall, title: t, body: b}}
          - wait: 1s
        activate: [{restart: {at: systemd://shop.service}}]
        verify:
          - http: {url: "http://a/b", status: [200, 204], contains: ok, method: GET}
            json: {a.b: up, n: '< 5', t: true}
            within: 60s
            after: 1s
          - {promql: max(up), is: '== 1', within: 2m, after: 31s}
          - {alert: {labels: {alertname: Down}, job: shop}}
          - {exec: {argv: [/bin/true], env: {A: b}}}
        approval: 10m
        once: true
        on_failure: revert
        on_resolve: revert
        go_on: true
      - do:
          - {scale: {at: "compose://shop/api", count: +1, min: 1, max: 5}}
          - {service: {at: systemd://a.service, state: stopped}}
        verify: [{alert: Down}]
        approval: {timeout: 5m}
"""
SHORT = 'rules: [{name: short, match: a="b", ladder: []}]'
FILES = {"site.yaml": SITE, "shop/pack.yaml": PACK, "shop/terms.yaml": TERMS, "shop/ladder.yaml": LADDER}
BESIDE = {"site.yaml": SITE, "shop/pack.yaml": PACK, "shop/short.yaml": SHORT}
"""What a file of rules is loaded with."""

CATALOG = build_catalog(bare_context())
SCHEMA = Draft7Validator(whole(CATALOG))


def plain(text: str) -> Any:
    """Return what the loader reads; an editor's YAML 1.2 reads the same, but for a few numbers."""
    findings = Findings()
    node = read(text, "x.yaml", findings)
    assert node is not None, findings.errors
    return node.plain()


TREES = {name: plain(text) for name, text in FILES.items()}


def places(tree: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if at:
        yield at
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, each in inner:
        yield from places(each, (*at, key))


def at(tree: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        tree = tree[step]
    return tree


def replaced(tree: Any, place: tuple[str | int, ...], value: Any) -> Any:
    made = copy.deepcopy(tree)
    at(made, place[:-1])[place[-1]] = value
    return made


def underlined(tree: Any, schema: Draft7Validator = SCHEMA) -> list[str]:
    return [f"{each.json_path}: {each.message[:200]}" for each in schema.iter_errors(tree)]


def complaints(root: Path, name: str, tree: Any) -> list[str]:
    """Load a tree as the file of this name, among the others; return what is wrong with it."""
    for path in root.rglob("*.yaml"):
        path.unlink()
    for each, text in {**BESIDE, name: orjson.dumps(tree).decode()}.items():
        (root / each).parent.mkdir(exist_ok=True)
        (root / each).write_text(text)
    try:
        load(root, CATALOG, environ={"CHAT": "json://chat", "STOPGAP_SECRET_KEY": "k"})
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []
