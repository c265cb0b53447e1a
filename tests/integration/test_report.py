"""The report over HTTP and on the command line, of a running daemon and of a stopped one."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import ClientSession
from tests.desk import CLOSED, HELD, NOW, OPEN, TIMELINES, TOKEN, Office, event, opened
from tests.intake import serving
from typer.testing import CliRunner

from stopgap.api import mount
from stopgap.cli import app
from stopgap.clock import SystemClock
from stopgap.config import load
from stopgap.errors import StoreError
from stopgap.incident import Event, EventKind as K, Outcome
from stopgap.journal import Append, Closing, Sighting
from stopgap.stock import bare_context, build_catalog
from stopgap.store import open_store
from stopgap.transitions import fold

BEARER = {"Authorization": f"Bearer {TOKEN}"}


def run(*args, **env):
    clean = {"STOPGAP_DATA": "nowhere", "STOPGAP_URL": None, "STOPGAP_CONTROL_TOKEN_FILE": None}
    return CliRunner().invoke(app, ["report", *args], env={**clean, "STOPGAP_CONTROL_TOKEN": TOKEN, **env})


async def ask(office, identifier, headers=BEARER):
    async with serving(lambda web_app: mount(web_app, office.desk)) as (url, session):
        assert isinstance(session, ClientSession)
        path = f"{url}/api/v1/incidents/{identifier}/report"
        async with session.get(path, headers=headers) as answer:
            return answer.status, answer.headers, await answer.text()


async def order(office, *args):
    async with serving(lambda web_app: mount(web_app, office.desk)) as (url, _):
        return await asyncio.to_thread(run, *args, STOPGAP_URL=url)


@pytest.mark.parametrize(
    ("identifier", "said"),
    [
        (HELD, "So far, 30m after it opened, the alert still fires and `mock mode` is in place"),
        (OPEN, "nothing is in place; it waits: cooldown."),
        (CLOSED, "The alerts ended without its help, and it was closed after 0s."),
    ],
)
async def test_a_report_is_markdown_of_a_live_or_a_closed_incident(identifier, said):
    status, headers, text = await ask(Office(), identifier)
    assert status == 200
    assert headers["Content-Type"] == "text/markdown; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert text.startswith(f"# Incident `{identifier}`: `PMSDown`\n")
    assert said in text
    assert "`Serve mock data`" in text


async def test_a_report_tells_the_rule_as_it_was_when_the_incident_opened_whatever_is_loaded_now():
    office = Office()
    office.engine.rule_of = lambda state: None  # edited since, and the daemon restarted
    _, __, text = await ask(office, CLOSED)
    assert "`Serve mock data`" in text

    def gone(_):
        raise ValueError("its action is gone")

    office.desk = replace(office.desk, rebuild=gone)
    _, __, text = await ask(office, CLOSED)
    assert "no longer known" in text


async def test_a_report_names_the_incident_that_followed():
    office = Office()
    live = fold(OPEN, (opened(target="fly://old", follows=CLOSED), *TIMELINES[OPEN][1:]))
    office.engine.incidents = {"INC-other": fold("INC-other", (opened(follows=HELD),)), OPEN: live}
    _, __, text = await ask(office, CLOSED)
    assert f"`{OPEN}`: it fired again" in text
    _, __, text = await ask(office, HELD)
    assert "Followed by" not in text


@pytest.mark.parametrize(
    ("identifier", "headers", "status"),
    [(HELD, {}, 401), ("INC-nothing", BEARER, 404), ("control", BEARER, 404)],
)
async def test_a_report_needs_the_control_token_and_an_incident(identifier, headers, status):
    got, answered, _ = await ask(Office(), identifier, headers)
    assert (got, answered["Content-Type"]) == (status, "application/problem+json")


async def test_a_store_that_does_not_answer_is_no_empty_report():
    office = Office()
    office.engine.journal.error = StoreError("disk is full")
    assert (await ask(office, HELD))[0] == 503


async def test_the_command_prints_the_report_of_an_abbreviated_id():
    said = await order(Office(), "aaaaaa")
    assert (said.exit_code, said.stderr) == (0, "")
    assert said.stdout.startswith(f"# Incident `{HELD}`")
    assert said.stdout.endswith("All times are UTC.*\n")
    assert "\x1b" not in said.stdout


async def test_the_command_writes_a_file(tmp_path):
    out = tmp_path / "report.md"
    said = await order(Office(), HELD, "--out", str(out))
    assert (said.exit_code, said.stdout) == (0, "")
    assert out.read_text().startswith(f"# Incident `{HELD}`")
    said = await order(Office(), HELD, "--out", str(tmp_path))
    assert said.exit_code == 2
    assert "the report cannot be written" in said.stderr


async def test_no_such_incident_is_one_line_and_exit_1():
    said = await order(Office(), "nothing")
    assert said.exit_code == 1
    assert said.stderr == "stopgap: no incident nothing\n"


def test_a_daemon_that_is_away_is_said():
    said = run(HELD, STOPGAP_URL="http://127.0.0.1:9")
    assert said.exit_code == 1
    assert "no answer from http://127.0.0.1:9" in said.stderr


# --- of a stopped daemon ---

RULE = """\
rules:
  - name: mock
    match: alertname="Down"
    summary: Serve mock data
    do: [{wait: 1s}]
