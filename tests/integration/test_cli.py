"""The command line against a daemon's API, against none, and against the directory of a stopped one."""

import asyncio
import json
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from tests.desk import CLOSED, HELD, OPEN, TOKEN, Office
from tests.intake import serving
from typer.testing import CliRunner

from stopgap.api import mount
from stopgap.cli import app
from stopgap.cli.client import only
from stopgap.clock import SystemClock
from stopgap.ledger import BrakeScope
from stopgap.store import open_store


def run(*args, **env):
    """Run a command in this process, without the tester's own settings."""
    clean = {
        "STOPGAP_DATA": "nowhere",
        "STOPGAP_URL": None,
        "STOPGAP_CONTROL_TOKEN_FILE": None,
        "COLUMNS": "80",
    }
    return CliRunner().invoke(app, list(args), env={**clean, "STOPGAP_CONTROL_TOKEN": TOKEN, **env})


class Daemon(Office):
    async def run(self, *args, **env):
        async with serving(lambda web_app: mount(web_app, self.desk)) as (url, _):
            return await asyncio.to_thread(run, *args, **{"STOPGAP_URL": url, **env})


@pytest.fixture
def daemon():
    return Daemon()


async def test_incidents_are_a_table_of_at_most_80_columns(daemon):
    said = await daemon.run("incidents")
    assert said.exit_code == 0
    lines = said.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["INCIDENT", *(one[-6:] for one in (OPEN, HELD, CLOSED))]
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in said.stdout


async def test_incidents_speak_json_for_scripts(daemon):
    said = await daemon.run("incidents", "--json", "--phase", "mitigated")
    assert [row["id"] for row in json.loads(said.stdout)] == [HELD]


async def test_one_incident_is_shown_with_a_readable_timeline(daemon):
    said = await daemon.run("incidents", "aaaaaa")
    assert said.exit_code == 0
    assert "10:02:00 step_succeeded   flag, 0.25 s" in said.stdout
    assert "env:/x#PMS" in said.stdout
    assert "\\x1b[2J" in said.stdout
    assert "\x1b" not in said.stdout
    assert max(map(len, said.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("args", "given"),
    [
        (["ack", "aaaaaa"], ("ack", "tester", "")),
        (["revert", "INC-20261121-1000", "--why", "x"], ("revert", "tester", "x")),
        (["extend", HELD, "--for", "2h", "--why", "x"], ("extend", "tester", timedelta(hours=2), "x")),
        (["close", "AAAAAA", "--why", "x", "--keep"], ("close", "tester", "x", True)),
        (["close", HELD, "--why", "x"], ("close", "tester", "x", False)),
    ],
)
async def test_an_order_goes_out_under_the_users_name_for_an_abbreviated_id(daemon, args, given):
    said = await daemon.run(*args, LOGNAME="tester")
    assert (said.exit_code, said.stderr) == (0, "")
    assert HELD in said.stdout
    assert daemon.orders.given == [(HELD, *given)]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["ack", "INC-20261121"], "means 2 incidents"),
        (["ack", "nothing"], "no live incident nothing"),
        (["revert", "bbbbbb", "--why", "x"], "holds nothing"),
        (["extend", HELD, "--for", "soon", "--why", "x"], "for: 'soon' is not a duration"),
        (["brake", "off"], "no such brake"),
        (["brake", "on", "--rule", "hotel/typo", "--why", "x"], "stop nothing"),
    ],
)
async def test_a_refusal_is_one_line_and_exit_1(daemon, args, why):
    said = await daemon.run(*args)
    assert said.exit_code == 1
    assert why in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert daemon.orders.given == []


