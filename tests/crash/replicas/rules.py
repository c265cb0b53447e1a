"""Rules: what the campaign's replicas do."""

import sys
from pathlib import Path

ALERTS = ("Down", "Slow", "Stuck", "Blind")
"""One rule each: see RULES."""

PACK = """
name: shop
defaults:
  hold: 300ms
  flap_window: 1s
  guard:
    cooldown: 0s
    budget: 100000/1h
    budget_global: 100000/1h
    circuit: 100000/6h
    storm: 100000/5m
"""

RULES = """
rules:
  - name: mode            # settings, and a command that makes them effective after the step and after the revert
    match: alertname="Down"
    target: "{{{{ labels.house }}}}"
    do:
      - flag: {{at: "env://{folder}/files/mode-{{{{ target }}}}.env", set: {{MODE: mock, EXTRA: "1"}}}}
    activate:
      - exec: {{argv: [{deed}, kick, "kick:mode-{{{{ target }}}}"], observe: [{deed}, count, "kick:mode-{{{{ target }}}}"]}}
    verify:
      - {{http: {{url: "{url}/fine"}}, every: 200ms}}
    recovered:
      - {{http: {{url: "{url}/fine"}}, every: 200ms}}

  - name: ladder          # the first rung does not help and is taken back; the second one does
    match: alertname="Slow"
    target: "{{{{ labels.house }}}}"
    ladder:
      - name: gentle
        do:
          - flag: {{at: "env://{folder}/files/ladder-{{{{ target }}}}.env", set: {{MODE: gentle}}}}
        verify:
          - {{http: {{url: "{url}/bad"}}, every: 100ms, within: 100ms}}
      - name: firm
        do:
          - exec: {{argv: [{deed}, set, "level:{{{{ target }}}}", "20"], observe: [{deed}, get, "level:{{{{ target }}}}"],
                   revert: [{deed}, restore, "level:{{{{ target }}}}"]}}
        verify:
          - {{http: {{url: "{url}/fine"}}, every: 200ms}}
    recovered:
      - {{http: {{url: "{url}/fine"}}, every: 200ms}}

  - name: restart         # nothing to take back, and the count tells whether it was done
    match: alertname="Stuck"
    target: "{{{{ labels.house }}}}"
    do:
      - exec: {{argv: [{deed}, kick, "kick:restart-{{{{ target }}}}"], observe: [{deed}, count, "kick:restart-{{{{ target }}}}"]}}

  - name: blind           # nobody can tell whether it was done: at most once, then a person
    match: alertname="Blind"
    target: "{{{{ labels.house }}}}"
    do:
      - exec: {{argv: [{deed}, kick, "kick:blind-{{{{ target }}}}"]}}
"""
FILES = ("mode", "ladder")
ENV = "# kept\nMODE=normal\n\nOTHER='x'\n"


def write_rules(folder: Path, log: Path, url: str) -> Path:
    """Write the pack that all replicas load; returns its folder."""
    pack = folder / "rules" / "shop"
    pack.mkdir(parents=True, exist_ok=True)
    command = (sys.executable, "-I", "-S", Path(__file__).with_name("deed.py"), log)
    deed = ", ".join(f'"{part}"' for part in command)
    (pack / "pack.yaml").write_text(PACK)
    (pack / "rules.yaml").write_text(RULES.format(folder=folder, deed=deed, url=url))
    return folder / "rules"
