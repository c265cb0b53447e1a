"""Suites: packs and tests of rules as tests write them: a rule, what happens, and what came of it."""

from pathlib import Path
from typing import Any

from stopgap.config.findings import Findings
from stopgap.simulate.play import Stage
from stopgap.stock import build_catalog
from stopgap.suite.packs import Packs
from stopgap.suite.running import Result, run
from stopgap.suite.script import Script, read_scripts

STAGE = Stage(build_catalog)
PACK = """
name: shop
vars: {hold: 2m}
secrets: [key]
contacts: {default: {url_env: X}, oncall: {url_env: X}, lead: {url_env: X}}
"""
CALM = """
rules:
  - name: calm
    match: ['alertname="Slow"', 'job="shop"']
    target: app
    recovered: [{http: "http://cause/"}]
    ladder:
      - name: cache
        do: [{flag: {at: "env:///etc/app.env", set: {CACHE: long, KEY: "{{ secrets.key }}"}}}]
        activate: [{restart: "systemd://app"}]
        verify:
          - {http: "http://ready/", after: 5s, within: 30s}
          - {promql: max(slow), is: "< 1", after: 10s, within: 30s}
      - name: more
        only_if: [{tcp: "spare:443"}]
        do: [{scale: {at: "compose://shop/app", count: +1, min: 1, max: 3}}]
        on_failure: keep
    hold: "{{ vars.hold }}"
    escalate:
      - {when: mitigated, notify: [oncall]}
      - {when: handed_over, notify: [oncall]}
      - {after: 5m, notify: [lead]}
      - {when: closed, notify: [oncall]}
"""


def pack(root: Path, rules: str = CALM, more: str = PACK) -> Path:
    """Write a pack."""
    place = root / "shop"
    place.mkdir(exist_ok=True)
    (place / "pack.yaml").write_text(more)
    (place / "rules.yaml").write_text(rules)
    return place


def scripts(place: Path, text: str) -> tuple[Script, ...]:
    """Write tests beside a pack, and read them."""
    path = place / "shop.test.yaml"
    path.write_text(text)
    findings = Findings()
    found = read_scripts(path, findings)
    assert not findings.errors, "\n".join(map(str, findings.errors))
    return found


def played(place: Path, text: str, **vars_: str) -> list[Result]:
    """Play tests, each written without `tests:` and its dash."""
    packs = Packs(STAGE.catalog, vars_)
    return [run(script, STAGE, packs.cast) for script in scripts(place, text)]


def one(place: Path, body: str, **vars_: str) -> Result:
    """Play one test of these keys."""
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    (result,) = played(place, f"tests:\n  - name: it works\n{lines}\n", **vars_)
    return result


def missed(result: Result) -> dict[str, Any]:
    """Return what was not as expected: key to what was got."""
    return {failure.miss.key: failure.miss.got for failure in result.failures}