async def test_brakes_go_on_show_and_go_off(daemon):
    said = await daemon.run(
        "brake", "on", "--pack", "hotel", "--for", "2h", "--why", "audit", LOGNAME="tester"
    )
    assert said.stdout == "brake on: pack hotel, for 2h\n"
    assert (daemon.engine.brakes[0].scope, daemon.engine.brakes[0].by) == (BrakeScope.PACK, "tester")
    said = await daemon.run("brake", "status")
    assert said.stdout.splitlines()[1].split() == [
        "pack",
        "hotel",
        "2026-11-21T12:30:00.000Z",
        "tester",
        "audit",
    ]
    assert (await daemon.run("brake", "off", "--pack", "hotel", "--why", "done")).exit_code == 0
    assert daemon.engine.released == "done"
    assert (await daemon.run("brake", "status")).stdout == "no brake is on\n"


async def test_a_wrong_token_is_said_with_the_cure_and_is_not_shown(daemon):
    said = await daemon.run("incidents", STOPGAP_CONTROL_TOKEN="a wrong word")
    assert said.exit_code == 1
    assert "the control token given is wrong" in said.stderr
    assert "(STOPGAP_CONTROL_TOKEN has it; set STOPGAP_CONTROL_TOKEN_FILE, or" in said.stderr
    assert "a wrong word" not in said.output
    assert TOKEN not in said.output


async def test_a_token_that_is_missing_is_not_said_to_be_wrong(daemon, tmp_path):
    said = await daemon.run("incidents", STOPGAP_CONTROL_TOKEN=None, STOPGAP_DATA=str(tmp_path))
    assert said.exit_code == 1
    assert "control needs its token" in said.stderr
    assert "(set STOPGAP_CONTROL_TOKEN_FILE, or" in said.stderr
    assert "wrong" not in said.stderr


async def test_the_token_is_found_in_a_file_or_in_the_daemons_directory(daemon, tmp_path):
    (tmp_path / "control.token").write_text(TOKEN + "\n")
    without = {"STOPGAP_CONTROL_TOKEN": None}
    assert (await daemon.run("incidents", **without, STOPGAP_DATA=str(tmp_path))).exit_code == 0
    named = {"STOPGAP_CONTROL_TOKEN_FILE": str(tmp_path / "control.token")}
    assert (await daemon.run("incidents", **without, **named)).exit_code == 0
    missing = {"STOPGAP_CONTROL_TOKEN_FILE": str(tmp_path / "none")}
    assert (await daemon.run("incidents", **without, **missing)).exit_code == 2


def test_no_daemon_is_one_line_with_the_cure():
    said = run("incidents", "--url", "http://127.0.0.1:9")
    assert said.exit_code == 1
    assert "stopgap serve" in said.stderr
    assert len(said.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "args",
    [
        ["revert", "x"],
        ["nonsense"],
        ["incidents", "--url", "ftp://x"],
        ["brake", "on", "--pack", "a", "--rule", "b", "--why", "x"],
        ["incidents", "--data", "nowhere"],
        ["incidents", "--limit", "0"],
    ],
)
def test_wrong_usage_is_exit_2(args):
    assert run(*args).exit_code == 2


def test_a_stopped_daemons_directory_can_be_braked_and_read(tmp_path):
    async def make():
        await (await open_store(tmp_path, SystemClock())).close()

    asyncio.run(make())
    data = ["--data", str(tmp_path)]
    assert run("incidents", *data).stdout == "no incidents\n"
    assert run("brake", "on", *data, "--target", "fly://x", "--for", "1h", "--why", "audit").exit_code == 0
    (on,) = json.loads(run("brake", "status", "--json", *data).stdout)
    assert (on["scope"], on["name"], on["why"]) == ("target", "fly://x", "audit")
    assert run("brake", "off", *data).exit_code == 1
    assert run("brake", "off", *data, "--target", "fly://x", "--why", "done").exit_code == 0
    assert run("incidents", "x", *data).exit_code == 1


GOOD = "rules: [{name: a, match: 'alertname=\"X\"', do: [{wait: 1s}]}]\n"