"""


def sighting(rule, at, **more):
    alert = {"labels": {"alertname": "Down"}, "annotations": {}, "starts_at": at.isoformat()}
    given = {"severity": "P1", "mode": "auto", "fingerprint": "f", "alert": alert, "firing": True, "at": at}
    return Sighting(rule="pack/mock", version=rule, target="app", **{**given, **more})


async def leave(data, version, document):
    """Leave a directory with an incident that was taken back, and the one that followed it."""
    store = await open_store(data, SystemClock())
    if document is not None:
        await store.remember({version: document})
    await store.receive((sighting(version, NOW),))
    (name,) = await store.live()
    plan = {"do": 1, "activate": 0, "reverts": [True], "resources": ["switch:mode"], "labels": {}}
    over = Event(K.CLOSED, NOW + timedelta(minutes=9), {"outcome": Outcome.RECOVERED})
    lines = (
        event(0, K.RUNG_STARTED, 31, rung=0, name="mock mode", annotations={}, **plan),
        event(0, K.REVERT_STARTED, 38, cause="recovered", rungs=[0]),
        event(0, K.REVERTED, 38, cause="recovered", rungs=[0]),
        over,
    )
    again = sighting(version, over.at)
    closing = Closing(Outcome.RECOVERED, "P1", 0, reverted_at=over.at, refiring=(again,))
    await store.append(Append(name, lines, closing=closing))
    (follower,) = await store.live()
    await store.close()
    return name, follower


def test_a_stopped_daemons_incident_is_told_with_its_rule_and_its_follower(tmp_path):
    rules = tmp_path / "rules" / "pack"
    rules.mkdir(parents=True)
    (rules / "mock.yaml").write_text(RULE)
    catalog = build_catalog(bare_context())
    rule = load(rules.parent, catalog, environ={}).rulebook.rules["pack/mock"]
    name, follower = asyncio.run(leave(tmp_path / "data", rule.version, dict(rule.document)))
    said = run(name[-6:], "--data", str(tmp_path / "data"))
    assert (said.exit_code, said.stderr) == (0, "")
    assert "`Serve mock data`" in said.stdout
    assert "applied `mock mode`" in said.stdout
    assert "it was closed after 9m" in said.stdout
    assert f"`{follower}`: it fired again" in said.stdout
    said = run(follower, "--data", str(tmp_path / "data"))
    assert f"`{name}`: flap 1, it fired again soon after" in said.stdout


def test_a_stopped_daemons_incident_is_told_without_its_rule(tmp_path):
    name, _ = asyncio.run(leave(tmp_path, "gone", None))
    said = run(name, "--data", str(tmp_path))
    assert said.exit_code == 0
    assert "no longer known" in said.stdout


def test_a_directory_that_is_none_and_an_incident_that_is_none_are_said(tmp_path):
    assert run(HELD, "--data", str(tmp_path)).exit_code == 2
    asyncio.run(leave(tmp_path, "gone", None))
    said = run(HELD, "--data", str(tmp_path))
    assert (said.exit_code, said.stderr) == (1, f"stopgap: no incident {HELD}\n")
