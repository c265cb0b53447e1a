"""`check --live`: the daemon tries its rules in the background and when asked, and the command line shows what is in the way."""

import asyncio
import json
import time
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.desk import NOW
from tests.integration.test_api import office
from tests.integration.test_app import daemon
from tests.integration.test_cli import Daemon, run

from stopgap.app import tell_rehearsal
from stopgap.rehearsal import Rehearsal
from stopgap.trials import Note, Obstacle
from stopgap.view import MOST, MOST_IN_BRIEF

OBSTACLE = Obstacle(
    "hotel/pms", "ladder[0] (mock mode) do[0] flag", "cannot write /etc/x.env: Permission denied"
)
NOTE = Note("hotel/pms", "recovered[0] http", "needs labels.instance of an alert: not tried")
FOUND = Rehearsal(NOW, 1, 7, (OBSTACLE,), (NOTE,))


# --- over HTTP ---


async def test_readiness_has_what_is_in_the_way_and_stays_ready():
    async with office() as there:
        status_, told = await there.ask("GET", "/-/ready", {})
        assert (status_, told["rehearsal"]) == (200, None)
        there.rehearser.last = FOUND
        status_, told = await there.ask("GET", "/-/ready")
        assert (status_, told["ready"]) == (200, True)
        assert told["rehearsal"] == {
            "at": "2026-11-21T10:30:00.000Z",
            "tried": 7,
            "obstacle_count": 1,
            "obstacles": [{"rule": OBSTACLE.rule, "where": OBSTACLE.where, "text": OBSTACLE.text}],
        }


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}])
async def test_readiness_tells_strangers_where_and_not_what(header):
    async with office() as there:
        there.rehearser.last = FOUND
        _, told = await there.ask("GET", "/-/ready", header)
        assert told["rehearsal"]["obstacles"] == [{"rule": OBSTACLE.rule, "where": OBSTACLE.where}]
        assert "/etc" not in json.dumps(told)


async def test_a_check_is_tried_when_asked_by_who_has_the_token():
    async with office() as there:
        there.rehearser.last = FOUND
        assert (await there.ask("POST", "/api/v1/check", {}))[0] == 401
        assert there.rehearser.tried == 0
        code, told = await there.ask("POST", "/api/v1/check")
        assert (code, there.rehearser.tried) == (200, 1)
        assert (told["rules"], told["tried"], told["obstacle_count"], told["note_count"]) == (1, 7, 1, 1)
        assert told["obstacles"][0]["text"] == OBSTACLE.text
        assert told["notes"] == [{"rule": NOTE.rule, "where": NOTE.where, "text": NOTE.text}]
        assert told["user"]


async def test_a_check_of_a_daemon_that_is_ending_is_refused():
    async with office() as there:
        code, told = await there.ask("POST", "/api/v1/check")
        assert (code, told["detail"]) == (503, "the daemon is ending")


async def test_answers_are_bounded_and_say_how_much_there_is():
    async with office() as there:
        there.rehearser.last = replace(FOUND, obstacles=(OBSTACLE,) * 3000, notes=(NOTE,) * 2000)
        _, told = await there.ask("POST", "/api/v1/check")
        assert (told["obstacle_count"], len(told["obstacles"])) == (3000, MOST)
        assert (told["note_count"], len(told["notes"])) == (2000, MOST)
        _, told = await there.ask("GET", "/-/ready")
        assert (told["rehearsal"]["obstacle_count"], len(told["rehearsal"]["obstacles"])) == (
            3000,
            MOST_IN_BRIEF,
        )


# --- the command line ---


async def test_the_command_line_asks_the_daemon_and_fails_when_something_is_in_the_way():
    there = Daemon()
    hostile = Obstacle("hotel/evil", "ladder[0] (\x1b[2J) do[0] flag", "x" * 200 + "\x1b[2J")
    there.rehearser.last = replace(FOUND, obstacles=(OBSTACLE, hostile))
    said = await there.run("check", "--live")
    assert (said.exit_code, said.stderr) == (1, "")
    lines = said.stdout.splitlines()
    assert lines[:4] == [
        "obstacles:",
        "  hotel/pms",
        "    ladder[0] (mock mode) do[0] flag",
        "      cannot write /etc/x.env: Permission denied",
    ]
    assert "needs labels.instance of an alert: not tried" in said.stdout
    assert lines[-1].endswith(": 2 obstacles, 1 note")
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in said.stdout


async def test_the_command_line_says_what_it_does_not_list():
    there = Daemon()
    there.rehearser.last = replace(FOUND, obstacles=(OBSTACLE,) * (MOST + 2))
    assert "… and 2 more obstacles" in (await there.run("check", "--live")).stdout


async def test_where_nothing_is_in_the_way_the_exit_code_is_0():
    there = Daemon()
    there.rehearser.last = Rehearsal(NOW, 1, 7)
    said = await there.run("check", "--live")
    assert said.exit_code == 0
    assert said.stdout.startswith("1 rule, 7 things tried as user ")
    assert len(said.stdout.splitlines()) == 1
    told = json.loads((await there.run("check", "--live", "--json")).stdout)
    assert (told["tried"], told["obstacles"]) == (7, [])


def test_vars_go_with_paths_only():
    said = run("check", "--live", "--var", "a=b")
    assert said.exit_code == 2
    assert "go with PATHs" in said.stderr


