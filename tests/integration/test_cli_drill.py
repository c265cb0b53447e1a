"""`stopgap drill` as a person runs it against a whole daemon: what it shows, and what is left when it is ended or killed."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from tests.integration.test_app import body, daemon, down, effects, incidents, post, until
from tests.integration.test_app_drill import RULES, drills, metrics

DRILL = """
name: app-down
proves: The mitigation is on within seconds, and goes back by itself
alert: {labels: {alertname: Down, job: shop, severity: critical}}
until: mitigated
for: 1m
limit: 1m
expect:
  - {event: opened, within: 5s}
  - {event: mitigated, within: 10s}
  - {event: reverted, within: 10s, since: alert_resolved}
  - {outcome: recovered}
  - {not: handed_over}
"""


class Command:
    """`stopgap drill` as a person runs it."""

    def __init__(self, app, folder: Path, *arguments: str, script: str = DRILL) -> None:
        file = folder / "app-down.drill.yaml"
        file.write_text(script)
        self.argv = [sys.executable, "-m", "stopgap", "drill", str(file), *arguments]
        own = {name: value for name, value in os.environ.items() if not name.startswith("STOPGAP_")}
        url = str(app.session._base_url).rstrip("/")
        self.env = own | {"STOPGAP_URL": url, "STOPGAP_CONTROL_TOKEN": "word", "LOGNAME": "ann"}

    async def start(self) -> "Command":
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            *self.argv, env=self.env, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
        return self

    async def ended(self) -> tuple[int, str, str]:
        out, err = await asyncio.wait_for(self.process.communicate(), 30)
        return self.process.returncode, out.decode(), err.decode()

    async def run(self) -> tuple[int, str, str]:
        return await (await self.start()).ended()


async def test_a_drill_is_played_judged_and_reported_and_is_in_no_statistics_of_real_incidents(tmp_path):
    async with daemon(tmp_path, RULES) as app:
        report = tmp_path / "report.md"
        code, out, err = await Command(app, tmp_path, "--yes", "--out", str(report)).run()
        assert (code, err) == (0, ""), out
        assert "mitigated" in out
        assert "NO" not in out.partition("EXPECTED")[2]
        assert len(effects(tmp_path)) == 2
        (incident,) = await incidents(app)
        assert (incident["drill"], incident["outcome"]) == ("app-down", "recovered")
        text = report.read_text()
        assert text.startswith("# Drill `app-down`: passed\n")
        assert "# DRILL `app-down`: Incident `INC-" in text
        told = await metrics(app)
        assert 'stopgap_drills_total{result="recovered"} 1.0' in told
        assert 'stopgap_incidents_opened_total{rule="shop/mock"} 0.0' in told
        assert 'stopgap_actions_total{action="exec",result="succeeded"} 1.0' in told
        assert await drills(app) == []


async def test_a_rehearsal_in_shadow_does_nothing_and_judges_what_can_be_seen(tmp_path):
    async with daemon(tmp_path, RULES) as app:
        code, out, _ = await Command(app, tmp_path, "--shadow", "--json").run()
        told = json.loads(out)
        assert (code, told["passed"], told["shadow"]) == (0, True, True)
        states = {one["expected"]: one["state"] for one in told["expectations"]}
        assert states["shadow_planned"] == states["ends shadow"] == states["opened"] == "met"
        assert states["mitigated"] == "unasked"
        assert effects(tmp_path) == []


async def test_a_drill_under_a_brake_is_refused_by_name_and_that_is_told(tmp_path):
    async with daemon(tmp_path, RULES) as app:
        async with app.session.put("/api/v1/brake", json={"by": "bob", "why": "migration"}) as answer:
            assert answer.status == 200
        script = DRILL.replace("for: 1m", "for: 2s").replace("within: 10s}", "within: 1s}", 1)
        code, out, _ = await Command(app, tmp_path, "--yes", script=script).run()
        assert code == 1
        assert "refused" in out
        assert "brake" in out
        assert "did not come: refused (brake)" in " ".join(out.split())
        assert effects(tmp_path) == []
        (incident,) = await until(app, "closed")
        assert incident["outcome"] == "self_resolved"


async def test_whoever_ends_the_command_early_ends_the_alert_and_hears_so(tmp_path):
    async with daemon(tmp_path, RULES) as app:
        command = await Command(
            app, tmp_path, "--yes", script=DRILL.replace("until: mitigated", "until: drifted")
        ).start()
        await until(app, "mitigated")
        command.process.send_signal(signal.SIGINT)
        code, out, err = await command.ended()
        assert code == 1, out
        assert "ended early" in err
        (incident,) = await until(app, "closed")
        assert incident["outcome"] == "recovered"


async def test_a_killed_command_leaves_an_alert_that_is_over_in_time(tmp_path):
    async with daemon(tmp_path, RULES) as app:
        script = DRILL.replace("until: mitigated\n", "").replace("for: 1m", "for: 3s")
        command = await Command(app, tmp_path, "--yes", script=script).start()
        await until(app, "mitigated")
        command.process.kill()
        await command.ended()
        assert [one["name"] for one in await drills(app)] == ["app-down"]
        (incident,) = await until(app, "closed")
        assert incident["outcome"] == "recovered"


async def test_a_real_alert_makes_the_incident_of_a_drill_a_real_one(tmp_path):
    async with daemon(tmp_path, RULES) as app:
        command = await Command(
            app, tmp_path, "--yes", script=DRILL.replace("until: mitigated", "until: drifted")
        ).start()
        await until(app, "mitigated")
        assert await post(app, body(down())) == 200
        await asyncio.sleep(1.5)
        (incident,) = await incidents(app)
        assert (incident["phase"], incident["drill"]) == ("mitigated", None)
        assert 'stopgap_drills_total{result="overtaken"} 1.0' in await metrics(app)
        assert await drills(app) == []
        assert await post(app, body(down("resolved"))) == 200
        _, out, _ = await command.ended()
        assert "drill_overtaken" in out
        assert len(effects(tmp_path)) == 2


async def test_a_wrong_file_and_a_drill_that_nobody_confirmed_end_with_2(tmp_path):
    async with daemon(tmp_path, RULES) as app:
        code, _, err = await Command(app, tmp_path, script=DRILL.replace("proves", "prooves")).run()
        assert code == 2
        assert "did you mean `proves`?" in err
        assert err.endswith(" is not a drill: 1 problem\n")
        code, _, err = await Command(app, tmp_path).run()
        assert code == 2
        assert "--yes" in err
        assert await incidents(app) == []


async def test_a_daemon_that_is_away_for_the_report_hides_no_result(tmp_path):
    line = {"event": "opened", "at": "2026-01-05T09:00:00+00:00", "seq": 1}
    incident = {
        "id": "INC-1",
        "rule": "shop/mock",
        "target": "app",
        "phase": "closed",
        "outcome": "recovered",
    }
    incident |= {"timeline": [line]}

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/report"):
            return web.json_response({"detail": "not now"}, status=503)
        if request.method == "POST":
            return web.json_response({"started_at": line["at"], "incidents": [incident]}, status=201)
        return web.json_response(incident)

    there = web.Application()
    there.router.add_route("*", "/{tail:.*}", answer)
    script = DRILL.partition("expect:")[0].replace("until: mitigated\n", "") + "expect: [{event: opened}]\n"
    report = ("--yes", "--out", str(tmp_path / "report.md"))
    async with TestServer(there) as server, ClientSession(server.make_url("/")) as session:
        away = SimpleNamespace(session=session)
        code, out, err = await Command(away, tmp_path, *report, script=script).run()
    assert (code, "not now" in err) == (1, True), (out, err)
    assert "EXPECTED" in out