def test_check_says_what_is_wrong_where_and_counts(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    said = run("check", str(tmp_path))
    assert said.exit_code == 0
    assert said.stdout.splitlines()[-1].startswith("1 rule, 0 errors, ")
    (tmp_path / "bad.yaml").write_text(GOOD.replace("wait", "weight"))
    said = run("check", str(tmp_path))
    assert said.exit_code == 2
    assert f"{tmp_path}/bad.yaml:1:" in said.stdout
    told = json.loads(run("check", "--json", str(tmp_path)).stdout)
    assert any("weight" in problem["text"] + problem["key"] for problem in told["problems"])


@pytest.mark.parametrize("args", [["--var", "nonsense"], ["--vars", "nowhere.yaml"]])
def test_check_with_vars_that_cannot_be_read_is_exit_2(args, tmp_path):
    said = run("check", str(tmp_path), *args)
    assert said.exit_code == 2
    assert args[1] in said.stdout
    assert "1 error, " in said.stdout


@pytest.mark.parametrize(
    "flag", [["--mode", "yolo"], ["--listen", "0.0.0.0:80"], ["--prometheus", "nowhere"]]
)
def test_serve_with_wrong_settings_says_so_and_starts_nothing(flag):
    said = run("serve", *flag)
    assert said.exit_code == 2
    assert said.stderr.startswith("stopgap: ")


def test_actions_are_listed_and_explained():
    said = run("actions")
    assert said.exit_code == 0
    assert max(map(len, said.stdout.splitlines())) <= 80
    names = {(row["kind"], row["name"]) for row in json.loads(run("actions", "--json").stdout)}
    assert {("action", "flag"), ("probe", "promql")} <= names
    assert "    flag:\n" in run("actions", "flag").stdout
    assert run("actions", "nonsense").exit_code == 1


def test_an_id_may_be_abbreviated_from_either_end():
    assert only([HELD, OPEN, CLOSED], "cccccc") == CLOSED
    assert only([HELD, OPEN, CLOSED], "inc-20261120") == CLOSED
    assert only([HELD, HELD + "x"], HELD) == HELD
    assert only([HELD], "unknown") == "unknown"


def test_help_is_quick_because_nothing_heavy_is_imported():
    heavy = "aiohttp sqlalchemy pydantic structlog jinja2 ruamel apprise prometheus_client alembic"
    code = f"import sys, stopgap.cli; print([m for m in {heavy.split()} if m in sys.modules])"
    began = time.monotonic()
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert said.stdout == "[]\n"
    assert time.monotonic() - began < 10


def test_playing_tests_of_rules_imports_no_database_and_no_daemon():
    heavy = "sqlalchemy alembic aiohttp.web apprise prometheus_client stopgap.app stopgap.store stopgap.api"
    code = (
        "import sys, stopgap.stock, stopgap.suite.crew;"
        f" print([m for m in {heavy.split()} if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_the_version_is_said():
    assert run("--version").stdout.startswith("stopgap ")


def test_check_ends_with_0_for_warnings_1_when_strict_and_2_for_errors(tmp_path):
    (tmp_path / "good.yaml").write_text(GOOD)
    assert run("check", str(tmp_path)).exit_code == 0
    assert run("check", "--strict", str(tmp_path)).exit_code == 1
    (tmp_path / "bad.yaml").write_text(GOOD.replace("wait", "weight"))
    assert run("check", "--strict", str(tmp_path)).exit_code == 2
    (tmp_path / "bad.yaml").unlink()
    (tmp_path / "site.yaml").write_text("contacts: {default: {url_env: CHAT}}\n")
    assert run("check", "--strict", str(tmp_path), CHAT="json://chat").exit_code == 0


def test_check_speaks_to_github(tmp_path):
    (tmp_path / "bad.yaml").write_text(GOOD.replace("wait", "wiat"))
    said = run("check", "--format", "github", str(tmp_path))
    assert said.exit_code == 2
    place = f"file={tmp_path}/bad.yaml,line=1,col=49,title=unknown-action"
    assert f"::error {place}::no action is called `wiat`%0Adid you mean `wait`?" in said.stdout