RULES = """
rules:
  - name: one
    match: alertname="Down"
    do:
      - flag: {{at: "env://{folder}/app.env", set: {{A: "2"}}}}
      - restart: {{at: "supervisor://{folder}/none.sock#app"}}
      - exec: {{argv: ["{folder}/none"]}}
    verify: [{{http: "http://stopgap.invalid/"}}, {{promql: up, is: == 1}}]
  - name: two
    match: alertname="Down"
    do:
      - exec: {{argv: [touch, "{folder}/ran"], observe: ["true"]}}
      - notify: {{contact: oncall, body: "{{{{ annotations.summary }}}}"}}
      - exec: {{argv: [touch, "{{{{ labels.file }}}}"]}}
"""
SITE = "contacts: {default: {url_env: SOME_CONTACT}, oncall: {url_env: NO_CONTACT}}\n"
IN_THE_WAY = [
    ("shop/one", "ladder[0] (one) do[1] restart", "supervisor at "),
    ("shop/one", "ladder[0] (one) do[2] exec", "cannot be run: No such file or directory"),
    ("shop/one", "ladder[0] (one) verify[0] http", "stopgap.invalid: the name does not resolve"),
    ("shop/one", "ladder[0] (one) verify[1] promql", "no Prometheus is configured"),
    ("shop/two", "ladder[0] (two) do[1] notify", "contact 'oncall' has no address"),
]


def rules_in(folder):
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "rules" / "shop.yaml").write_text(RULES.format(folder=folder))
    (folder / "rules" / "site.yaml").write_text(SITE)
    (folder / "app.env").write_text("A=1\n")
    return folder / "rules"


def check(told):
    """See that all that is in the way of RULES is told, and nothing else."""
    for one, (rule, where, text) in zip(told, IN_THE_WAY, strict=True):
        assert (one["rule"], one["where"]) == (rule, where)
        assert text in one["text"]


def test_paths_are_tried_here_and_nothing_is_changed(tmp_path):
    rules = rules_in(tmp_path)
    said = run("check", "--live", "--json", str(rules), SOME_CONTACT="json://x")
    assert said.exit_code == 1
    told = json.loads(said.stdout)
    check(told["obstacles"])
    assert [one["text"] for one in told["notes"]] == ["needs labels.file of an alert: not tried"]
    assert (told["rules"], told["tried"]) == (2, 7)
    assert (tmp_path / "app.env").read_text() == "A=1\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.env", "rules"]


def test_warnings_and_what_is_in_the_way_are_said_together(tmp_path):
    said = run("check", "--live", str(rules_in(tmp_path)), str(rules_in(tmp_path)))
    assert said.exit_code == 1
    assert "4 rules, 0 errors, " in said.stdout
    assert "4 rules, 14 things tried as user " in said.stdout


def test_rules_that_do_not_load_are_not_tried(tmp_path):
    (rules_in(tmp_path) / "shop.yaml").write_text("rules: 7")
    said = run("check", "--live", str(tmp_path / "rules"))
    assert said.exit_code == 2
    assert "tried" not in said.stdout


# --- the daemon ---


async def rehearsed(app):
    for _ in range(200):
        async with app.session.get("/-/ready") as answer:
            told = (await answer.json())["rehearsal"]
        if told is not None:
            return told
        await asyncio.sleep(0.05)
    raise AssertionError("no rehearsal was done")


async def test_a_daemon_tries_its_rules_when_it_starts_when_they_change_and_when_asked(tmp_path):
    rules_in(tmp_path)
    async with daemon(tmp_path, rules=RULES) as app:
        told = await rehearsed(app)
        check(told["obstacles"])
        (tmp_path / "rules" / "shop.yaml").write_text(
            "rules: [{name: a, match: 'alertname=\"X\"', do: [{wait: 1s}]}]\n"
        )
        assert (await app.reload()).problems == ()
        assert (await rehearsed(app))["obstacles"] == []
        async with app.session.post("/api/v1/check") as answer:
            assert (await answer.json())["tried"] == 1
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "app.env").read_text() == "A=1\n"


SLOW = """
rules:
  - name: slow
    match: alertname="Down"
    do:
      - exec: {{argv: ["true"], observe: [sleep, "60"]}}
"""


async def test_a_rehearsal_delays_neither_the_start_nor_the_end(tmp_path):
    began = time.monotonic()
    async with daemon(tmp_path, rules=SLOW) as app, app.session.get("/-/ready") as answer:
        assert (answer.status, (await answer.json())["rehearsal"]) == (200, None)
        asking = asyncio.create_task(app.rehearser.now())
        await asyncio.sleep(0.1)
    assert await asking is None
    assert time.monotonic() - began < 9


def test_the_log_has_a_line_for_each_of_the_first_twenty():
    with capture_logs() as lines:
        tell_rehearsal(replace(FOUND, obstacles=(OBSTACLE,) * 30))
        tell_rehearsal(Rehearsal(NOW, 1, 7))
    assert [line["log_level"] for line in lines] == ["warning"] * 21 + ["info"]
    assert lines[0] == {
        "event": "obstacle",
        "log_level": "warning",
        "rule": OBSTACLE.rule,
        "where": OBSTACLE.where,
        "why": OBSTACLE.text,
    }
    assert lines[20]["obstacles"] == 30
