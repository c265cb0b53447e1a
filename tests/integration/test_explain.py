"""Explain from end to end: over HTTP and on the command line, from a daemon, from what it left behind, and from rules alone."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.desk import HELD, NOW
from tests.integration.test_api import office
from tests.integration.test_app import body, daemon, down, post, until
from tests.integration.test_cli import run
from typer.testing import CliRunner

from stopgap.cli import app
from stopgap.explanation import Explanation
from stopgap.rule import Mode

NOTHING = Explanation(NOW, Mode.AUTO, asked=True, rules=0, alerts=(), courses=(), course_count=0)
EXPLAIN = "/api/v1/explain"
SHOP = """
rules:
  - name: shop
    match: [alertname="Down", job="shop"]
    target: shop
    summary: Turn the shop's lights off
    mode: approve
    ladder:
      - name: lights out
        only_if: [{exec: {argv: [/bin/true]}}]
        do: [{wait: 1s}]
        verify: [{exec: {argv: [/bin/true]}, within: 30s}]
    guard: {cooldown: 10m, budget: 2/1h}
  - {name: kitchen, match: ['alertname="Down"', 'job="kitchen"'], do: [{wait: 1s}]}
"""


@pytest.fixture
def rules(tmp_path) -> Path:
    path = tmp_path / "rules"
    path.mkdir()
    (path / "shop.yaml").write_text(SHOP)
    return path


# --- over HTTP ---


async def test_the_api_takes_labels_a_webhooks_body_or_an_incident():
    async with office() as there:
        there.explainer.answer = NOTHING
        status, told = await there.ask("POST", EXPLAIN, json={"labels": {"alertname": "Down"}, "nearest": 3})
        assert (status, told["at"], told["mode"]) == (200, "2026-11-21T10:30:00.000Z", "auto")
        assert (await there.ask("POST", EXPLAIN, json=body(down())))[0] == 200
        assert (await there.ask("POST", EXPLAIN, json={"incident": HELD}))[0] == 200
        assert there.explainer.asked == [
            ([{"alertname": "Down"}], 3),
            ([{"alertname": "Down", "job": "shop"}], 20),
            HELD,
        ]


@pytest.mark.parametrize(
    ("asked", "status", "why"),
    [
        ({}, 400, "give one of labels, alerts and incident"),
        ({"labels": {"a": "b"}, "incident": HELD}, 400, "give one of"),
        ({"labels": {}}, 400, "labels"),
        ({"alerts": [down()] * 21}, 400, "at most 20"),
        ({"alerts": [down(), {"status": "firing"}]}, 400, "alerts[1]: bad_labels"),
        ({"incident": "INC-nobody"}, 404, "no incident INC-nobody"),
        ({"labels": {"a": "x" * 70_000}}, 413, "larger"),
    ],
)
async def test_what_cannot_be_explained_is_refused_with_its_reason(asked, status, why):
    async with office() as there:
        answered, told = await there.ask("POST", EXPLAIN, json=asked)
        assert answered == status
        assert why in json.dumps(told)


async def test_an_explanation_needs_the_token():
    async with office() as there:
        assert (await there.ask("POST", EXPLAIN, {}, json={"incident": HELD}))[0] == 401


# --- a daemon ---


async def lines(one) -> int:
    found = await one.store.timeline("control")
    for row in one.engine.incidents:
        found += await one.store.timeline(row)
    return len(found)


async def test_the_daemon_explains_what_it_then_does_and_writes_nothing(tmp_path):
    async with daemon(tmp_path, rules=SHOP.replace("{", "{{").replace("}", "}}")) as one:
        before = await lines(one)
        async with one.session.post(EXPLAIN, json=body(down())) as answer:
            told = await answer.json()
        (course,) = told["courses"]
        assert course["standing"] is None
        assert (course["next"]["do"], course["next"]["reason"]) == ("ask", "mode_approve")
        assert course["ladder"][0]["only_if"][0]["verdict"] == "healthy"
        assert {one["reason"]: one["text"] for one in course["guards"]}["budget_rule"] == "0 of 2 used in 1h"
        assert await lines(one) == before
        assert one.engine.incidents == {}
        await post(one, body(down()))
        (incident,) = await until(one, "waiting")
        assert incident["reason"] == "mode_approve"
        async with one.session.post(EXPLAIN, json={"incident": incident["id"]}) as answer:
            (course,) = (await answer.json())["courses"]
        assert course["standing"]["approval_until"] == incident["approval"]["until"]
        assert course["next"]["text"].startswith("wait for a person's yes until ")


async def test_the_command_asks_the_daemon(tmp_path):
    async with daemon(tmp_path, rules=SHOP.replace("{", "{{").replace("}", "}}")) as one:
        await post(one, body(down()))
        (incident,) = await until(one, "waiting")
        where = {
            "STOPGAP_URL": str(one.session._base_url),
            "STOPGAP_CONTROL_TOKEN": "word",
            "STOPGAP_DATA": str(one.settings.data),
        }
        said = await asyncio.to_thread(run, "explain", "--incident", incident["id"][-6:], **where)
        assert said.exit_code == 0, said.output
        assert f"incident    {incident['id']} is waiting since" in said.stdout
        assert "mode_approve: the mode asks for an approval" in said.stdout
        assert "=> It will wait for a person's yes until" in said.stdout
        said = await asyncio.to_thread(
            run, "explain", "--labels", "alertname=Down", "--labels", "job=shop,env=dev", **where
        )
        assert f"incident    {incident['id']} is waiting" in said.stdout
        said = await asyncio.to_thread(run, "explain", "--incident", "INC-nobody", **where)
        assert (said.exit_code, said.stderr) == (1, "stopgap: no incident INC-nobody\n")
    said = await asyncio.to_thread(
        run, "explain", "--incident", incident["id"], "--rules", str(tmp_path / "rules"), "--data",
        str(one.settings.data),
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    assert "offline: with what" in said.stdout
    assert "=> It will wait for a person's yes until" in said.stdout


# --- rules alone ---


def alone(rules: Path, *args: str, stdin: str = ""):
    env = {"STOPGAP_URL": None, "STOPGAP_DATA": "nowhere", "COLUMNS": "80"}
    return CliRunner().invoke(app, ["explain", "--rules", str(rules), *args], env=env, input=stdin)


def test_rules_alone_answer_as_if_nothing_had_happened_before(rules):
    said = alone(rules, "--labels", 'alertname="Down", job="shop"')
    assert (said.exit_code, said.stderr) == (0, "")
    for words in (
        "offline: as if nothing had happened before; no probe is asked (--ask asks)",
        "taken by    shop/shop (of 2)",
        "  mode        approve: the rule's mode",
        "    only if     exec /bin/true: not asked",
        "    approval    a person must say yes within 15m",
        "    does        wait: wait 1s",
        "    verifies    exec /bin/true (within 30s)",
        "    if not      nothing to take back, then a person gets it",
        "    ok cooldown          10m, has not acted before",
        "    ok budget_rule       0 of 2 used in 1h",
        "=> It would ask a person to approve rung 'lights out' until",
        '     job="kitchen": the alert has job="shop"',
    ):
        assert words in said.stdout, words
    assert max(map(len, said.stdout.splitlines())) <= 80
    assert "\x1b" not in said.stdout


def test_preconditions_are_asked_on_demand(rules):
    said = alone(rules, "--labels", "alertname=Down job=shop", "--ask")
    assert "    only if     exec /bin/true: healthy, exit 0" in said.stdout


def test_the_mode_of_the_daemon_can_be_given(rules):
    said = alone(rules, "--labels", "{alertname=Down,job=shop}", "--mode", "shadow")
    assert "  mode        shadow: the daemon's --mode" in said.stdout
    assert "=> It would only write down that it would start rung 'lights out'" in said.stdout


def test_a_payload_comes_from_stdin_or_a_file_and_its_alerts_are_bounded(rules, tmp_path):
    payload = json.dumps(body(*(down(instance=f"i{i}") for i in range(25)), down(job="attic")))
    file = tmp_path / "payload.json"
    file.write_text(payload)
    said = alone(rules, "--file", str(file))
    assert said.stdout.count("taken by    shop/shop") == 20
    assert said.stdout.count("=> It would") == 1
    assert "… and 6 more alerts that are not explained" in said.stdout
    said = alone(rules, stdin=json.dumps(body(down("resolved"), down(job="attic"))))
    assert "it is resolved and opens nothing: explained as if it fired" in said.stdout
    assert "taken by    no rule (of 2)" in said.stdout
    assert 'job="shop": the alert has job="attic"' in said.stdout


def test_more_than_twenty_rules_that_do_not_take_it_are_counted(tmp_path):
    many = "\n".join(
        f"  - {{name: r{i}, match: 'alertname=\"A{i}\"', do: [{{wait: 1s}}]}}" for i in range(25)
    )
    (tmp_path / "many.yaml").write_text(f"rules:\n{many}\n")
    said = alone(tmp_path / "many.yaml", "--labels", "job=x")
    assert said.stdout.count("the alert has no label alertname") == 20
    assert "  … and 5 more rules (--all shows them)" in said.stdout
    said = alone(tmp_path / "many.yaml", "--labels", "job=x", "--all")
    assert said.stdout.count("the alert has no label alertname") == 25


def test_json_is_the_whole_explanation(rules):
    said = alone(rules, "--labels", "alertname=Down job=shop", "--json")
    told = json.loads(said.stdout)
    assert set(told) == {"at", "mode", "asked", "rules", "alerts", "courses", "course_count"}
    assert told["asked"] is False
    assert datetime.fromisoformat(told["at"]) <= datetime.now(UTC)
    assert told["courses"][0]["next"]["do"] == "ask"


def test_a_hostile_label_steers_no_terminal(rules):
    said = alone(rules, "--labels", "alertname=Down\x1b[2J job=shop")
    assert said.exit_code == 0
    assert "\\x1b[2J" in said.stdout
    assert "\x1b" not in said.stdout


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--labels", "alertname"], "expected an operator"),
        (["--labels", "alertname!=x"], "write NAME=VALUE"),
        (["--labels", "a=b", "--incident", "x"], "name one of"),
        (["--file", "/nowhere"], "no Alertmanager payload"),
        (["--file", "/dev/null"], "no Alertmanager payload"),
        (["--labels", "a=b", "--data", "/nowhere"], "not the directory of a daemon"),
        (["--labels", "a=b", "--mode", "bold"], "mode"),
    ],
)
def test_a_wrong_question_is_one_line_and_exit_2(rules, args, why):
    said = alone(rules, *args)
    assert (said.exit_code, len(said.stderr.splitlines())) == (2, 1), said.output
    assert why in said.stderr


def test_what_only_an_offline_answer_needs_is_refused_for_a_daemon():
    said = run("explain", "--labels", "a=b", "--mode", "shadow")
    assert said.exit_code == 2
    assert "go with --offline" in said.stderr


def test_wrong_rules_and_unknown_incidents_are_said(rules):
    said = alone(rules, "--incident", "INC-nobody")
    assert (said.exit_code, said.stderr) == (1, "stopgap: no incident INC-nobody\n")
    said = alone(rules, stdin=json.dumps({"alerts": [{"status": "firing", "labels": {}}]}))
    assert (said.exit_code, said.stderr) == (
        1,
        "stopgap: the webhook would not take this alert: alerts[0]: bad_labels\n",
    )
    (rules / "wrong.yaml").write_text("rules: [{name: x}]\n")
    said = alone(rules, "--labels", "a=b")
    assert said.exit_code == 2
    assert "stopgap: these rules do not load: " in said.stderr
