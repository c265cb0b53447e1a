"""Rules: the packs that the measured daemons load, of any size."""

from pathlib import Path

KNOWN, TOLD, SHADOWED, ACTING, RUNNING = (
    "BenchKnown",
    "BenchTold",
    "BenchShadowed",
    "BenchActing",
    "BenchRunning",
)
COMMAND = "/usr/bin/touch"

LIMITS = {
    "cooldown": "0s",
    "budget": "1000000/100ms",
    "budget_global": "1000000/100ms",
    "storm": "1000000/5m",
}
"""All guards are asked; their limits are such that they refuse nothing, and read no more permits than usual budgets do."""
AT_ONCE = 64  # acts; the default is 8

_SITE = """\
defaults:
  actions_at_once: {at_once}
  guard: {{{limits}}}
"""
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
  - name: running
    match: ['alertname="{running}"', 'job="bench"']
    target: "{{{{ labels.instance }}}}"
    do: [{{exec: {{argv: ["{command}", "{folder}/{{{{ target }}}}"]}}}}]
"""
_OTHER = """\
  - name: other-{number}
    match: ['alertname="Other{number}"', 'job=~"bench|hotel-.*"']
    target: "{{{{ labels.instance }}}}"
    ladder: []
"""
_OWN = 5


def limits() -> str:
    """Say what is raised, in one line."""
    return ", ".join(f"{name} {value}" for name, value in LIMITS.items()) + f", actions_at_once {AT_ONCE}"


def write_rules(directory: Path, count: int, effects: tuple[int, Path]) -> Path:
    """Write a rules directory with so many rules, of which most match other alerts; returns it. `effects`: a port, a folder."""
    sink, folder = effects
    pack = directory / "bench"
    pack.mkdir(parents=True)
    raised = ", ".join(f"{name}: {value}" for name, value in LIMITS.items())
    (directory / "site.yaml").write_text(_SITE.format(at_once=AT_ONCE, limits=raised), encoding="utf-8")
    names = {"known": KNOWN, "told": TOLD, "shadowed": SHADOWED, "acting": ACTING, "running": RUNNING}
    text = _RULES.format(**names, sink=sink, command=COMMAND, folder=folder)
    (pack / "measured.yaml").write_text(text, encoding="utf-8")
    others = list(range(count - _OWN))
    for first in range(0, len(others), 500):
        text = "rules:\n" + "".join(_OTHER.format(number=n) for n in others[first : first + 500])
        (pack / f"others-{first:05d}.yaml").write_text(text, encoding="utf-8")
    return directory
