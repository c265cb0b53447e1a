"""Commands where the store is on PostgreSQL: a directory knows nothing of it, and rules need no daemon's tokens."""

import os
from pathlib import Path

import pytest
from tests.journal_examples import HandClock
from typer.testing import CliRunner

from stopgap.cli import app
from stopgap.store import open_store

RULES = Path(__file__).resolve().parents[2] / "rules" / "hotel-assistant"
URL = "postgresql://stopgap:hush@db.invalid/stopgap"


def run(*args, **env):
    """Run a command in this process, without the tester's own settings."""
    ours = {name: None for name in os.environ if name.startswith("STOPGAP_")}
    return CliRunner().invoke(app, list(args), env={**ours, "COLUMNS": "80", **env})


@pytest.fixture
async def left(tmp_path):
    """Return the directory of a daemon from before the store moved to PostgreSQL."""
    await (await open_store(tmp_path / "data", HandClock())).close()
    return str(tmp_path / "data")


READING = [
    (["incidents"], "--url"),
    (["incidents", "aaaaaa"], "--url"),
    (["report", "aaaaaa"], "--url"),
    (["brake", "status"], "--url"),
    (["brake", "on", "--why", "x"], "--url"),
    (["brake", "off"], "--url"),
    (["explain", "--rules", str(RULES), "--labels", "alertname=X"], "--url"),
    (["backtest", str(RULES)], "--events"),
    (["migrate"], "Leave --data out"),
]


@pytest.mark.parametrize(
    ("command", "instead"), READING, ids=lambda each: " ".join(each[:2]) if isinstance(each, list) else ""
)
@pytest.mark.parametrize("named", ["STOPGAP_DATABASE_URL", "STOPGAP_DATABASE_URL_FILE"])
def test_a_directory_is_not_taken_for_the_store_that_is_on_postgres(left, tmp_path, command, instead, named):
    (tmp_path / "url").write_text(URL)
    said = run(*command, "--data", left, **{named: URL if named.endswith("URL") else str(tmp_path / "url")})
    assert said.exit_code == 2, said.output
    assert "the store is on PostgreSQL" in said.stderr
    assert instead in said.stderr
    assert "hush" not in said.output


@pytest.mark.parametrize("command", [["incidents"], ["brake", "status"]])
def test_without_postgres_the_directory_of_a_stopped_daemon_is_read(left, command):
    assert run(*command, "--data", left).exit_code == 0


@pytest.mark.parametrize("command", [["incidents"], ["brake", "status"]])
def test_a_running_daemon_is_asked_wherever_its_store_is(command):
    said = run(*command, "--url", "http://127.0.0.1:1", STOPGAP_DATABASE_URL=URL)
    assert (said.exit_code, "no answer from http://127.0.0.1:1" in said.stderr) == (1, True)


@pytest.mark.parametrize(
    "settings",
    [{"STOPGAP_DATABASE_URL": URL}, {"STOPGAP_LISTEN": "0.0.0.0:9797"}],
    ids=["a shared database", "listening to all, as the image does"],
)
def test_rules_are_checked_and_explained_without_the_tokens_of_a_daemon(settings):
    assert run("check", str(RULES), **settings).exit_code in (0, 1)
    assert run("explain", "--rules", str(RULES), "--labels", "alertname=X", **settings).exit_code == 0
    said = run("serve", "--rules", str(RULES), **settings)
    assert (said.exit_code, "TOKEN_FILE" in said.stderr) == (2, True)
