"""Explain on the command line: why it would act on an alert, or why it did not; asked of the daemon, or of the rules alone."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from stopgap.cli.client import URL, AsJson, Client, Url, find
from stopgap.cli.daemon import Vars, VarsFiles
from stopgap.cli.incidents import Data
from stopgap.cli.screen import WRONG_USAGE, clean, fail, show_json

PATIENCE = 90.0  # seconds: probes are asked
LARGEST = 16 * 1024 * 1024  # characters of a payload
MOST_ALERTS, MOST_MISSED = 20, 1000
NEAREST = 20
KEPT = ("status", "labels", "annotations", "startsAt", "endsAt", "fingerprint")
_SEVERAL = re.compile(r'\s*[A-Za-z_]\w*=[^\s",]*(?:\s+[A-Za-z_]\w*=[^\s",]*)+\s*')


def explain(
    labels: Annotated[
        list[str] | None,
        typer.Option("--labels", metavar="NAME=VALUE…", help="An alert with these labels; repeatable."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="An Alertmanager payload; else it is read from stdin.")
    ] = None,
    incident: Annotated[
        str | None, typer.Option("--incident", metavar="ID", help="An incident, live or closed.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every rule that does not take it.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Answer from the rules, without a daemon.")
    ] = False,
    rules: Annotated[Path | None, typer.Option("--rules", help="These rules; implies --offline.")] = None,
    data: Data = None,
    mode: Annotated[str | None, typer.Option(help="Offline: the daemon's --mode.")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Offline: ask preconditions and populations.")] = False,
    vars_: VarsFiles = None,
    var: Vars = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Say why it would act on an alert, or why it did not; changes nothing."""
    from stopgap.cli import explained, unattended

    alone = offline or rules is not None or data is not None
    if not alone and (ask or mode or vars_ or var):
        fail("--ask, --mode, --vars and --var go with --offline: the running daemon has its own", WRONG_USAGE)
    nearest = MOST_MISSED if every else NEAREST
    body, left_out = _question(labels, file, incident)
    if alone:
        site = unattended.Site(rules, data, mode, vars_, var, ask)
        told, note = unattended.explain(site, body, nearest), site.note
    else:
        client = Client(url, timeout=PATIENCE)
        if "incident" in body:
            body["incident"] = find(client, body["incident"])
        told, note = client.send("POST", "/api/v1/explain", {**body, "nearest": nearest}), ""
    if as_json:
        show_json(told)
        return
    explained.show(told, note=note, left_out=left_out, every=every)


def _question(
    labels: list[str] | None, file: Path | None, incident: str | None
) -> tuple[dict[str, Any], int]:
    """Return what is asked, and how many alerts of a payload are left out."""
    if sum(given is not None for given in (labels or None, file, incident)) > 1:
        fail("name one of --labels, --file and --incident", WRONG_USAGE)
    if incident is not None:
        return {"incident": incident}, 0
    if labels:
        return {"labels": {name: value for text in labels for name, value in _pairs(text)}}, 0
    if file is None and sys.stdin.isatty():
        fail(
            "name --labels or --incident, or give an Alertmanager payload on stdin or with --file",
            WRONG_USAGE,
        )
    alerts = _payload(file)
    return {"alerts": [_kept(one) for one in alerts[:MOST_ALERTS]]}, max(len(alerts) - MOST_ALERTS, 0)


def _pairs(text: str) -> list[tuple[str, str]]:
    """Read `a=b`, `a=b c=d`, `a="b", c="d"` or `{a="b"}`; ends with 2 when it is neither."""
    from stopgap.matcher import MatcherError, Op, parse_matchers

    try:
        found = [one for part in _parts(text) for one in parse_matchers(part)]
    except MatcherError as error:
        fail(clean(f"--labels {text}: {error}"), WRONG_USAGE)
    wrong = next((one for one in found if one.op is not Op.EQUAL), None)
    if wrong is not None or not found:
        fail(clean(f"--labels {text}: write NAME=VALUE, such as alertname=Down"), WRONG_USAGE)
    return [(one.name, one.value) for one in found]


def _parts(text: str) -> list[str]:
    return text.split() if _SEVERAL.fullmatch(text) else [text]


def _payload(file: Path | None) -> list[Any]:
    """Read the alerts of a webhook's body; ends with 2 when it is none."""
    where = str(file) if file is not None else "stdin"
    try:
        if file is not None:
            with file.open(encoding="utf-8") as opened:
                text = opened.read(LARGEST)
        else:
            text = sys.stdin.read(LARGEST)
        told = json.loads(text)
    except (OSError, ValueError) as error:
        fail(clean(f"{where} is no Alertmanager payload: {error}"), WRONG_USAGE)
    alerts = told.get("alerts") if isinstance(told, dict) else told
    if not isinstance(alerts, list) or not alerts:
        fail(f"{where} is no Alertmanager payload: `alerts` is not a list with an alert in it", WRONG_USAGE)
    return alerts


def _kept(alert: Any) -> Any:
    return {key: alert[key] for key in KEPT if key in alert} if isinstance(alert, dict) else alert
