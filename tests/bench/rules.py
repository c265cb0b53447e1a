"""Rules: the packs that the measured daemons load, of any size."""

from pathlib import Path

KNOWN, TOLD, SHADOWED, ACTING = "BenchKnown", "BenchTold", "BenchShadowed", "BenchActing"

_PACK = """\
name: bench
defaults:
  guard: {cooldown: 0s, budget: 1000000/100ms, budget_global: 1000000/100ms, storm: 1000000/5m}
"""
"""All guards are asked; their limits are such that they refuse nothing, and read no more permits than usual budgets do."""

_RULES = """\
rules:
  - name: known
    match: ['alertname="{known}"', 'job="bench"']
    target: "{{{{ labels.instance }}}}"
    ladder: []
  - name: told
    match: ['alertname="{told}"', 'job="bench"']
    target: "{{{{ labels.instance }}}}"
    ladder: []
  - name: shadowed
    match: ['alertname="{shadowed}"', 'job="bench"']
    target: "{{{{ labels.instance }}}}"
    mode: shadow
    do: [{{http: {{url: "http://127.0.0.1:{sink}/", json: {{target: "{{{{ target }}}}"}}}}}}]
  - name: acting
    match: ['alertname="{acting}"', 'job="bench"']
    target: "{{{{ labels.instance }}}}"
    do: [{{http: {{url: "http://127.0.0.1:{sink}/", json: {{target: "{{{{ target }}}}"}}}}}}]
"""
_OTHER = """\
  - name: other-{number}
    match: ['alertname="Other{number}"', 'job=~"bench|hotel-.*"']
    target: "{{{{ labels.instance }}}}"
    ladder: []
"""
_OWN = 4


def write_rules(directory: Path, count: int, sink: int) -> Path:
    """Write a rules directory with so many rules, of which most match other alerts; returns it."""
    pack = directory / "bench"
    pack.mkdir(parents=True)
    (pack / "pack.yaml").write_text(_PACK, encoding="utf-8")
    text = _RULES.format(known=KNOWN, told=TOLD, shadowed=SHADOWED, acting=ACTING, sink=sink)
    (pack / "measured.yaml").write_text(text, encoding="utf-8")
    others = list(range(count - _OWN))
    for first in range(0, len(others), 500):
        text = "rules:\n" + "".join(_OTHER.format(number=n) for n in others[first : first + 500])
        (pack / f"others-{first:05d}.yaml").write_text(text, encoding="utf-8")
    return directory
