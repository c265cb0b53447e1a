"""Approving and denying on the command line: what is shown is what is approved."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from datetime import timedelta

import pytest
from tests import desk
from tests.desk import HELD, NOW, OPEN, TOKEN, Office
from tests.intake import serving
from typer.testing import CliRunner

from stopgap.api import mount
from stopgap.cli import app
from stopgap.incident import EventKind as K
from stopgap.transitions import fold

ASKED = {
    "rung": 0,
    "name": "mock mode",
    "until": (NOW + timedelta(minutes=10)).isoformat(),
    "reason": "approval_pending",
    "text": "the rung asks for an approval",
    "steps": [
        "flag: set PMS_TYPE=mock in env:/etc/hotel.env, and \x1b[2Jmore words than fit into one line of 80"
    ],
    "verify": ["http: /health/ready is 200"],
}


class Daemon(Office):
    """A desk at which the incident OPEN waits for an approval."""

    def __init__(self, monkeypatch, *later):
        super().__init__()
        timeline = (*desk.TIMELINES[OPEN], desk.event(3, K.APPROVAL_REQUESTED, 20, **ASKED), *later)
        monkeypatch.setitem(desk.TIMELINES, OPEN, timeline)
        self.engine.incidents[OPEN] = fold(OPEN, timeline)

    def serving(self):
        return serving(lambda web_app: mount(web_app, self.desk))

    async def run(self, *args):
        async with self.serving() as (url, _):
            return await asyncio.to_thread(CliRunner().invoke, app, list(args), env=settings(url))


def settings(url):
    return {"STOPGAP_URL": url, "STOPGAP_CONTROL_TOKEN": TOKEN, "LOGNAME": "tester", "COLUMNS": "80"}


@pytest.fixture
def daemon(monkeypatch):
    return Daemon(monkeypatch)


async def test_approve_shows_what_will_be_done_and_approves_exactly_that(daemon):
    said = await daemon.run("approve", "bbbbbb", "--why", "go", "--yes")
    assert (said.exit_code, said.stderr) == (0, "")
    assert daemon.orders.given == [(OPEN, "approve", "tester", "go", 3)]
    for words in (
        "PMS_TYPE=mock",
        "http: /health/ready",
        "asks for an approval",
        "2026-11-21T10:40:00",
        "mock mode",
    ):
        assert words in said.stdout
    assert "\x1b" not in said.stdout
    assert max(map(len, said.stdout.splitlines())) <= 80
    assert said.stdout.splitlines()[-1].startswith(f"approved: {OPEN} is waiting")


@pytest.mark.parametrize("more", [(), ("--json",)])
async def test_where_nobody_can_be_asked_once_more_saying_nothing_is_no_yes(daemon, more):
    said = await daemon.run("approve", OPEN, *more)
    assert (said.exit_code, daemon.orders.given) == (2, [])
    assert said.stderr == "stopgap: not approved: no terminal to ask at; add --yes to approve it unasked\n"
    assert ("PMS_TYPE=mock" in said.stdout) == (not more)  # what it would do is shown all the same


async def test_approve_speaks_json_for_scripts(daemon):
    said = await daemon.run("approve", OPEN, "--json", "--yes")
    assert json.loads(said.stdout)["approval"]["request"] == 3
    assert daemon.orders.given == [(OPEN, "approve", "tester", "", 3)]


async def test_deny_says_why(daemon):
    said = await daemon.run("deny", "bbbbbb", "--why", "risky")
    assert said.stdout == f"denied: {OPEN} is waiting (approval_pending)\n"
    assert daemon.orders.given == [(OPEN, "deny", "tester", "risky", None)]
    assert json.loads((await daemon.run("deny", OPEN, "--why", "x", "--json")).stdout)["id"] == OPEN
    assert (await daemon.run("deny", OPEN)).exit_code == 2


async def test_where_nothing_waits_nothing_is_approved_unseen(daemon, monkeypatch):
    said = await daemon.run("approve", HELD)
    assert (said.exit_code, said.stderr) == (
        1,
        f"stopgap: nothing waits for an approval: {HELD} is mitigated\n",
    )
    answered = Daemon(monkeypatch, desk.event(4, K.APPROVED, 21, request=3, by="ada"))
    said = await answered.run("approve", OPEN)
    assert (said.exit_code, "answered already: ada" in said.stderr) == (1, True)
    assert daemon.orders.given == answered.orders.given == []


async def test_the_listing_and_the_single_view_show_who_waits(daemon):
    said = await daemon.run("incidents")
    assert [line.split()[3:5] for line in said.stdout.splitlines()[1:2]] == [["needs", "approval"]]
    said = await daemon.run("incidents", OPEN)
    assert "waiting (approval_pending)" in said.stdout
    assert "waits until 2026-11-21T10:40:00.000Z" in " ".join(said.stdout.split())
    assert "would do: flag: set PMS_TYPE=mock" in " ".join(said.stdout.split())
    assert max(map(len, said.stdout.splitlines())) <= 80


async def test_the_single_view_shows_who_answered(monkeypatch):
    answered = Daemon(monkeypatch, desk.event(4, K.APPROVED, 21, request=3, by="ada", why="go"))
    assert "approved by ada: go" in (await answered.run("incidents", OPEN)).stdout


def at_a_terminal(url, answer, *args):
    """Run `stopgap approve` with a terminal as its input, and type an answer there."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer)
        command = [sys.executable, "-m", "stopgap", "approve", OPEN, *args]
        return subprocess.run(
            command,
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **settings(url)},
        )
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("typed", "args", "code"), [(b"y\n", (), 0), (b"n\n", (), 1), (b"\n", (), 1), (b"n\n", ("--yes",), 0)]
)
async def test_at_a_terminal_a_person_is_asked_once_more(daemon, typed, args, code):
    async with daemon.serving() as (url, _):
        said = await asyncio.to_thread(at_a_terminal, url, typed, *args)
    assert said.returncode == code, said.stderr
    assert len(daemon.orders.given) == (code == 0)
    assert "PMS_TYPE=mock" in said.stdout
    assert ("Do this?" in said.stderr) == (not args)
