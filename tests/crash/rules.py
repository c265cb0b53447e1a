"""Rules: what the campaign's daemon does, in several editions of which reloads change one into another."""

import sys
from pathlib import Path

ALERTS = ("Down", "Slow", "Stuck", "Blind", "Flood", "Queue", "Note")
"""One rule each: see RULES."""

PACK = """
name: shop
defaults:
  hold: 150ms
  flap_window: 400ms
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
    summary: edition {edition}
    do:
      - flag: {{at: "env://{folder}/files/mode-{{{{ target }}}}.env", set: {{MODE: mock, EXTRA: "{edition}"}}}}
    activate:
      - exec: {{argv: [{act}, kick, "mode-{{{{ target }}}}"], observe: [{act}, count, "mode-{{{{ target }}}}"]}}
    verify:
      - {{http: {{url: "{url}/fine/{{{{ target }}}}"}}, every: 100ms}}
    recovered:
      - {{http: {{url: "{url}/fine/{{{{ target }}}}"}}, every: 100ms}}

  - name: ladder          # the first rung does not help and is taken back; the second one does
    match: alertname="Slow"
    target: "{{{{ labels.house }}}}"
    summary: edition {edition}
    ladder:
      - name: gentle
        do:
          - flag: {{at: "env://{folder}/files/ladder-{{{{ target }}}}.env", set: {{MODE: gentle{edition}}}}}
        verify:
          - {{http: {{url: "{url}/bad/{{{{ target }}}}"}}, every: 100ms, within: 100ms}}
      - name: firm
        do:
          - exec:
              argv: [{act}, set, "ladder-{{{{ target }}}}", "2{edition}"]
              observe: [{act}, get, "ladder-{{{{ target }}}}"]
              revert: [{act}, restore, "ladder-{{{{ target }}}}"]
          - flag: {{at: "env://{folder}/files/ladder-{{{{ target }}}}.env", set: {{OTHER: firm}}}}
        verify:
          - {{http: {{url: "{url}/fine/{{{{ target }}}}"}}, every: 100ms}}
    recovered:
      - {{http: {{url: "{url}/fine/{{{{ target }}}}"}}, every: 100ms}}

  - name: restart         # nothing to take back, and the count tells whether it was done
    match: alertname="Stuck"
    target: "{{{{ labels.house }}}}"
    summary: edition {edition}
    do:
      - exec: {{argv: [{act}, kick, "restart-{{{{ target }}}}"], observe: [{act}, count, "restart-{{{{ target }}}}"]}}

  - name: blind           # nobody can tell whether it was done: at most once, then a person
    match: alertname="Blind"
    target: "{{{{ labels.house }}}}"
    summary: edition {edition}
    do:
      - exec: {{argv: [{act}, kick, "blind-{{{{ target }}}}"]}}

  - name: limit           # by HTTP, with Idempotency-Key
    match: alertname="Flood"
    target: "{{{{ labels.house }}}}"
    summary: edition {edition}
    do:
      - http:
          method: POST
          url: "{url}/limit/{{{{ target }}}}"
          json: {{per_minute: 30{edition}}}
          observe: {{}}
          revert: {{method: PUT}}
    verify:
      - {{http: {{url: "{url}/fine/{{{{ target }}}}"}}, every: 100ms}}
    recovered:
      - {{http: {{url: "{url}/fine/{{{{ target }}}}"}}, every: 100ms}}

  - name: queue           # two steps, taken back last in first out
    match: alertname="Queue"
    target: "{{{{ labels.house }}}}"
    summary: edition {edition}
    do:
      - exec:
          argv: [{act}, set, "queue-{{{{ target }}}}", "5{edition}"]
          observe: [{act}, get, "queue-{{{{ target }}}}"]
          revert: [{act}, restore, "queue-{{{{ target }}}}"]
      - flag: {{at: "env://{folder}/files/queue-{{{{ target }}}}.env", set: {{OTHER: queue}}}}
    recovered:
      - {{http: {{url: "{url}/fine/{{{{ target }}}}"}}, every: 100ms}}

  - name: note            # tells people only
    match: alertname="Note"
    target: "{{{{ labels.house }}}}"
    summary: edition {edition}
    ladder: []
"""

BROKEN = "rules: [{name: broken, match: 'alertname=\"Down\"', do: [{fly: {}}]}]\n"


def write_rules(folder: Path, socket: Path, url: str, edition: int) -> None:
    """Write one edition; each is a new version of every rule."""
    pack = folder / "rules" / "shop"
    pack.mkdir(parents=True, exist_ok=True)
    act = ", ".join(
        f'"{part}"' for part in (sys.executable, "-I", "-S", Path(__file__).with_name("act.py"), socket)
    )
    (pack / "pack.yaml").write_text(PACK)
    rules = RULES.format(folder=folder, act=act, url=url, edition=edition)
    (pack / "rules.yaml").write_text(rules)


def break_rules(folder: Path) -> None:
    """Write what no daemon takes."""
    (folder / "rules" / "shop" / "rules.yaml").write_text(BROKEN)
