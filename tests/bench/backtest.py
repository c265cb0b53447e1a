"""Backtest: a month of alerts, replayed by the command itself: how long that takes, and how much memory.

The month of a site with 20 services and 10 rules: 10 000 times something breaks, and each time five instances raise an alert and
lower it again. Once with the usual guards, and once with guards that refuse nothing, so that all of it is mitigated and taken back.
At last a tenth of the month, in which each alert is an incident of its own, and all of them are mitigated.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.ground import Ground
from tests.bench.report import Goal, Row, Sense, spelled
from tests.bench.servers import NotMeasured

MONTH = timedelta(days=30)
BEGIN = datetime(2026, 10, 1, tzinfo=UTC)
RULES, SERVICES, INSTANCES = 10, 20, 5
SPREAD = 60.0  # seconds in which all instances notice
LASTS = 900.0  # seconds that an alert fires on average
PATIENCE = 1800.0  # seconds

_SITE = "contacts: {default: {url_env: CHAT}}\n"
_GENEROUS = (
    "defaults: {guard: {cooldown: 0s, budget: 100000/1h, storm: 100000/5m}, budget_global: 100000/1h}\n"
)
_RULE = """\
  - name: rule-{number}
    match: alertname="Down{number}"
    target: "{{{{ labels.service }}}}"
    ladder:
      - name: mock
        do: [{{flag: {{at: "env:///etc/bench/{{{{ labels.service }}}}.env", set: {{MODE{number}: mock}}}}}}]
        activate: [{{restart: {{at: "systemd://{{{{ labels.service }}}}.service"}}}}]
        verify: [{{http: {{url: "http://127.0.0.1:8000/ready"}}, after: 5s, within: 60s}}]
    recovered: [{{http: {{url: "http://127.0.0.1:8000/cause"}}}}]
    escalate: [{{when: mitigated, notify: [default]}}, {{after: 15m, notify: [default]}}]
"""


def rows(ground: Ground) -> list[Row]:
    """Measure both sites. Raises NotMeasured."""
    directory, transitions = ground.directory, ground.scale.transitions
    together, alone = directory / "together.jsonl", directory / "alone.jsonl"
    together.write_text("".join(_events(INSTANCES, transitions, MONTH)), encoding="utf-8")
    alone.write_text("".join(_events(1, transitions // 10, MONTH / 10)), encoding="utf-8")
    usual, generous = _rules(directory / "usual", _SITE), _rules(directory / "generous", _SITE + _GENEROUS)
    runs = {
        f"30 days, {spelled(transitions)} changes": _run(usual, together, directory),
        "  guards that refuse nothing": _run(generous, together, directory),
        "  3 days, each alert an incident": _run(generous, alone, directory),
    }
    goal = Goal(Sense.BELOW, 60, " s")
    timed = [
        Row(name, run["seconds"], "s", goal=None if name.startswith("  3 days") else goal, detail=run)
        for name, run in runs.items()
    ]
    largest = max(run["mb"] for run in runs.values())
    return [*timed, Row("  memory at most", largest, "MB", goal=Goal(Sense.BELOW, 500, " MB"))]


def _events(instances: int, transitions: int, length: timedelta) -> Iterator[str]:
    """Write so many transitions as Alertmanager's event recorder does, in the order of time; so many instances break together."""
    dice = random.Random(7)
    told: list[tuple[float, str, str]] = []
    while len(told) < transitions:
        name, service = dice.randrange(RULES), dice.randrange(SERVICES * INSTANCES // instances)
        begins = dice.random() * length.total_seconds()
        ends = begins + SPREAD + dice.expovariate(1 / LASTS)
        for instance in range(instances):
            labels = {"alertname": f"Down{name}", "service": f"app-{service}", "instance": f"i{instance}"}
            told.append((begins + dice.random() * SPREAD, "alertCreated", json.dumps({"labels": labels})))
            told.append(
                (
                    ends + dice.random() * SPREAD,
                    "alertResolved",
                    json.dumps({"labels": labels, "resolved": True}),
                )
            )
    for at, kind, alert in sorted(told):
        stamp = (BEGIN + timedelta(seconds=at)).isoformat()
        yield f'{{"@timestamp": "{stamp}", "data": {{"{kind}": {{"alert": {alert}}}}}}}\n'


def _rules(directory: Path, site: str) -> Path:
    directory.mkdir()
    (directory / "site.yaml").write_text(site, encoding="utf-8")
    rules = "".join(_RULE.format(number=number) for number in range(RULES))
    (directory / "bench.yaml").write_text(f"rules:\n{rules}", encoding="utf-8")
    return directory


def _run(rules: Path, history: Path, directory: Path) -> dict[str, float]:
    """Run the command with everything that it can write; returns its seconds, its megabytes and what it counted."""
    page = directory / "page.html"
    command = [sys.executable, "-m", "stopgap", "backtest", str(rules), "--events", str(history)]
    began = time.monotonic()
    with (directory / "backtest.json").open("w+b") as out, (directory / "backtest.log").open("w+b") as log:
        process = subprocess.Popen([*command, "--html", str(page), "--json"], stdout=out, stderr=log)
        patience = threading.Timer(PATIENCE, process.kill)
        patience.start()
        _, status, used = os.wait4(process.pid, 0)
        patience.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        out.seek(0)
        log.seek(0)
        if process.returncode:
            said = log.read()[-500:].decode(errors="replace")
            raise NotMeasured(f"the backtest ended with {process.returncode}: {said}")
        told = json.load(out)
    return {
        "seconds": seconds,
        "mb": used.ru_maxrss * 1024 / 1e6,
        "transitions": told["alerts"]["transitions"],
        "incidents": told["total"]["incidents"],
        "mitigations": told["total"]["mitigations"],
        "messages": sum(told["total"]["messages"].values()),
        "page_kb": page.stat().st_size / 1024,
    }
